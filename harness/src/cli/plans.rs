//! The jobs that do plans and compare: drawn ones, lifecycles of timers, and those that failed
//! before.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Args;
use settime32_abi::plan::Plan;

use super::{ALL_KERNELS, Attaches, Job, RunArgs, UsageError, fresh_seed};
use crate::generate::catalogue::CASES;
use crate::generate::lifecycle::TIMERS_PER_PLAN;
use crate::oracle::{EventSet, EventSets};
use crate::regression::Regression;
use crate::setup::{Setup, VerifyOptions};
use crate::work::{CALLS_PER_PLAN, Tells, Work};

/// Timers in a plan where the tracer comes midway: between plans, none is alive.
const MIDWAY_PER_PLAN: u64 = 2_000;
/// Calls of a run that names no number.
const DEFAULT_CALLS: u64 = 10_000;

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Calls to make [default: 10000]; with cases, calls of each at least: those that can be
    /// repeated are.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// A case of the catalogue instead of any calls, or a group of them as `field/`; may be given
    /// more than once.
    #[arg(long, value_name = "NAME", conflicts_with = "catalogue", hide_possible_values = true,
          value_parser = clap::builder::PossibleValuesParser::new(cases_and_groups()))]
    case: Vec<String>,
    /// All cases of the catalogue, one after the other in one guest.
    #[arg(long)]
    catalogue: bool,
    /// All cases of the catalogue on all kernels in both attach modes: --catalogue --kernel all
    /// --attach all.
    #[arg(long, conflicts_with_all = ["calls", "catalogue", "case", "kernel", "attach", "here"])]
    full: bool,
    /// Seed of the generator [default: a new one, which the report shows].
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

/// Arguments of `lifecycle`.
#[derive(Args, Debug)]
pub struct LifecycleArgs {
    /// Timers to make.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u64).range(1..))]
    timers: u64,
    /// Seed of the generator [default: a new one, which the report shows].
    #[arg(long)]
    seed: Option<u64>,
    /// Only this plan of the run; --timers is then the number of timers in it.
    #[arg(long, requires = "seed")]
    plan: Option<u64>,
    /// Events that the tracer is asked for: names separated by commas, as it takes them, or `all`;
    /// or `pairs`, each two kinds by a tracer in a guest of its own, which share the timers and
    /// have seeds that follow each other.
    #[arg(long, value_name = "EVENTS", default_value = "all", conflicts_with = "no_tracer")]
    events: EventSets,
    /// Have the tracer report threads of the workload's name only (--comm), which must make no
    /// difference.
    #[arg(long, conflicts_with = "no_tracer")]
    by_name: bool,
    /// Attach while timers are alive already: what begins once the tracer is ready is compared.
    /// Takes 10,000 timers or so, of which some have gone by then.
    #[arg(long, conflicts_with_all = ["no_tracer", "inject"])]
    midway: bool,
    /// Start no tracer: compare only what the kernel answers with what its sources say.
    #[arg(long)]
    no_tracer: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// A plan in a file, or a failure that was kept, instead of generated plans.
    #[arg(conflicts_with_all = ["seed", "plan", "calls"], required_unless_present = "seed")]
    file: Option<PathBuf>,
    /// Seed of the run.
    #[arg(long, requires = "calls")]
    seed: Option<u64>,
    /// Only this plan of the run; --calls is then the number of calls in it.
    #[arg(long, requires = "seed")]
    plan: Option<u64>,
    /// Calls of the run.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

/// The names of the cases, and of the groups that they are in.
fn cases_and_groups() -> impl Iterator<Item = &'static str> {
    let group = |name: &'static str| name.find('/').map(|slash| &name[..=slash]);
    let groups: BTreeSet<&str> = CASES.iter().filter_map(|case| group(case.name)).collect();
    CASES.iter().map(|case| case.name).chain(groups)
}

/// Whether a word of [`cases_and_groups`] means this case.
fn is_named(word: &str, name: &str) -> bool {
    if word.ends_with('/') { name.starts_with(word) } else { word == name }
}

impl VerifyArgs {
    /// The job.
    pub fn job(mut self) -> Job {
        if self.full {
            self.catalogue = true;
            self.run.guest.kernel = ALL_KERNELS.into();
            self.run.attach = Attaches::all();
        }
        let seed = self.seed.unwrap_or_else(fresh_seed);
        let wanted =
            |name: &str| self.catalogue || self.case.iter().any(|case| is_named(case, name));
        let names: Vec<&str> =
            CASES.iter().map(|case| case.name).filter(|name| wanted(name)).collect();
        let work = match (names.is_empty(), self.calls) {
            (true, calls) => Work::Run { calls: calls.unwrap_or(DEFAULT_CALLS) },
            (false, calls) => Work::Cases { names, least: calls.unwrap_or(0) },
        };
        self.run.job(work, seed)
    }
}

impl LifecycleArgs {
    /// The job.
    pub fn job(self) -> Job {
        let EventSets(sets) = self.events;
        let timers = self.timers.div_ceil(sets.len() as u64);
        let per_plan = if self.midway { MIDWAY_PER_PLAN } else { TIMERS_PER_PLAN };
        let work = self.plan.map_or(Work::Lifecycle { timers, per_plan }, |index| {
            Work::OneLifecyclePlan { index, timers }
        });
        let mut job = self.run.job(work, self.seed.unwrap_or_else(fresh_seed));
        let with_each = |cell: VerifyOptions| {
            let with = move |(events, index): (&EventSet, u64)| {
                let setup = Setup { events: events.clone(), ..cell.setup.clone() };
                VerifyOptions { seed: cell.seed.wrapping_add(index), setup, ..cell.clone() }
            };
            sets.iter().zip(0..).map(with)
        };
        job.cells = job.cells.into_iter().flat_map(with_each).collect();
        for setup in job.cells.iter_mut().map(|cell| &mut cell.setup) {
            (setup.by_name, setup.midway) = (self.by_name, self.midway);
            if self.no_tracer {
                setup.tells = Tells::Nothing;
            }
        }
        job
    }
}

impl ReplayArgs {
    /// The job.
    pub fn job(self) -> Result<Job, UsageError> {
        let calls = self.calls.unwrap_or_default();
        let work = match (self.file, self.plan) {
            (Some(path), _) => {
                let bytes = std::fs::read(&path)
                    .map_err(|source| UsageError::PlanFile { path: path.clone(), source })?;
                Work::Literal { plan: plan_in(&path, &bytes)?, file: path }
            }
            (None, Some(_)) if calls > CALLS_PER_PLAN => {
                return Err(UsageError::PlanSize { calls });
            }
            (None, Some(index)) => Work::OnePlan { index, calls },
            (None, None) => Work::Run { calls },
        };
        Ok(self.run.job(work, self.seed.unwrap_or_default()))
    }
}

/// A plan's bytes, or the text of a regression.
fn plan_in(path: &Path, bytes: &[u8]) -> Result<Plan, UsageError> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.starts_with('{') => match Regression::parse(text) {
            Ok(regression) => Ok(regression.plan()),
            Err(reason) => Err(UsageError::Regression { path: path.into(), reason }),
        },
        _ => Plan::decode(bytes).map_err(|source| UsageError::Plan { path: path.into(), source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_all_of_its_cases_and_no_other() {
        let words: Vec<&str> = cases_and_groups().collect();
        assert!(
            words.contains(&"field/")
                && words.contains(&"field/short")
                && !words.contains(&"field")
        );
        assert!(is_named("field/", "field/short") && is_named("field/short", "field/short"));
        assert!(
            !is_named("field/", "fds/each-kind") && !is_named("field/short", "field/short-not")
        );
    }
}
