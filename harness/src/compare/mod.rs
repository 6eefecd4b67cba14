//! Judges tracers of any make on the same calls, by the same oracle: definitions → trials →
//! scoreboard.
//!
//! A tracer is described by a TOML file ([`definition`]); [`trial`] runs it in a guest of its own,
//! [`reader`] reads what it says, [`score`] counts, and [`table`] and [`page`] print.

mod conversion;
pub mod definition;
mod page;
mod plot;
mod reader;
pub mod score;
mod table;
mod tracee;
mod trial;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use settime32_abi::plan::Plan;
use settime32_vm::Say;

use crate::boot;
use crate::failure::Failure;
use crate::generate::{self, catalogue};
use crate::kernels::{self, Kernel};
use crate::oracle::Place;
use crate::setup::Setup;
use crate::verdict::{Provoked, Verdict};
use crate::words;
use crate::work::CALLS_PER_PLAN;

use definition::Definition;
pub use page::page;
use score::{Cost, Row, Scoreboard, Shown};
pub(crate) use trial::read;
use trial::{Bench, Outcome};

/// The cases of the catalogue that every tracer is given: one for each way in which tracers were
/// seen to go wrong.
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
    "threads/several",
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
    /// Only this one of the plans that these make.
    pub plan: Option<u64>,
    /// Seed of the generator.
    pub seed: u64,
    /// Calls by which the cost is measured; 0 leaves it out.
    pub cost_calls: u16,
    /// The guest; how to attach is the tracers' own business.
    pub setup: Setup,
    /// Wall-clock limit of each tracer.
    pub timeout: Duration,
    /// A folder for what each tracer wrote.
    pub keep: Option<PathBuf>,
}

impl CompareOptions {
    /// Whether there are calls to make.
    pub fn makes_calls(&self) -> bool {
        calls(&tasks(self)) > 0
    }
}

/// Calls that every tracer is given.
#[derive(Clone, Debug)]
struct Task {
    /// By which findings name the plan, and `--plan` finds it again.
    index: u64,
    /// The case that it is of; `None` of generated calls.
    case: Option<String>,
    plan: Plan,
}

/// Runs all tracers, as many side by side as the machine has CPUs.
///
/// # Errors
///
/// No kernel, no QEMU. What happens to one tracer is in its row.
pub fn compare(
    options: &CompareOptions,
    say: &(dyn Fn(&str) + Sync),
) -> Result<Scoreboard, Failure> {
    let definitions = &options.tracers;
    boot::check_qemu(&options.setup.qemu)?;
    let kernel = kernels::resolve(&options.setup.kernel, say)?;
    let tasks = tasks(options);
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<Option<Row>>> = Mutex::new(definitions.iter().map(|_| None).collect());
    let side_by_side =
        thread::available_parallelism().map_or(1, usize::from).min(definitions.len());
    // QEMU dies with the thread that started it, so that each thread waits for its own.
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(definition) = definitions.get(index) else { break };
                    let row = row(options, definition, &tasks, &kernel, say);
                    say(&format!("{}: {}", row.name, row.outcome()));
                    rows.lock().expect("no holder panics")[index] = Some(row);
                }
            });
        }
    });
    let rows = rows
        .into_inner()
        .expect("no holder panics")
        .into_iter()
        .map(|row| row.expect("each was run"))
        .collect();
    Ok(Scoreboard { kernel: kernel.name.clone(), seed: options.seed, calls: calls(&tasks), rows })
}

/// The same for every tracer.
fn tasks(options: &CompareOptions) -> Vec<Task> {
    let cases = options.cases.iter().filter_map(|name| catalogue::find(name));
    let cases = cases.flat_map(|case| {
        case.plans(options.seed, 0).map(|plan| (Some(case.name.to_owned()), plan))
    });
    let bulk = (0..options.calls.div_ceil(CALLS_PER_PLAN)).map(|index| {
        let left = options.calls - index * CALLS_PER_PLAN;
        (None, generate::plan(options.seed, index, left.min(CALLS_PER_PLAN) as usize))
    });
    let all = (0..).zip(cases.chain(bulk)).map(|(index, (case, plan))| Task { index, case, plan });
    all.filter(|task| options.plan.is_none_or(|only| only == task.index)).collect()
}

fn calls(tasks: &[Task]) -> u64 {
    tasks.iter().map(|task| task.plan.calls() as u64).sum()
}

fn row(
    options: &CompareOptions,
    definition: &Definition,
    tasks: &[Task],
    kernel: &Kernel,
    say: Say,
) -> Row {
    say(&format!("{}: tracing", definition.name));
    let bench = Bench {
        definition,
        setup: &options.setup,
        kernel,
        timeout: options.timeout,
        keep: options.keep.as_deref(),
        say,
    };
    let again = |plan: Option<u64>| again(options, &definition.asked, plan);
    let mut row = Row::new(definition, again(None));
    match bench.judge(tasks) {
        Err(failure) => row.fail(failure.verdict(), &failure.to_string()),
        Ok(Outcome::NotRun(reason)) => row.not_run = Some(reason),
        Ok(Outcome::Judged(findings)) => {
            let show = |fault, place: Place, lines| {
                let task = tasks.iter().find(|task| Some(task.index) == place.plan);
                let step = task.zip(place.step).and_then(|(task, step)| task.plan.steps.get(step));
                let (case, asked) =
                    (task.and_then(|task| task.case.clone()), step.map(words::of_step));
                Shown { fault, case, place, asked, lines, again: again(place.plan) }
            };
            row.judge(&findings, Verdict::of(&findings, calls(tasks), Provoked::default()), show);
            if options.cost_calls > 0 {
                say(&format!("{}: measuring the cost", definition.name));
                row.cost = bench.cost(options.cost_calls).unwrap_or_else(|failure| Cost {
                    note: Some(failure.to_string()),
                    ..Cost::default()
                });
            }
        }
    }
    row
}

/// The command that does one row again, or of it one plan.
fn again(options: &CompareOptions, tracer: &str, plan: Option<u64>) -> String {
    let CompareOptions { calls, seed, .. } = options;
    let all = options.cases.iter().map(String::as_str).eq(CASES);
    let cases: String = if all {
        String::new()
    } else {
        options.cases.iter().map(|case| format!(" --case {case}")).collect()
    };
    let plan = plan
        .or(options.plan)
        .map_or(String::new(), |plan| format!(" --plan {plan} --cost-calls 0"));
    format!(
        "cargo harness compare --tracer {tracer} --kernel {} --seed {seed} --calls {calls}{cases}{plan}",
        options.setup.kernel
    )
}
