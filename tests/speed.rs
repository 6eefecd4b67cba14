//! Measures the two host stages that must keep up with the guest: generating plans, and comparing
//! events (JSON parsing and all). Prints figures and asserts nothing, since times depend on the
//! machine.

#[path = "simulate/mod.rs"]
mod simulate;

use std::time::Instant;

use settime32_check::generate;
use settime32_check::oracle::{Config, Oracle};
use settime32_check::verdict::{Provoked, Verdict};
use simulate::{COMM, CPUS, Machine, summary_of};

const PLANS: u64 = 20;
const CALLS: usize = 10_000;

fn main() {
    let begin = Instant::now();
    let plans: Vec<_> = (0..PLANS).map(|index| generate::plan(7, index, CALLS)).collect();
    report("calls generated", begin);
    let begin = Instant::now();
    let bytes: usize = plans.iter().map(|plan| plan.encode().len()).sum();
    report(&format!("calls encoded ({bytes} bytes)"), begin);

    let mut machine = Machine::new(1, None);
    let runs: Vec<_> = plans.iter().map(|plan| machine.run(plan)).collect();
    let lines: Vec<Vec<Vec<u8>>> = runs
        .iter()
        .map(|run| run.events.iter().map(|event| serde_json::to_vec(event).unwrap()).collect())
        .collect();
    let begin = Instant::now();
    let mut oracle =
        Oracle::new(Config { cpus: CPUS, comm: Some(COMM.to_owned()), ..Config::default() });
    for (index, (run, lines)) in runs.iter().zip(&lines).enumerate() {
        lines.iter().for_each(|line| oracle.line(line));
        oracle.plan_done(index as u64, run.plan.clone(), run.journal.clone());
    }
    oracle.summary(summary_of(runs.iter().flat_map(|run| &run.events), 0));
    let findings = oracle.finish();
    report("events compared", begin);
    println!("verdict {}", Verdict::of(&findings, PLANS * CALLS as u64, Provoked::default()));
}

fn report(what: &str, begin: Instant) {
    let seconds = begin.elapsed().as_secs_f64();
    println!("{:>12.0} {what} a second", PLANS as f64 * CALLS as f64 / seconds);
}
