//! `settime32-tracer`, from the command line to the exit code. Each stage is in its own module; this one says
//! in which order they run. A library, so that the harness can make wrong tracers of it ([`seam`]).

mod attach;
mod buffer_size;
mod call_event;
pub mod choice;
pub mod cli;
mod command;
pub mod describe;
mod drain;
mod form;
mod inside;
mod json;
mod kernel_types;
mod lateness;
mod life;
mod outcome;
mod own_call;
mod palette;
mod preflight;
mod pretty;
mod pretty_life;
mod probes;
pub mod seam;
mod signals;
mod sink;
mod suspended;
mod symbol;
mod tracee;
mod trial;
mod words;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use settime32_abi::output::Lost;

use crate::attach::Mode;
use crate::cli::{Attach, Cli, Job, Tracing};
use crate::command::GatedCommand;
use crate::drain::{Drain, Rest, Wanted};
use crate::form::Form;
use crate::life::Life;
use crate::outcome::Outcome;
use crate::own_call::OwnCall;
use crate::preflight::{Facts, Refusal};
use crate::probes::{Known, Probes};
use crate::seam::Seam;
use crate::signals::Signals;
use crate::sink::Sink;

/// Traces, tells how late timers fire, or describes the program, as the command line says; the exit code of the process.
pub fn trace(cli: &Cli, seam: impl Seam) -> ExitCode {
    let (tracing, traced) = match &cli.job {
        Some(Job::Describe(description)) => return print(&description.text()),
        Some(Job::Lateness(job)) => (&job.tracing, run(&job.tracing, Wanted::for_lateness(), Form::lateness(job), seam)),
        None => (&cli.tracing, Form::chosen(cli).and_then(|form| run(&cli.tracing, Wanted::of(cli), form, seam))),
    };
    match traced {
        Ok(outcome) => {
            say(&outcome.to_string());
            ExitCode::from(outcome.exit_code(tracing.pass_exit_code))
        }
        Err(error) => {
            say(&format!("{error:#}"));
            ExitCode::from(outcome::exit_code_of(&error))
        }
    }
}

fn run(tracing: &Tracing, wanted: Wanted, form: Form, seam: impl Seam) -> Result<Outcome> {
    let object = seam.object()?;
    let facts = Facts::gather(Path::new("/"))?;
    preflight::check(&facts)?;
    preflight::check_run(&facts, tracing)?;
    // Before anything is loaded: a copy of a small process, which inherits nothing.
    let mut command = GatedCommand::spawn(&tracing.command)?;
    let own_call = if facts.one_door { None } else { Some(OwnCall::prepare()?) };
    let signals = Signals::install().context("failed to install the signal handlers")?;
    let life = Life::prepare(Path::new("/"), wanted.kinds.clone(), &facts)?;
    let known = Known {
        comm_at: facts.comm_at,
        task_pid_at: facts.task_pid_at,
        follow: preflight::follow_by(&facts),
        teacher: own_call.as_ref().map(OwnCall::tid),
        life: life.as_ref(),
    };
    let filter = tracing.filter(command.as_ref().map(GatedCommand::pid));
    let (mut probes, ring) = Probes::load(object, &filter, tracing.buffer, known, seam.globals())?;
    let mode = attach(&mut probes, &seam, life.as_ref(), tracing.attach, &facts)?;
    if let (Some(own_call), Mode::Kprobe) = (own_call, mode) {
        own_call.make();
    }
    say(&format!("ready ({mode} on {})", preflight::SYMBOL));
    if let Some(command) = &mut command {
        command.release()?;
    }

    let sink = Sink::stdout().context("failed to open standard output")?;
    let mut drain = Drain::new(ring, sink, form, wanted, seam);
    let ended = drain.run(&signals, command.as_mut(), tracing.duration)?;
    probes.detach()?;
    let rest = if ended.wants_rest() { drain.finish(&probes.in_flight()?, &probes.life_rest()?)? } else { Rest::default() };
    let losses = probes.losses()?;
    let losses = Lost { result: losses.result + rest.results_lost, in_flight: losses.in_flight + rest.in_flight_lost, ..losses };
    let mut outcome = Outcome::new(ended, drain.reported(), losses, rest.unfinished);
    drain.summarise(&mut outcome)?;
    Ok(outcome)
}

/// Attaches in the way that was asked for, or in the cheaper one that works and loses nothing.
fn attach(probes: &mut Probes, seam: &impl Seam, life: Option<&Life>, asked: Attach, facts: &Facts) -> Result<Mode> {
    let by_fentry = |probes: &mut Probes| -> Result<Mode> {
        preflight::check_fentry(facts)?;
        let attached = probes.attach(Mode::Fentry, life, &seam.programs(Mode::Fentry));
        let refusal =
            |source: anyhow::Error| source.downcast().unwrap_or_else(|source| Refusal::NoFentry { reason: format!("{source:#}") });
        attached.map_err(refusal)?;
        Ok(Mode::Fentry)
    };
    let by_kprobe = |probes: &mut Probes| probes.attach(Mode::Kprobe, life, &seam.programs(Mode::Kprobe)).map(|()| Mode::Kprobe);
    let kprobes = || preflight::check_kprobe(Path::new("/"));
    match (asked, preflight::fentry_loses(facts)) {
        (Attach::Kprobe, _) => by_kprobe(probes),
        (Attach::Fentry, loses) => {
            if let Some(reason) = loses {
                say(&format!("calls may be lost, and counted: {reason}"));
            }
            by_fentry(probes)
        }
        (Attach::Auto, None) => by_fentry(probes).or_else(|reason| {
            kprobes().with_context(|| format!("{reason:#}"))?;
            say(&format!("using kprobe, since {reason:#}"));
            by_kprobe(probes)
        }),
        (Attach::Auto, Some(reason)) => match kprobes() {
            Ok(()) => {
                say(&format!("using kprobe, since {reason}"));
                by_kprobe(probes)
            }
            Err(refusal) => {
                preflight::check_fentry(facts).with_context(|| refusal.to_string())?;
                say(&format!("using fentry, since {refusal}; calls may be lost, and counted: {reason}"));
                by_fentry(probes)
            }
        },
    }
}

/// Prints a text. A reader that leaves has read enough.
fn print(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text).and_then(|()| io::stdout().flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("failed to write to standard output: {error}"));
            ExitCode::from(outcome::NOT_WRITTEN)
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says something on standard error. Nobody can be told when that fails.
fn say(message: &str) {
    // At once, for whoever waits for the line and takes what came for all of it.
    _ = io::stderr().write_all(format!("settime32-tracer: {message}\n").as_bytes());
}
