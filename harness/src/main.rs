//! The program: command line in, one job, report out, exit code.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser;
use serde::Serialize;
use settime32_harness::boot::{BootOptions, GuestTime, MEMORY_MIB, Start};
use settime32_harness::cli::{
    BenchCommand, Cli, Command, CompareArgs, CostArgs, GuestArgs, Job, KernelsArgs, ManArgs, Manual, MutantsArgs,
};
use settime32_harness::compare::definition::{self, Definition};
use settime32_harness::compare::{self, score::Scoreboard};
use settime32_harness::cost::{self, Cost};
use settime32_harness::failure::{Failure, InfraError};
use settime32_harness::fuzz::{self, FuzzArgs, FuzzReport, MergeArgs};
use settime32_harness::generate::catalogue::{CASES, Case};
use settime32_harness::progress::{FuzzProgress, Progress};
use settime32_harness::run::{Ended, RunOptions};
use settime32_harness::verdict::Verdict;
use settime32_harness::verify::{BOOT_TIMEOUT, verify};
use settime32_harness::{bench, kernels, matrix, mutants, run as program};
use settime32_wrong::About;

fn main() -> ExitCode {
    let verdict = match Cli::parse().command {
        Command::Run(arguments) => return run_program(&arguments.options()),
        Command::Shell(arguments) => return run_program(&arguments.options()),
        Command::Verify(arguments) => run(&arguments.job()),
        Command::Lives(arguments) => run(&arguments.job()),
        Command::Replay(arguments) => match arguments.job() {
            Ok(job) => run(&job),
            Err(error) => {
                eprintln!("settime32-harness: {error}");
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
        Command::Bench(BenchCommand::Boot { rounds, guest, json }) => bench_boot(rounds, guest, json),
        Command::Bench(BenchCommand::Warm { rounds, guest, json }) => {
            let result = bench::warm(&guest.setup(), rounds, &say);
            measured(result, json, bench::WarmBench::text, |_| Verdict::Pass)
        }
        Command::Completions(arguments) => describe(&arguments.text()),
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
            let text = if job.json { reports.iter().map(json_line).collect() } else { matrix::text(&reports) };
            (matrix::verdict(&reports), text)
        }
    };
    progress.finish();
    print(&text);
    verdict
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
    let entries = kernels::catalog().iter().filter(|entry| arguments.names.is_empty() || arguments.names.contains(&entry.name));
    let mut verdict = Verdict::Pass;
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
        let (package, version) = kernels::cached(entry).unwrap_or_else(|| ("not fetched yet".into(), String::new()));
        print(&format!("{:8} {package} {version}\n", entry.name));
    }
    verdict
}

fn list_cases(json: bool) -> Verdict {
    let longest = CASES.iter().map(|case| case.name.len()).max().unwrap_or_default();
    let line = |case: &Case| {
        if json {
            serde_json::json!({ "name": case.name, "about": case.about, "calls": case.calls(0) }).to_string() + "\n"
        } else {
            format!("{:longest$}  {}\n", case.name, case.about)
        }
    };
    print(&CASES.iter().map(line).collect::<String>());
    Verdict::Pass
}

fn list_mutants(arguments: &MutantsArgs) -> Verdict {
    let wrong = arguments.job().wrong;
    let longest = wrong.iter().map(|about| about.name.len()).max().unwrap_or_default();
    let line = |about: &About| {
        let (name, error, caught_by) = (about.name, about.error, mutants::described(about.caught_by));
        if arguments.json {
            serde_json::json!({ "name": name, "error": error, "caught_by": caught_by }).to_string() + "\n"
        } else {
            format!("{name:longest$}  {error} ({caught_by})\n")
        }
    };
    print(&wrong.iter().map(line).collect::<String>());
    Verdict::Pass
}

fn run_mutants(arguments: &MutantsArgs) -> Verdict {
    let job = arguments.job();
    let progress = Progress::new(mutants::calls(&job));
    let outcome = mutants::run(&job, &progress);
    progress.finish();
    match outcome {
        Ok(score) => {
            print(&if arguments.json { serde_json::to_string(&score).expect("a score is plain data") + "\n" } else { score.text() });
            score.verdict
        }
        Err(failure) => {
            eprintln!("settime32-harness: {failure}");
            failure.verdict()
        }
    }
}

/// Ctrl-C has the seeds under way finished; a second one ends it at once.
fn run_fuzz(arguments: FuzzArgs) -> Verdict {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        let ends_at_once = signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stopped));
        let stops = signal_hook::flag::register(signal, Arc::clone(&stopped));
        if let Err(error) = ends_at_once.and(stops) {
            eprintln!("settime32-harness: failed to wait for signals: {error}; a Ctrl-C will end the run without its report");
        }
    }
    let json = arguments.json;
    let progress = FuzzProgress::new();
    let outcome = fuzz::run(&arguments.options(), &stopped, &progress);
    progress.finish();
    end_of_fuzz(outcome.map_err(|error| (error.verdict(), error.to_string())), json)
}

fn run_merge(arguments: &MergeArgs) -> Verdict {
    end_of_fuzz(arguments.merge().map_err(|error| (error.verdict(), error.to_string())), arguments.json)
}

fn end_of_fuzz(outcome: Result<FuzzReport, (Verdict, String)>, json: bool) -> Verdict {
    match outcome {
        Ok(report) => {
            print(&if json { serde_json::to_string(&report).expect("a report is plain data") + "\n" } else { report.text() });
            report.verdict
        }
        Err((verdict, error)) => {
            eprintln!("settime32-harness: {error}");
            verdict
        }
    }
}

fn bench_boot(rounds: u32, guest: GuestArgs, json: bool) -> Verdict {
    let measure = || -> Result<bench::BootBench, Failure> {
        let kernel = kernels::resolve(&guest.kernel, &say)?;
        let GuestArgs { accel: choice, cpu, qemu, append, .. } = guest;
        let (start, time, memory_mib) = (Start::Cold, GuestTime::Host, MEMORY_MIB);
        let options = BootOptions { kernel, qemu, choice, start, cpu, time, memory_mib, append, boot_timeout: BOOT_TIMEOUT };
        bench::boot(&options, rounds, &say)
    };
    measured(measure(), json, bench::BootBench::text, |_| Verdict::Pass)
}

fn say(text: &str) {
    eprintln!("settime32-harness: {text}");
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
            print(&if json { serde_json::to_string(&figures).expect("figures are plain data") + "\n" } else { text(&figures) });
            verdict(&figures)
        }
        Err(failure) => {
            eprintln!("settime32-harness: {failure}");
            failure.verdict()
        }
    }
}

fn measure_cost(arguments: &CostArgs) -> Verdict {
    let CostArgs { kernel, calls, qemu, json } = arguments;
    measured(cost::measure(kernel, qemu, *calls, &say), *json, Cost::text, |cost| cost.verdict)
}

fn list_tracers() -> Verdict {
    for name in definition::shipped_names() {
        let about = Definition::load(name).map_or_else(|error| error.to_string(), |definition| definition.about);
        print(&format!("{name:20} {about}\n"));
    }
    Verdict::Pass
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
                print(&if arguments.json { json_line(&board) } else { board.text() });
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
    boards.iter().map(Scoreboard::verdict).max_by_key(|verdict| verdict.severity()).unwrap_or(Verdict::Infrastructure)
}

fn write_manual(arguments: ManArgs) -> Verdict {
    match arguments.pages() {
        Manual::Page(page) => describe(&page),
        Manual::Written(_, Ok(())) => Verdict::Pass,
        Manual::Written(folder, Err(source)) => {
            say(&InfraError::file("write manual pages to", folder)(source).to_string());
            Verdict::Infrastructure
        }
    }
}

/// Prints what another program is to read, all of it; one that has read enough may leave.
fn describe(text: &[u8]) -> Verdict {
    let mut out = std::io::stdout();
    match out.write_all(text).and_then(|()| out.flush()) {
        Err(source) if source.kind() != std::io::ErrorKind::BrokenPipe => {
            say(&InfraError::file("write to", "standard output")(source).to_string());
            Verdict::Infrastructure
        }
        _ => Verdict::Pass,
    }
}

/// A reader that has gone away is no reason to panic; the exit code still tells.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
