//! `settime32-workload PLAN JOURNAL`: does a plan, writes the journal; `-` is standard input or
//! output. With `field` or `enter` as the first word it does the job of [`field`] or
//! [`enter`](mod@enter).
//!
//! Exit code 0 when every step was done, 1 when one was not or the journal could not be written, 2
//! when the arguments or the plan are bad.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::process::ExitCode;

use crate::interpret::Failure;
use crate::journal::Journal;
use crate::process::NOTHING;
use crate::{enter, field, lifecycle};
use anyhow::{Context, Result, bail};
use settime32_abi::journal::Header;
use settime32_abi::plan::{Plan, Process};

/// The program.
pub fn main() -> ExitCode {
    if env::args_os().nth(1).is_some_and(|first| first.as_encoded_bytes() == NOTHING.to_bytes()) {
        return ExitCode::SUCCESS;
    }
    let mut words = env::args_os().skip(1);
    match words.next().as_ref().and_then(|word| word.to_str()) {
        Some("field") => {
            return field::main(words.collect())
                .map_or_else(|error| complain(&error, 1), |()| ExitCode::SUCCESS);
        }
        Some("enter") => {
            return enter::main(words.collect()).unwrap_or_else(|error| complain(&error, 1));
        }
        _ => {}
    }
    let (plan, journal) =
        match arguments().and_then(|(plan, journal)| Ok((read_plan(&plan)?, journal))) {
            Ok(read) => read,
            Err(error) => return complain(&error, 2),
        };
    match do_and_write(&plan, &journal) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&error, 1),
    }
}

fn complain(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("settime32-workload: {error:#}");
    ExitCode::from(code)
}

fn arguments() -> Result<(OsString, OsString)> {
    let mut arguments = env::args_os().skip(1);
    match (arguments.next(), arguments.next(), arguments.next()) {
        (Some(plan), Some(journal), None) => Ok((plan, journal)),
        _ => bail!("usage: settime32-workload PLAN JOURNAL (- for standard input or output)"),
    }
}

fn read_plan(path: &OsStr) -> Result<Plan> {
    let bytes = if path == "-" {
        let mut bytes = Vec::new();
        io::stdin().lock().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(path)
    };
    let bytes = bytes.with_context(|| format!("failed to read the plan {}", path.display()))?;
    let plan = Plan::decode(&bytes)
        .with_context(|| format!("failed to use the plan {}", path.display()))?;
    if plan.process != HERE {
        bail!(
            "failed to use the plan {}: it is for a process of kind {:?}, and this is one of {HERE:?}",
            path.display(),
            plan.process
        );
    }
    Ok(plan)
}

/// Writes the journal also when the plan failed, so that what was done can be seen.
fn do_and_write(plan: &Plan, path: &OsStr) -> Result<()> {
    let mut journal = Journal::with_capacity(lifecycle::most_operations(plan))
        .context("failed to map memory for the journal")?;
    let (header, done) = run(plan, &mut journal)?;
    let written = write_journal(&journal, &header, path)
        .with_context(|| format!("failed to write the journal {}", path.display()));
    match (done, written) {
        (Err(failure), Err(error)) => bail!("{failure}; also, {error:#}"),
        (done, written) => written.and(done.map_err(Into::into)),
    }
}

fn write_journal(journal: &Journal, header: &Header, path: &OsStr) -> io::Result<()> {
    let mut out: Box<dyn Write> =
        if path == "-" { Box::new(io::stdout().lock()) } else { Box::new(File::create(path)?) };
    journal.write(header, &mut out)
}

/// The kind of process that this program is.
#[cfg(target_arch = "x86")]
const HERE: Process = Process::I386;
/// The kind of process that this program is.
#[cfg(target_arch = "x86_64")]
const HERE: Process = Process::Amd64;

fn run(plan: &Plan, journal: &mut Journal) -> Result<(Header, Result<(), Failure>)> {
    Ok(crate::interpret::run(plan, &mut crate::process::ThisProcess::new(), journal))
}
