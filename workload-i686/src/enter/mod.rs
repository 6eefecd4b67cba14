//! `settime32-workload enter [OPTION…] -- PROGRAM [ARGUMENT…]`: runs a program as unshare(1),
//! nsenter(1) and setpriv(1) would, none of which a guest has.
//!
//! Where namespaces or ids are asked for, the program is a child, whose process id is said on
//! standard error (`entered pid=N`); its end is this program's, and SIGINT and SIGTERM are passed
//! on. Else this program becomes it.

mod privileges;
mod spaces;

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::{self, OpenOptions};
use std::io::{Write, stderr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stdout, execv, fork, pipe, read};

use crate::field;

/// What is asked for; the same as the options.
#[derive(Debug, Default)]
struct Options {
    spaces: spaces::Spaces,
    privileges: privileges::Privileges,
    /// Standard output: a file, or `closed` for a pipe that nobody reads.
    stdout: Option<String>,
    /// A file that is waited for before the program is executed.
    hold: Option<String>,
    /// The name of the program, bytes in hexadecimal.
    name: Option<Vec<u8>>,
}

/// The program, without its own name and `enter`.
pub fn main(words: Vec<OsString>) -> Result<ExitCode> {
    let mut words = words.into_iter();
    let mut options = Options::default();
    while let Some(word) = words.next().filter(|word| word != "--") {
        let word = word.to_string_lossy().into_owned();
        let mut value = || {
            words
                .next()
                .map(|value| value.to_string_lossy().into_owned())
                .with_context(|| format!("{word} needs a value"))
        };
        match word.as_str() {
            "--pid" => options.spaces.pid = true,
            "--mount-proc" => options.spaces.mount_proc = true,
            "--user" => options.spaces.user = true,
            "--time" => options.spaces.time_s = Some(value()?.parse()?),
            "--join" => options.spaces.join = Some(value()?.parse()?),
            "--last-pid" => options.spaces.last_pid = Some(value()?.parse()?),
            "--uid" => options.privileges.uid = Some(value()?.parse()?),
            "--caps" => options.privileges.caps = Some(value()?),
            "--memlock" => options.privileges.memlock = Some(value()?.parse()?),
            "--stdout" => options.stdout = Some(value()?),
            "--hold" => options.hold = Some(value()?),
            "--name" => options.name = Some(bytes(&value()?)?),
            _ => bail!("failed to use the option {word}"),
        }
    }
    let command: Vec<OsString> = words.collect();
    if command.is_empty() {
        bail!("usage: settime32-workload enter [OPTION…] -- PROGRAM [ARGUMENT…]");
    }
    options.spaces.enter()?;
    if !options.spaces.needs_child() {
        return options.execute(&command).map(|never| match never {});
    }
    let passed_on =
        [Signal::SIGINT, Signal::SIGTERM, Signal::SIGCHLD].into_iter().collect::<SigSet>();
    let before = passed_on.thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    // The child goes on once its process id was said, so that launchers say theirs from the
    // outermost to the innermost.
    let (was_said, says) = pipe().context("failed to make a pipe")?;
    // SAFETY: there is one thread.
    match unsafe { fork() }.context("failed to fork")? {
        ForkResult::Parent { child } => {
            stderr()
                .write_all(format!("entered pid={child}\n").as_bytes())
                .context("failed to say who was entered")?;
            drop(says);
            wait(child, &passed_on)
        }
        ForkResult::Child => {
            drop(says);
            read(&was_said, &mut [0]).context("failed to wait for the parent")?;
            set_pdeathsig(Signal::SIGKILL).context("failed to ask for the parent's death")?;
            before.thread_set_mask()?;
            options.spaces.mount()?;
            options.execute(&command).map(|never| match never {})
        }
    }
}

/// Passes signals on until the child has ended.
fn wait(child: Pid, signals: &SigSet) -> Result<ExitCode> {
    loop {
        match signals.wait()? {
            Signal::SIGCHLD => {}
            signal => _ = kill(child, signal),
        }
        match waitpid(child, Some(WaitPidFlag::WNOHANG)).context("failed to wait for the child")? {
            WaitStatus::Exited(_, code) => return Ok(ExitCode::from(code as u8)),
            WaitStatus::Signaled(_, signal, _) => return Ok(ExitCode::from(128 + signal as u8)),
            _ => {}
        }
    }
}

fn bytes(hex: &str) -> Result<Vec<u8>> {
    let pairs = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap_or_default(), 16));
    pairs.collect::<Result<_, _>>().with_context(|| format!("failed to use {hex} as bytes"))
}

impl Options {
    /// Becomes the program.
    fn execute(&self, command: &[OsString]) -> Result<Infallible> {
        if let Some(stdout) = &self.stdout {
            dup2_stdout(open_stdout(stdout)?).context("failed to take over standard output")?;
        }
        let program = match &self.name {
            Some(name) => linked(&command[0], name)?,
            None => command[0].clone(),
        };
        self.hold.iter().for_each(|path| field::wait_for(path));
        self.privileges.take()?;
        let words = command
            .iter()
            .map(|word| CString::new(word.as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        execv(&CString::new(program.as_bytes())?, &words)
            .with_context(|| format!("failed to execute {}", program.display()))
    }
}

/// A file to write to, or a pipe that nobody reads.
fn open_stdout(name: &str) -> Result<OwnedFd> {
    if name == "closed" {
        return Ok(pipe().context("failed to make a pipe")?.1);
    }
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(name);
    Ok(file.with_context(|| format!("failed to open {name}"))?.into())
}

/// A link to a program, since a process has the name of the path by which it was executed.
fn linked(program: &OsString, name: &[u8]) -> Result<OsString> {
    let link = PathBuf::from("/tmp").join(OsString::from_vec(name.to_vec()));
    fs::create_dir_all("/tmp").context("failed to make /tmp")?;
    if link.symlink_metadata().is_err() {
        std::os::unix::fs::symlink(program, &link)
            .context("failed to make a link to the program")?;
    }
    Ok(link.into_os_string())
}
