//! What there is to do in a run: the plans, in their order, and what the tracer must tell of them.

use std::path::PathBuf;
use std::time::Duration;

use settime32_abi::plan::Plan;

pub use crate::generate::CALLS_PER_PLAN;
use crate::generate::{self, catalogue};

/// Numbers that each case of the catalogue has for its plans.
pub const PLANS_PER_CASE: u64 = 1 << 20;

/// The calls to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// `calls` generated calls, in plans of [`CALLS_PER_PLAN`].
    Run {
        /// Calls in all.
        calls: u64,
    },
    /// One plan of such a run.
    OnePlan {
        /// Its index.
        index: u64,
        /// Its calls.
        calls: u64,
    },
    /// Cases of the catalogue.
    Cases {
        /// Their names.
        names: Vec<&'static str>,
        /// Calls of each at least; those that can be repeated are, under the seeds that follow.
        least: u64,
    },
    /// Lifecycles of timers; each counts as a call.
    Lifecycle {
        /// Timers in all.
        timers: u64,
        /// Timers in one plan.
        per_plan: u64,
    },
    /// One plan of such a run.
    OneLifecyclePlan {
        /// Its index.
        index: u64,
        /// Its timers.
        timers: u64,
    },
    /// A plan from elsewhere.
    Literal {
        /// Its file.
        file: PathBuf,
        /// What it held.
        plan: Plan,
    },
}

impl Work {
    /// Calls in all.
    pub fn calls(&self) -> u64 {
        match self {
            Self::Run { calls } | Self::OnePlan { calls, .. } => *calls,
            Self::Lifecycle { timers, .. } | Self::OneLifecyclePlan { timers, .. } => *timers,
            Self::Literal { plan, .. } if plan.is_of_lifecycles() => {
                generate::lifecycle::timers(plan)
            }
            Self::Cases { names, least } => cases(names).map(|case| case.calls(*least)).sum(),
            Self::Literal { plan, .. } => plan.calls() as u64,
        }
    }

    /// What the tracer must tell.
    pub fn tells(&self) -> Tells {
        match self {
            Self::Lifecycle { .. } | Self::OneLifecyclePlan { .. } => Tells::Lifecycle,
            Self::Literal { plan, .. } if plan.is_of_lifecycles() => Tells::Lifecycle,
            _ => Tells::Calls,
        }
    }

    /// Those of them that plans make, and not scenarios.
    pub fn calls_of_plans(&self) -> u64 {
        match self {
            Self::Cases { names, least } => {
                let plans =
                    cases(names).filter(|case| !matches!(case.does, catalogue::Does::Scenario(_)));
                plans.map(|case| case.calls(*least)).sum()
            }
            _ => self.calls(),
        }
    }

    /// The scenarios among the cases, each with its place among them.
    pub fn scenarios(&self) -> Vec<(usize, catalogue::Scenario)> {
        let Self::Cases { names, .. } = self else { return Vec::new() };
        let scenario = |(index, case): (usize, &catalogue::Case)| match case.does {
            catalogue::Does::Scenario(scenario) => Some((index, scenario)),
            _ => None,
        };
        cases(names).enumerate().filter_map(scenario).collect()
    }

    /// The limit of a run for which none was given.
    pub fn default_timeout(&self) -> Duration {
        /// A tracer's situation may start it a dozen times.
        const SCENARIO_S: u64 = 60;
        Duration::from_secs(120 + self.calls() / 1000 + SCENARIO_S * self.scenarios().len() as u64)
    }

    /// One plan of this work: that which `only` names, or the only one that there is.
    pub fn plan(&self, seed: u64, only: Option<u64>) -> Option<Plan> {
        let single = match self {
            Self::Run { calls } => *calls <= CALLS_PER_PLAN,
            Self::Cases { names, least } => names.len() == 1 && *least == 0,
            Self::Lifecycle { timers, per_plan } => timers <= per_plan,
            Self::OnePlan { .. } | Self::OneLifecyclePlan { .. } | Self::Literal { .. } => true,
        };
        self.plans(seed)
            .find(|(index, _)| single || Some(*index) == only)
            .filter(|_| single || only.is_some())
            .map(|(_, plan)| plan)
    }

    /// The plans, made one after the other when asked for.
    pub fn plans(&self, seed: u64) -> Box<dyn Iterator<Item = (u64, Plan)> + Send> {
        let generated = move |index: u64, calls: u64| {
            let calls = usize::try_from(calls).expect("plans hold at most CALLS_PER_PLAN calls");
            (index, generate::plan(seed, index, calls))
        };
        match self {
            Self::Run { calls } => {
                let calls = *calls;
                let sizes = (0..calls.div_ceil(CALLS_PER_PLAN))
                    .map(move |index| (index, CALLS_PER_PLAN.min(calls - index * CALLS_PER_PLAN)));
                Box::new(sizes.map(move |(index, calls)| generated(index, calls)))
            }
            Self::OnePlan { index, calls } => {
                let (index, calls) = (*index, *calls);
                Box::new(std::iter::once_with(move || generated(index, calls)))
            }
            Self::Lifecycle { timers, per_plan } => {
                let (timers, per_plan) = (*timers, *per_plan);
                let sizes = (0..timers.div_ceil(per_plan))
                    .map(move |index| (index, per_plan.min(timers - index * per_plan)));
                Box::new(sizes.map(move |(index, timers)| {
                    (index, generate::lifecycle::plan(seed, index, timers))
                }))
            }
            Self::OneLifecyclePlan { index, timers } => {
                let (index, timers) = (*index, *timers);
                Box::new(std::iter::once_with(move || {
                    (index, generate::lifecycle::plan(seed, index, timers))
                }))
            }
            Self::Cases { names, least } => {
                let (names, least) = (names.clone(), *least);
                let plans = move |(first, case): (u64, &'static catalogue::Case)| {
                    (first..).zip(case.plans(seed, least))
                };
                Box::new(
                    (0..)
                        .step_by(PLANS_PER_CASE as usize)
                        .zip(names)
                        .filter_map(|(first, name)| Some((first, catalogue::find(name)?)))
                        .flat_map(plans),
                )
            }
            Self::Literal { plan, .. } => Box::new(std::iter::once((0, plan.clone()))),
        }
    }
}

/// What a tracer is asked to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tells {
    /// The calls under test.
    #[default]
    Calls,
    /// Everything about the timers (`settime32-tracer --events all`).
    Lifecycle,
    /// Of lifecycles nothing, since no tracer runs: only the journal is compared with the model.
    Nothing,
}

/// The cases of these names, which are names of the catalogue.
pub fn cases(names: &[&'static str]) -> impl Iterator<Item = &'static catalogue::Case> {
    names.iter().filter_map(|name| catalogue::find(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_divided_into_plans_without_a_call_lost() {
        let work = Work::Run { calls: 2 * CALLS_PER_PLAN + 7 };
        let sizes: Vec<_> =
            work.plans(1).map(|(index, plan)| (index, plan.calls() as u64)).collect();
        assert_eq!(sizes, [(0, CALLS_PER_PLAN), (1, CALLS_PER_PLAN), (2, 7)]);
    }

    #[test]
    fn the_plan_that_is_kept_is_the_one_that_failed() {
        let work = Work::Cases { names: vec!["values/any", "pointers/null"], least: 0 };
        let of = |name: &str| catalogue::find(name).and_then(|case| case.plans(9, 0).next());
        assert_eq!(work.plan(9, Some(PLANS_PER_CASE)), of("pointers/null"));
        assert_eq!(work.plan(9, None), None, "it may be any of them");
        assert_eq!(
            Work::Cases { names: vec!["values/any"], least: 0 }.plan(9, None),
            of("values/any")
        );
    }

    #[test]
    fn one_plan_of_a_run_is_the_plan_of_that_run() {
        let run = Work::Run { calls: CALLS_PER_PLAN + 5 }.plans(9).nth(1);
        assert_eq!(Work::OnePlan { index: 1, calls: 5 }.plans(9).next(), run);
    }
}
