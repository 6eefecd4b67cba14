//! `settime32-tracer`, from the command line to the exit code. Each stage is in its own module;
//! this one says in which order they run. A library, so that the harness can make mutants of
//! it ([`seam`]).

mod attach;
mod buffer_size;
mod call_event;
pub mod choice;
pub mod cli;
mod command;
pub mod describe;
mod drain;
mod form;
mod ids;
mod inside;
mod json;
mod kernel_clock;
mod kernel_types;
mod lateness;
mod lifecycle;
mod look;
mod outcome;
mod own_call;
mod palette;
mod preflight;
mod pretty;
mod pretty_life;
mod probes;
mod processes;
pub mod seam;
mod sight;
mod signals;
mod sink;
mod switches;
mod symbol;
mod tracee;
mod trial;
mod watch;
mod words;

use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use settime32_abi::output::Lost;

use crate::attach::Mode;
use crate::cli::{Attach, Cli, Job, Tracing};
use crate::command::GatedCommand;
use crate::drain::{Drain, Ended, Wanted};
use crate::form::Form;
use crate::ids::{Ids, Reported};
use crate::lifecycle::Lifecycle;
use crate::outcome::{Outcome, SeesNothing};
use crate::own_call::{NoCall, OwnCall};
use crate::preflight::{Facts, Refusal};
use crate::probes::{Known, Probes, Ring};
use crate::processes::Processes;
use crate::seam::Seam;
use crate::signals::Signals;
use crate::sink::{Sink, SinkError};
use crate::watch::Watch;

/// Traces, tells how late timers fire, or describes the program, as the command line says; the exit
/// code of the process.
pub fn trace(cli: &Cli, seam: impl Seam) -> ExitCode {
    let (tracing, traced) = match &cli.job {
        Some(Job::Describe(description)) => return print(&description.text()),
        Some(Job::Lateness(job)) => {
            let wanted = Wanted::for_lateness();
            (&job.tracing, run(&job.tracing, wanted, Reported::OfTracer, Form::lateness(job), seam))
        }
        None => (
            &cli.tracing,
            Form::chosen(cli)
                .and_then(|form| run(&cli.tracing, Wanted::of(cli), cli.ids(), form, seam)),
        ),
    };
    match traced {
        Ok(outcome) => {
            say(&outcome.to_string());
            ExitCode::from(outcome.exit_code(tracing.pass_exit_code))
        }
        Err(error) => failed(&error),
    }
}

fn run(
    tracing: &Tracing,
    wanted: Wanted,
    reported: Reported,
    form: Form,
    seam: impl Seam,
) -> Result<Outcome> {
    let object = seam.object()?;
    let facts = Facts::gather(Path::new("/"))?;
    preflight::check(&facts)?;
    preflight::check_run(&facts, tracing)?;
    let processes = Processes::open(&tracing.pids)?;
    // A process of the command may have the id of one that has ended.
    let processes = if tracing.command.is_empty() { processes } else { Processes::default() };
    // Before anything is loaded: copies of a small process, which inherit nothing.
    let mut command = GatedCommand::spawn(&tracing.command)?;
    let own_call = own_call()?;
    let signals = Signals::install().context("failed to install the signal handlers")?;
    let sink = Sink::stdout(Some(&signals))?;
    let lifecycle = Lifecycle::prepare(Path::new("/"), wanted.kinds.clone(), &facts)?;
    let ids = Ids::prepare(Path::new("/"), reported)?;
    let known = Known {
        comm_at: facts.comm_at,
        task_pid_at: facts.task_pid_at,
        follow: if command.is_some() { preflight::follow_by(&facts) } else { &[] },
        own_interval: own_call.as_ref().map(OwnCall::interval),
        tells_doors: !facts.one_door,
        lifecycle: lifecycle.as_ref(),
        ids: &ids,
        task_pt_regs: preflight::has_task_pt_regs(&facts),
    };
    let filter = tracing.filter(command.as_ref().map(GatedCommand::pid));
    let load = || Probes::load(object, &filter, tracing.buffer, known, seam.globals());
    let seeing = attach_seeing(load, &seam, known, tracing.attach, &facts, own_call, &signals)?;
    let Seeing { mut probes, ring, watch, mode } = seeing;
    if signals.stop_requested() {
        probes.detach()?;
        return Ok(Outcome::new(Ended::Signal, 0, Lost::default(), 0, 0, Vec::new()));
    }
    let mut drain = Drain::new(ring, watch, sink, form, wanted, processes, seam);
    say(&format!("ready ({mode} on {})", preflight::SYMBOL));
    if let Some(command) = &mut command {
        command.release()?;
    }

    let mut unfinished = 0;
    let ended = drain.run(&signals, command.as_mut(), tracing.duration);
    let ended = ended.and_then(|ended| drain.look_back(&signals, ended).map(|()| ended));
    let ended = match ended {
        Err(error) if error.is::<SinkError>() => {
            drain.end();
            probes.detach()?;
            return Err(error.context(format!("{} events were not written", drain.not_written()?)));
        }
        ended => ended?,
    };
    // It takes the kernel a while to take the programs off, one by one. What they see or lose
    // meanwhile is after the end.
    drain.end();
    let (mut losses, mut unknown) = probes.losses()?;
    let unseen = probes.life_unseen()?;
    probes.detach()?;
    if ended.wants_rest() {
        let rest = drain.finish(&probes.in_flight()?, &probes.life_rest(&unseen)?)?;
        // Of these the records tell which are after the end.
        losses.result =
            probes.losses()?.0.result.saturating_sub(rest.results_after) + rest.results_lost;
        losses.in_flight += rest.in_flight_lost;
        unfinished = rest.unfinished;
    }
    let blind = drain.blind(&mut losses, &mut unknown);
    let mut outcome = Outcome::new(ended, drain.reported(), losses, unknown, unfinished, blind);
    drain.summarise(&mut outcome)?;
    Ok(outcome)
}

/// The child that makes calls of our own; `None` where something keeps it from doing so.
fn own_call() -> Result<Option<OwnCall>> {
    match OwnCall::prepare() {
        Ok(own_call) => Ok(Some(own_call)),
        Err(error) => match error.downcast_ref() {
            Some(NoCall::Refused { by }) => {
                say(&format!("whether the probes see cannot be tried: {by}"));
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

/// Probes that are attached and see, as far as that can be tried.
struct Seeing {
    probes: Probes,
    ring: Ring,
    watch: Watch,
    mode: Mode,
}

/// Attaches in the way that was asked for, or in the cheaper one that works and sees.
fn attach_seeing(
    load: impl Fn() -> Result<(Probes, Ring)>,
    seam: &impl Seam,
    known: Known<'_>,
    asked: Attach,
    facts: &Facts,
    mut own_call: Option<OwnCall>,
    signals: &Signals,
) -> Result<Seeing> {
    let (mut blind, mut failed) = (Vec::new(), None);
    for mode in modes(asked, facts)? {
        if let (Mode::Fentry, Some(reason)) = (mode, preflight::fentry_loses(facts)) {
            say(&format!("calls may be lost, and counted: {reason}"));
        }
        let (mut probes, mut ring) = load()?;
        if let Err(error) = attach(&mut probes, seam, known.lifecycle, mode, facts) {
            say_unless_asked(asked, &format!("{mode} cannot be used: {error:#}"));
            // By kprobe the reason is the kernel's, not that of a way to attach.
            if mode == Mode::Kprobe || failed.is_none() {
                failed = Some(error);
            }
            continue;
        }
        let mut watch = Watch::new(own_call.take(), mode, probes.have_kprobes());
        let Some(reason) = look::look(&mut ring, &mut watch, signals, seam.watches())? else {
            watch.cannot_tell().into_iter().for_each(say);
            if probes.is_switch_unseen {
                say(
                    "kprobes that are switched off and on again within a second go unnoticed: this kernel's write_enabled_file_bool cannot be hooked",
                );
            }
            return Ok(Seeing { probes, ring, watch, mode });
        };
        probes.detach()?;
        own_call = watch.into_own_call();
        say_unless_asked(asked, &format!("{mode} is blind: {reason}"));
        blind.push((mode, reason));
    }
    match (blind.first(), failed) {
        (Some((_, reason)), _) => {
            let ways: Vec<String> = blind.iter().map(|(mode, _)| mode.to_string()).collect();
            Err(SeesNothing { ways: ways.join(" and by "), reason: reason.clone() }.into())
        }
        (None, Some(error)) => Err(error),
        (None, None) => Err(anyhow::anyhow!("there is no way to attach")),
    }
}

fn say_unless_asked(asked: Attach, message: &str) {
    if matches!(asked, Attach::Auto) {
        say(message);
    }
}

/// The ways to attach that are worth a try, in this order.
fn modes(asked: Attach, facts: &Facts) -> Result<Vec<Mode>> {
    match asked {
        Attach::Kprobe => return Ok(vec![Mode::Kprobe]),
        Attach::Fentry => return Ok(vec![Mode::Fentry]),
        Attach::Auto => {}
    }
    let kprobes = preflight::check_kprobe(Path::new("/"));
    Ok(match (preflight::check_fentry(facts), kprobes, preflight::fentry_loses(facts)) {
        (Err(no_fentry), Err(no_kprobe), _) => {
            return Err(anyhow::Error::from(no_kprobe).context(no_fentry.to_string()));
        }
        (Err(no_fentry), Ok(()), _) => {
            say(&format!("using kprobe, since {no_fentry}"));
            vec![Mode::Kprobe]
        }
        (Ok(()), Ok(()), Some(reason)) => {
            say(&format!("using kprobe, since {reason}"));
            vec![Mode::Kprobe, Mode::Fentry]
        }
        (Ok(()), Err(no_kprobe), _) => {
            say(&format!("using fentry, since {no_kprobe}"));
            vec![Mode::Fentry]
        }
        (Ok(()), Ok(()), None) => vec![Mode::Fentry, Mode::Kprobe],
    })
}

fn attach(
    probes: &mut Probes,
    seam: &impl Seam,
    lifecycle: Option<&Lifecycle>,
    mode: Mode,
    facts: &Facts,
) -> Result<()> {
    let programs = seam.programs(mode);
    match mode {
        Mode::Kprobe => probes.attach(mode, lifecycle, &programs),
        Mode::Fentry => {
            preflight::check_fentry(facts)?;
            let attached = probes.attach(mode, lifecycle, &programs);
            let refusal = |source: anyhow::Error| {
                source
                    .downcast()
                    .unwrap_or_else(|source| Refusal::NoFentry { reason: format!("{source:#}") })
            };
            Ok(attached.map_err(refusal)?)
        }
    }
}

/// Answers a command line that asks for help, or is wrong.
pub fn answer(answer: &clap::Error) -> ExitCode {
    if answer.use_stderr() {
        answer.exit()
    }
    print(answer_text(answer).as_bytes())
}

fn answer_text(answer: &clap::Error) -> String {
    let text = answer.render();
    if stdout().is_terminal() { text.ansi().to_string() } else { text.to_string() }
}

/// Prints a text. A reader that leaves has read enough.
fn print(text: &[u8]) -> ExitCode {
    let printed = Sink::stdout(None).and_then(|mut sink| {
        sink.append(|line| line.extend_from_slice(text))?;
        sink.flush()
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error.into()),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    say(&format!("{error:#}"));
    ExitCode::from(outcome::exit_code_of(error))
}

/// Says something on standard error. Nobody can be told when that fails.
fn say(message: &str) {
    // At once, for whoever waits for the line and takes what came for all of it.
    _ = Sink::stderr().and_then(|mut sink| {
        sink.append(|line| {
            line.extend_from_slice(format!("settime32-tracer: {message}\n").as_bytes())
        })?;
        sink.flush()
    });
}
