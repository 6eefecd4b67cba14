//! Guest after guest, on one kernel after the other, with probes that come and go under load: no
//! guest may fail. It takes hours, and is run on purpose:
//!
//! `SETTIME32_SOAK=500,100 cargo test --release -p settime32-tests --test soak -- --ignored
//! --nocapture`
//!
//! The numbers are guests that go on from a saved state, and guests that are booted.

use std::time::{Duration, Instant};

use settime32_harness::boot::Start;
use settime32_harness::kernels;
use settime32_harness::verdict::Verdict;
use settime32_harness::verify::{Attach, Setup, VerifyOptions, Watch, verify};
use settime32_harness::work::Work;

const COUNTS_ENV: &str = "SETTIME32_SOAK";
const COUNTS: &str = "500,100";

/// Under the one the tracer is there from the start and goes at the end; in the other it comes and
/// goes under load.
const CASES: [&str; 2] = ["values/any", "restart/under-load"];

/// A guest is given up that takes longer.
const LIMIT: Duration = Duration::from_secs(600);

struct Silent;

impl Watch for Silent {
    fn say(&self, _text: &str) {}
    fn calls_made(&self, _calls: u64) {}
}

#[test]
#[ignore = "hours; see the head of this file"]
fn no_guest_fails() {
    let counts = std::env::var(COUNTS_ENV).unwrap_or_else(|_| COUNTS.into());
    let (warm, cold) = counts.split_once(',').expect("two numbers");
    let (warm, cold): (u64, u64) = (warm.parse().unwrap(), cold.parse().unwrap());
    let begin = Instant::now();
    let mut failed = Vec::new();
    for (start, count) in [(Start::Warm, warm), (Start::Cold, cold)] {
        for index in 0..count {
            let (verdict, line) = one(start, index);
            println!("{:6.0} s  {start} {index}: {line}", begin.elapsed().as_secs_f64());
            if verdict != Verdict::Pass {
                failed.push(line);
            }
        }
    }
    assert!(
        failed.is_empty() && warm + cold > 0,
        "{} of {} failed:\n{}",
        failed.len(),
        warm + cold,
        failed.join("\n")
    );
}

/// One guest: its kernel and attach mode go round with the index. What a kernel cannot do is left
/// out.
fn one(start: Start, index: u64) -> (Verdict, String) {
    let catalog = kernels::catalog();
    let entry = &catalog[index as usize % catalog.len()];
    let attach = if (index as usize / catalog.len()).is_multiple_of(2) {
        Attach::Kprobe
    } else {
        Attach::Fentry
    };
    let setup = Setup { kernel: entry.name.clone(), attach, start, ..Setup::default() };
    let options = VerifyOptions {
        work: Work::Cases { names: CASES.to_vec(), least: 0 },
        seed: index,
        setup,
        timeout: LIMIT,
    };
    let report = verify(&options, &Silent);
    if let Some(reason) = &report.not_run {
        return (Verdict::Pass, format!("{} not run: {reason}", options.setup));
    }
    if report.failure.is_none() && report.start != Some(start) {
        return (Verdict::Inconclusive, format!("{} started {:?}", options.setup, report.start));
    }
    let why = report.failure.iter().chain(&report.findings).cloned().collect::<Vec<_>>().join("; ");
    (report.verdict, format!("{} seed {index}: {} {why}", options.setup, report.verdict))
}
