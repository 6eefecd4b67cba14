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
mod ids;
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
mod symbol;
mod tracee;
mod tracepoint;
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
use crate::ids::{Ids, Reported};
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
        Some(Job::Lateness(job)) => {
            let wanted = Wanted::for_lateness();
            (&job.tracing, run(&job.tracing, wanted, Reported::OfTracer, Form::lateness(job), seam))
        }
        None => (&cli.tracing, Form::chosen(cli).and_then(|form| run(&cli.tracing, Wanted::of(cli), cli.ids(), form, seam))),
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

fn run(tracing: &Tracing, wanted: Wanted, reported: Reported, form: Form, seam: impl Seam) -> Result<Outcome> {
    let object = seam.object()?;
    let facts = Facts::gather(Path::new("/"))?;
    preflight::check(&facts)?;
    // Before anything is loaded: a copy of a small process, which inherits nothing.
    let mut command = GatedCommand::spawn(&tracing.command)?;
    let own_call = if facts.one_door { None } else { Some(OwnCall::prepare()?) };
    let signals = Signals::install().context("failed to install the signal handlers")?;
    let life = Life::prepare(Path::new("/"), wanted.kinds.clone(), &facts)?;
    let ids = Ids::prepare(Path::new("/"), reported)?;
    let known = Known {
        comm_at: facts.comm_at,
        teacher: own_call.as_ref().map(OwnCall::tid),
        life: life.as_ref(),
        ids: &ids,
        task_pt_regs: preflight::has_task_pt_regs(&facts),
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
    let (losses, unknown) = probes.losses()?;
    let losses = Lost { result: losses.result + rest.results_lost, in_flight: losses.in_flight + rest.in_flight_lost, ..losses };
    let mut outcome = Outcome::new(ended, drain.reported(), losses, unknown, rest.unfinished);
    drain.summarise(&mut outcome)?;
    Ok(outcome)
}

/// Attaches in the way that was asked for, or in the cheaper one that works.
fn attach(probes: &mut Probes, seam: &impl Seam, life: Option<&Life>, asked: Attach, facts: &Facts) -> Result<Mode> {
    let by_fentry = |probes: &mut Probes| {
        preflight::check_fentry(facts)?;
        probes
            .attach(Mode::Fentry, life, &seam.programs(Mode::Fentry))
            .map_err(|source| Refusal::NoFentry { reason: format!("{source:#}") })
    };
    let loses = preflight::fentry_loses(facts);
    match asked {
        Attach::Kprobe => {}
        Attach::Fentry => {
            if let Some(reason) = loses {
                say(&format!("calls may be lost, and counted: {reason}"));
            }
            by_fentry(probes).context("failed to attach by fentry (--attach kprobe does without)")?;
            return Ok(Mode::Fentry);
        }
        Attach::Auto => {
            match loses.map_or_else(|| by_fentry(probes).map_err(|refusal| refusal.to_string()), |reason| Err(reason.to_owned())) {
                Ok(()) => return Ok(Mode::Fentry),
                Err(reason) => say(&format!("using kprobe, since {reason}")),
            }
        }
    }
    probes.attach(Mode::Kprobe, life, &seam.programs(Mode::Kprobe))?;
    Ok(Mode::Kprobe)
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
