//! The program: command line in, one job, report out, exit code.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use settime32_harness::boot::BootOptions;
use settime32_harness::cli::{BenchCommand, Cli, Command, GuestArgs, Job};
use settime32_harness::failure::Failure;
use settime32_harness::progress::Progress;
use settime32_harness::verdict::Verdict;
use settime32_harness::verify::{BOOT_TIMEOUT, verify};
use settime32_harness::{bench, kernels};

fn main() -> ExitCode {
    let verdict = match Cli::parse().command {
        Command::Verify(arguments) => run(&arguments.job()),
        Command::Replay(arguments) => match arguments.job() {
            Ok(job) => run(&job),
            Err(error) => {
                eprintln!("settime32-harness: {error}");
                Verdict::Usage
            }
        },
        Command::Kernels => list_kernels(),
        Command::Bench(BenchCommand::Boot { rounds, guest, json }) => bench_boot(rounds, guest, json),
    };
    ExitCode::from(verdict.exit_code())
}

fn run(job: &Job) -> Verdict {
    let progress = Progress::new(job.options.work.calls());
    let report = verify(&job.options, &progress);
    progress.finish();
    let text = if job.json { serde_json::to_string(&report).expect("a report is plain data") + "\n" } else { report.text() };
    print(&text);
    report.verdict
}

fn list_kernels() -> Verdict {
    let lines: String = kernels::catalog().iter().map(|entry| format!("{}\t{}\n", entry.name, kernels::cached(&entry.name))).collect();
    print(&lines);
    Verdict::Pass
}

fn bench_boot(rounds: u32, guest: GuestArgs, json: bool) -> Verdict {
    let say = |text: &str| eprintln!("settime32-harness: {text}");
    let measure = || -> Result<bench::BootBench, Failure> {
        let kernel = kernels::resolve(&guest.kernel, &say)?;
        let options = BootOptions { kernel, qemu: guest.qemu, choice: guest.accel, append: guest.append, boot_timeout: BOOT_TIMEOUT };
        bench::boot(&options, rounds, &say)
    };
    match measure() {
        Ok(result) => {
            print(&if json { serde_json::to_string(&result).expect("figures are plain data") + "\n" } else { result.text() });
            Verdict::Pass
        }
        Err(failure) => {
            eprintln!("settime32-harness: {failure}");
            failure.verdict()
        }
    }
}

/// A reader that has gone away is no reason to panic; the exit code still tells.
fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
