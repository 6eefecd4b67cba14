//! Judges tracers of any make on the same calls, by the same oracle: definitions → trials → scoreboard.
//!
//! A tracer is described by a TOML file ([`definition`]); [`trial`] runs it in a guest of its own, [`reader`] reads what it
//! says, [`score`] counts, and [`table`] and [`page`] print.

mod conversion;
pub mod definition;
mod page;
mod reader;
pub mod score;
mod table;
mod tracee;
mod trial;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use settime32_abi::plan::Plan;

use crate::boot::{self, Deadline};
use crate::failure::Failure;
use crate::generate::{self, catalogue};
use crate::kernels::{self, Kernel, Say};
use crate::verdict::{Provoked, Verdict};
use crate::verify::{CALLS_PER_PLAN, Setup};

use definition::Definition;
use score::{Cost, Row, Scoreboard};
use trial::Outcome;

/// The cases of the catalogue that every tracer is given: one for each way in which tracers were seen to go wrong.
pub const CASES: [&str; 14] = [
    "values/edges",
    "flags/each-bit",
    "pointers/null",
    "pointers/overlap",
    "pointers/utmr-partly-mapped",
    "pointers/otmr-partly-mapped",
    "pointers/not-resident",
    "entry/int80",
    "entry/vdso",
    "entry/int80-from-64bit",
    "silence/native-timerfd-settime",
    "silence/timerfd-settime64",
    "silence/mlock2",
    "threads/many",
];

/// What to compare.
#[derive(Clone, Debug)]
pub struct CompareOptions {
    /// Who is compared.
    pub tracers: Vec<Definition>,
    /// Cases of the catalogue.
    pub cases: Vec<String>,
    /// Generated calls beside those of the cases.
    pub calls: u64,
    /// Seed of the generator.
    pub seed: u64,
    /// Calls by which the cost is measured; 0 leaves it out.
    pub cost_calls: u16,
    /// The guest; how to attach is the tracers' own business.
    pub setup: Setup,
    /// Wall-clock limit of each tracer.
    pub timeout: Duration,
}

/// Runs all tracers, as many side by side as the machine has CPUs.
///
/// # Errors
///
/// No kernel, no QEMU. What happens to one tracer is in its row.
pub fn compare(options: &CompareOptions, say: &(dyn Fn(&str) + Sync)) -> Result<Scoreboard, Failure> {
    let definitions = &options.tracers;
    boot::check_qemu(&options.setup.qemu)?;
    let kernel = kernels::resolve(&options.setup.kernel, say)?;
    let plans = plans(options);
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<Option<Row>>> = Mutex::new(definitions.iter().map(|_| None).collect());
    let side_by_side = thread::available_parallelism().map_or(1, usize::from).min(definitions.len());
    // QEMU dies with the thread that started it, so that each thread waits for its own.
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(definition) = definitions.get(index) else { break };
                    let row = row(options, definition, &plans, &kernel, say);
                    say(&format!("{}: {}", row.name, row.outcome()));
                    rows.lock().expect("no holder panics")[index] = Some(row);
                }
            });
        }
    });
    let rows = rows.into_inner().expect("no holder panics").into_iter().map(|row| row.expect("each was run")).collect();
    let calls = plans.iter().map(|plan| plan.calls() as u64).sum();
    Ok(Scoreboard { kernel: kernel.name.clone(), seed: options.seed, calls, rows })
}

/// The same for every tracer.
fn plans(options: &CompareOptions) -> Vec<Plan> {
    let cases = options.cases.iter().filter_map(|name| catalogue::find(name));
    let cases = cases.flat_map(|case| case.plans(options.seed, 0));
    let whole = options.calls.div_ceil(CALLS_PER_PLAN);
    let bulk = (0..whole).map(|index| {
        let left = options.calls - index * CALLS_PER_PLAN;
        generate::plan(options.seed, index, left.min(CALLS_PER_PLAN) as usize)
    });
    cases.chain(bulk).collect()
}

fn row(options: &CompareOptions, definition: &Definition, plans: &[Plan], kernel: &Kernel, say: Say) -> Row {
    say(&format!("{}: tracing", definition.name));
    let deadline = || Deadline::after(options.timeout);
    let outcome = trial::run(definition, plans, &options.setup, kernel.clone(), deadline(), say);
    let mut row = Row::new(definition, reproduce(options, &definition.asked));
    match outcome {
        Err(failure) => row.fail(failure.verdict(), &failure.to_string()),
        Ok(Outcome::NotRun(reason)) => row.not_run = Some(reason),
        Ok(Outcome::Judged(findings)) => {
            let asked = plans.iter().map(|plan| plan.calls() as u64).sum();
            row.judge(&findings, Verdict::of(&findings, asked, Provoked::default()));
            if options.cost_calls > 0 {
                match trial::cost(definition, options.cost_calls, &options.setup, kernel.clone(), deadline(), say) {
                    Ok(cost) => row.cost = cost,
                    Err(failure) => row.cost = Cost { note: Some(failure.to_string()), ..Cost::default() },
                }
            }
        }
    }
    row
}

/// The command that does one row again.
fn reproduce(options: &CompareOptions, tracer: &str) -> String {
    let CompareOptions { calls, seed, .. } = options;
    let all = options.cases.iter().map(String::as_str).eq(CASES);
    let cases: String = if all { String::new() } else { options.cases.iter().map(|case| format!(" --case {case}")).collect() };
    format!("cargo harness compare --tracer {tracer} --kernel {} --seed {seed} --calls {calls}{cases}", options.setup.kernel)
}
