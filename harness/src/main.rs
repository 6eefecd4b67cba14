//! The program: command line in, one job, report out, exit code.

use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anstream::{AutoStream, ColorChoice};
use clap::Parser;
use serde::Serialize;
use settime32_harness::boot::{BootOptions, GuestTime, MEMORY_MIB, Start};
use settime32_harness::cli::{
    BenchCommand, Cli, Command, CompareArgs, CostArgs, FuzzArgs, GuestArgs, Job, KernelsArgs,
    ManArgs, Manual, MergeArgs, MutantsArgs,
};
use settime32_harness::compare::definition::{self, Definition};
use settime32_harness::compare::{self, score::Scoreboard};
use settime32_harness::cost::{self, Cost};
use settime32_harness::embedded;
use settime32_harness::failure::{Failure, InfraError};
use settime32_harness::fuzz::{self, FuzzReport};
use settime32_harness::generate::catalogue::{CASES, Case};
use settime32_harness::output::{self, say};
use settime32_harness::progress::{FuzzProgress, Progress};
use settime32_harness::run::{Ended, RunOptions};
use settime32_harness::verdict::Verdict;
use settime32_harness::verify::{BOOT_TIMEOUT, verify};
use settime32_harness::{bench, kernels, matrix, mutants, run as program};
use settime32_mutants::About;

fn main() -> ExitCode {
    let command = match command() {
        Ok(command) => command,
        Err(verdict) => return ExitCode::from(verdict.exit_code()),
    };
    let verdict = match command {
        Command::Run(arguments) => return run_program(&arguments.options()),
        Command::Shell(arguments) => return run_program(&arguments.options()),
        Command::Verify(arguments) => run(&arguments.job()),
        Command::Lifecycle(arguments) => run(&arguments.job()),
        Command::Replay(arguments) => match arguments.job() {
            Ok(job) => run(&job),
            Err(error) => {
                say(&error.to_string());
                Verdict::Usage
            }
        },
        Command::Fuzz(arguments) => run_fuzz(arguments),
        Command::Merge(arguments) => run_merge(&arguments),
        Command::Kernels(arguments) => kernels(&arguments),
        Command::Catalogue { json } => list_cases(json),
        Command::Mutants(arguments) if arguments.list => list_mutants(&arguments),
        Command::Mutants(arguments) => run_mutants(&arguments),
        Command::Compare(arguments) if arguments.list => list_tracers(),
        Command::Compare(arguments) => compare_tracers(&arguments),
        Command::Cost(arguments) => measure_cost(&arguments),
        Command::Bench(BenchCommand::Boot { rounds, guest, json }) => {
            bench_boot(rounds, guest, json)
        }
        Command::Bench(BenchCommand::Warm { rounds, guest, json }) => {
            let result = bench::warm(&guest.setup(), rounds, &say);
            measured(result, json, bench::WarmBench::text, |_| Verdict::Pass)
        }
        Command::Completions(arguments) => told(arguments.text(), Verdict::Pass),
        Command::Man(arguments) => write_manual(arguments),
    };
    ExitCode::from(verdict.exit_code())
}

fn run(job: &Job) -> Verdict {
    let progress = Progress::new(job.cells.iter().map(|cell| cell.work.calls()).sum());
    let (verdict, text) = match job.cells.as_slice() {
        [options] => {
            let report = verify(options, &progress);
            let text = if job.json { json_line(&report) } else { report.text() };
            (report.verdict, text)
        }
        cells => {
            let reports = matrix::run(cells, &progress);
            let text = if job.json {
                reports.iter().map(json_line).collect()
            } else {
                matrix::text(&reports)
            };
            (matrix::verdict(&reports), text)
        }
    };
    progress.finish();
    told(&text, verdict)
}

/// The program's exit code, or that of why it could not be run.
fn run_program(options: &RunOptions) -> ExitCode {
    match program::run(options, &say) {
        Ok(Ended::Code(code)) => ExitCode::from(code),
        Ok(Ended::Signal(signal)) => {
            program::end_by(signal);
            ExitCode::from(128 + signal as u8)
        }
        Err(failure) => {
            say(&format!("{}: {failure}", failure.verdict()));
            ExitCode::from(failure.verdict().exit_code())
        }
    }
}

fn json_line(report: &impl Serialize) -> String {
    serde_json::to_string(report).expect("a report is plain data") + "\n"
}

/// Lists the kernels by name; fetches what is asked for first.
fn kernels(arguments: &KernelsArgs) -> Verdict {
    let entries = kernels::catalog()
        .iter()
        .filter(|entry| arguments.names.is_empty() || arguments.names.contains(&entry.name));
    let (mut verdict, mut lines) = (Verdict::Pass, String::new());
    for entry in entries {
        let outcome = match (arguments.update, arguments.fetch) {
            (true, _) => kernels::update(entry, &say),
            (false, true) => kernels::resolve(&entry.name, &say).map(drop),
            (false, false) => Ok(()),
        };
        if let Err(error) = outcome {
            say(&error.to_string());
            verdict = Verdict::Infrastructure;
        }
        let (package, version) =
            kernels::cached(entry).unwrap_or_else(|| ("not fetched yet".into(), String::new()));
        lines += &format!("{:8} {package} {version}\n", entry.name);
    }
    told(&lines, verdict)
}

fn list_cases(json: bool) -> Verdict {
    let longest = CASES.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let line = |case: &Case| {
        if json {
            serde_json::json!({ "name": case.name, "about": case.about, "calls": case.calls(0) })
                .to_string()
                + "\n"
        } else {
            format!("{:longest$}  {}\n", case.name, case.about)
        }
    };
    told(CASES.iter().map(line).collect::<String>(), Verdict::Pass)
}

fn list_mutants(arguments: &MutantsArgs) -> Verdict {
    let wrong = arguments.job().wrong;
    let longest = wrong.iter().map(|about| about.name.len()).max().unwrap_or_default();
    let line = |about: &About| {
        let (name, error, caught_by) =
            (about.name, about.error, mutants::described(about.caught_by));
        if arguments.json {
            serde_json::json!({ "name": name, "error": error, "caught_by": caught_by }).to_string()
                + "\n"
        } else {
            format!("{name:longest$}  {error} ({caught_by})\n")
        }
    };
    told(wrong.iter().map(line).collect::<String>(), Verdict::Pass)
}

fn run_mutants(arguments: &MutantsArgs) -> Verdict {
    let job = arguments.job();
    let progress = Progress::new(mutants::calls(&job));
    let outcome = mutants::run(&job, &progress);
    progress.finish();
    match outcome {
        Ok(score) => {
            told(&if arguments.json { json_line(&score) } else { score.text() }, score.verdict)
        }
        Err(failure) => {
            say(&failure.to_string());
            failure.verdict()
        }
    }
}

/// Ctrl-C has the seeds under way finished; a second one ends it at once.
fn run_fuzz(arguments: FuzzArgs) -> Verdict {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let ends_at_once = signal_hook::flag::register_conditional_shutdown(
            signal,
            128 + signal,
            Arc::clone(&stopped),
        );
        let stops = signal_hook::flag::register(signal, Arc::clone(&stopped));
        if let Err(error) = ends_at_once.and(stops) {
            say(&format!(
                "failed to wait for signals: {error}; a Ctrl-C will end the run without its report"
            ));
        }
    }
    let json = arguments.json;
    let progress = FuzzProgress::new();
    let outcome = fuzz::run(&arguments.options(), &stopped, &progress);
    progress.finish();
    end_of_fuzz(outcome.map_err(|error| (error.verdict(), error.to_string())), json)
}

fn run_merge(arguments: &MergeArgs) -> Verdict {
    end_of_fuzz(
        arguments.merge().map_err(|error| (error.verdict(), error.to_string())),
        arguments.json,
    )
}

fn end_of_fuzz(outcome: Result<FuzzReport, (Verdict, String)>, json: bool) -> Verdict {
    match outcome {
        Ok(report) => told(&if json { json_line(&report) } else { report.text() }, report.verdict),
        Err((verdict, error)) => {
            say(&error.to_string());
            verdict
        }
    }
}

fn bench_boot(rounds: u32, guest: GuestArgs, json: bool) -> Verdict {
    let measure = || -> Result<bench::BootBench, Failure> {
        let kernel = kernels::resolve(&guest.kernel, &say)?;
        let GuestArgs { accel: choice, cpu, qemu, append, .. } = guest;
        let (start, time, memory_mib) = (Start::Cold, GuestTime::Host, MEMORY_MIB);
        let options = BootOptions {
            kernel,
            programs: embedded::guest_programs()?,
            qemu,
            choice,
            start,
            cpu,
            time,
            memory_mib,
            append,
            boot_timeout: BOOT_TIMEOUT,
        };
        bench::boot(&options, rounds, &say)
    };
    measured(measure(), json, bench::BootBench::text, |_| Verdict::Pass)
}

/// Prints figures, or why there are none.
fn measured<T: Serialize>(
    figures: Result<T, Failure>,
    json: bool,
    text: impl Fn(&T) -> String,
    verdict: impl Fn(&T) -> Verdict,
) -> Verdict {
    match figures {
        Ok(figures) => {
            told(&if json { json_line(&figures) } else { text(&figures) }, verdict(&figures))
        }
        Err(failure) => {
            say(&failure.to_string());
            failure.verdict()
        }
    }
}

fn measure_cost(arguments: &CostArgs) -> Verdict {
    let CostArgs { kernel, calls, dead_threads, qemu, json } = arguments;
    measured(cost::measure(kernel, qemu, *calls, *dead_threads, &say), *json, Cost::text, |cost| {
        cost.verdict
    })
}

fn list_tracers() -> Verdict {
    let line = |name: &str| {
        let about = Definition::load(name)
            .map_or_else(|error| error.to_string(), |definition| definition.about);
        format!("{name:20} {about}\n")
    };
    told(definition::shipped_names().into_iter().map(line).collect::<String>(), Verdict::Pass)
}

fn compare_tracers(arguments: &CompareArgs) -> Verdict {
    let jobs = match arguments.jobs() {
        Ok(jobs) => jobs,
        Err(error) => {
            say(&error.to_string());
            return Verdict::Usage;
        }
    };
    let mut boards = Vec::new();
    for job in &jobs {
        match compare::compare(job, &say) {
            Ok(board) => {
                if let Err(verdict) =
                    print(&if arguments.json { json_line(&board) } else { board.text() })
                {
                    return worse(verdict, board.verdict());
                }
                boards.push(board);
            }
            Err(failure) => {
                say(&failure.to_string());
                return failure.verdict();
            }
        }
    }
    if let Some(path) = &arguments.html
        && let Err(source) = std::fs::write(path, compare::page(&boards))
    {
        say(&InfraError::file("write", path)(source).to_string());
        return Verdict::Infrastructure;
    }
    boards
        .iter()
        .map(Scoreboard::verdict)
        .max_by_key(|verdict| verdict.severity())
        .unwrap_or(Verdict::Infrastructure)
}

fn write_manual(arguments: ManArgs) -> Verdict {
    match arguments.pages() {
        Manual::Page(page) => told(page, Verdict::Pass),
        Manual::Written(_, Ok(())) => Verdict::Pass,
        Manual::Written(folder, Err(source)) => {
            say(&InfraError::file("write manual pages to", folder)(source).to_string());
            Verdict::Infrastructure
        }
    }
}

/// Prints what was asked for, all of it. Where it ends otherwise, gives the verdict on that: a
/// reader that left has read enough.
fn print(text: impl AsRef<[u8]>) -> Result<(), Verdict> {
    output::to_stdout(text.as_ref()).map_err(|source| match source.kind() {
        ErrorKind::BrokenPipe => Verdict::Pass,
        _ => {
            say(&InfraError::file("write to", "standard output")(source).to_string());
            Verdict::Infrastructure
        }
    })
}

/// Prints the end of a job that came to this verdict.
fn told(text: impl AsRef<[u8]>, verdict: Verdict) -> Verdict {
    print(text).map_or_else(|unprinted| worse(unprinted, verdict), |()| verdict)
}

fn worse(one: Verdict, other: Verdict) -> Verdict {
    if one.severity() > other.severity() { one } else { other }
}

/// The command line; where there is nothing to do, the verdict on what it asks for.
fn command() -> Result<Command, Verdict> {
    Cli::try_parse().and_then(Cli::checked).map(|cli| cli.command).map_err(|error| {
        let text = |plain| {
            if plain { error.render().to_string() } else { error.render().ansi().to_string() }
        };
        if error.use_stderr() {
            _ = output::to_stderr(
                text(AutoStream::choice(&io::stderr()) == ColorChoice::Never).as_bytes(),
            );
            return Verdict::Usage;
        }
        told(text(AutoStream::choice(&io::stdout()) == ColorChoice::Never), Verdict::Pass)
    })
}
