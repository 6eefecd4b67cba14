//! Situations that real programs were cut down to: `settime32-workload field [--to FILE] [--hold
//! FILE] SITUATION [ARGUMENT…]`.
//!
//! Each does one thing with timers, and says in lines of `WORD KEY=VALUE…` what truly happened, by
//! its own clock, so that what a tracer tells can be held against it. Nothing here knows a tracer.
//! `--to` writes there instead of to standard output; `--hold` waits until that file is there.

mod clocks;
mod lifecycle;
mod names;
mod timer;
mod uring;
mod waits;

use std::ffi::OsString;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// A situation: what it is called, and what it does with its arguments.
type Situation = (&'static str, fn(&mut Told, &[String]) -> Result<()>);

const SITUATIONS: &[Situation] = &[
    ("absolute", clocks::absolute),
    ("arm", lifecycle::arm),
    ("churn", lifecycle::churn),
    ("clock-step", clocks::step),
    ("dead-threads", lifecycle::dead_threads),
    ("exec", lifecycle::exec),
    ("fork-while-off", fork_while_off),
    ("give", lifecycle::give),
    ("held", lifecycle::held),
    ("metronome", lifecycle::metronome),
    ("names", names::names),
    ("readv", waits::readv),
    ("rest", rest),
    ("set-ticks", clocks::set_ticks),
    ("short", lifecycle::short),
    ("suspend", clocks::suspend),
    ("switch", switch),
    ("take", lifecycle::take),
    ("thread", lifecycle::thread),
    ("throw", throw),
    ("uring", uring::uring),
    ("waits", waits::waits),
];

/// How often it is looked whether a file is there.
const LOOK: Duration = Duration::from_millis(2);

/// Where the lines go.
struct Told(Box<dyn Write + Send>);

impl Told {
    fn say(&mut self, line: &str) -> Result<()> {
        writeln!(self.0, "{line}")
            .and_then(|()| self.0.flush())
            .context("failed to say what happened")
    }
}

/// The program, without its own name and `field`.
pub fn main(words: Vec<OsString>) -> Result<()> {
    let words: Vec<String> =
        words.into_iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let (mut words, mut told) = (words.as_slice(), Told(Box::new(std::io::stdout())));
    while let [option, value, rest @ ..] = words {
        match option.as_str() {
            "--to" => {
                told.0 = Box::new(
                    File::options()
                        .append(true)
                        .create(true)
                        .open(value)
                        .with_context(|| format!("failed to open {value}"))?,
                )
            }
            "--hold" => wait_for(value),
            _ => break,
        }
        words = rest;
    }
    let [name, arguments @ ..] = words else {
        bail!("usage: settime32-workload field [--to FILE] [--hold FILE] SITUATION [ARGUMENT…]")
    };
    let situation = SITUATIONS.iter().find(|(known, _)| known == name);
    let (_, act) = situation.with_context(|| format!("failed to find the situation {name}"))?;
    act(&mut told, arguments).with_context(|| format!("failed in the situation {name}"))
}

/// Waits until a file is there.
pub(crate) fn wait_for(path: &str) {
    while !Path::new(path).exists() {
        thread::sleep(LOOK);
    }
}

/// The number at a place of the arguments.
fn number<T: std::str::FromStr>(arguments: &[String], place: usize) -> Result<T> {
    let word =
        arguments.get(place).with_context(|| format!("failed to find argument {}", place + 1))?;
    word.parse().ok().with_context(|| format!("failed to use {word} as a number"))
}

/// Sleeps for so many milliseconds; holds namespaces meanwhile.
fn rest(told: &mut Told, arguments: &[String]) -> Result<()> {
    told.say(&format!("rest pid={}", std::process::id()))?;
    thread::sleep(Duration::from_millis(number(arguments, 0)?));
    Ok(())
}

/// Files by which the kernel lets all probes be switched off.
fn switch_file(name: &str) -> Result<&'static str> {
    match name {
        "kprobes" => Ok("/sys/kernel/debug/kprobes/enabled"),
        "ftrace" => Ok("/proc/sys/kernel/ftrace_enabled"),
        _ => bail!("failed to find the switch {name}"),
    }
}

/// Writes to a switch.
fn switch(told: &mut Told, arguments: &[String]) -> Result<()> {
    let [name, value] = arguments else { bail!("usage: switch kprobes|ftrace 0|1") };
    std::fs::write(switch_file(name)?, value)
        .with_context(|| format!("failed to switch {name} to {value}"))?;
    told.say(&format!("switch name={name} value={value}"))
}

/// Makes a process while a switch is off, that sets a timer once it is on again, and says so in the
/// file that is named.
fn fork_while_off(told: &mut Told, arguments: &[String]) -> Result<()> {
    let [name, to, go] = arguments else { bail!("usage: fork-while-off kprobes|ftrace FILE GO") };
    switch(told, &[name.clone(), "0".to_owned()])?;
    let child =
        Command::new("/proc/self/exe").args(["field", "--to", to, "--hold", go, "arm"]).spawn();
    switch(told, &[name.clone(), "1".to_owned()])?;
    File::create(go).with_context(|| format!("failed to make {go}"))?;
    let ended =
        child.context("failed to make a process")?.wait().context("failed to wait for it")?;
    if !ended.success() {
        bail!("the process ended with {ended}");
    }
    Ok(())
}

/// Throws a switch off and on again so many times, for so many milliseconds each way.
fn throw(told: &mut Told, arguments: &[String]) -> Result<()> {
    let name = arguments.first().context("failed to find the switch's name")?;
    let (file, times, pause) = (
        switch_file(name)?,
        number::<u32>(arguments, 1)?,
        Duration::from_millis(number(arguments, 2)?),
    );
    for _ in 0..times {
        for value in ["0", "1"] {
            let before = timer::monotonic_ns()?;
            std::fs::write(file, value)
                .with_context(|| format!("failed to switch {name} to {value}"))?;
            told.say(&format!(
                "thrown name={name} value={value} before={before} after={}",
                timer::monotonic_ns()?
            ))?;
            thread::sleep(pause);
        }
    }
    Ok(())
}
