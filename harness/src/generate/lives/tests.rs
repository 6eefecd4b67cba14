//! That plans of lives are valid, reproducible, and have everything in them that they are there for.

use std::collections::BTreeSet;

use proptest::prelude::*;
use settime32_abi::plan::{Ending, PosixAct};

use super::*;

proptest! {
    #[test]
    fn every_plan_is_valid(plan in strategy(1..60)) {
        prop_assert_eq!(plan.validate(), Ok(()));
        prop_assert!(plan.is_of_lives());
    }
}

#[test]
fn a_plan_is_a_function_of_seed_index_and_size() {
    assert_eq!(plan(7, 3, 40), plan(7, 3, 40));
    assert_ne!(plan(7, 3, 40).steps, plan(7, 5, 40).steps);
    assert_ne!(plan(7, 3, 40).steps, plan(8, 3, 40).steps);
}

#[test]
fn plans_have_each_kind_of_step() {
    let mut kinds = BTreeSet::new();
    for index in 0..4 {
        let plan = plan(1, index, 500);
        assert_eq!(plan.validate(), Ok(()));
        for step in &plan.steps {
            kinds.insert(match step {
                Step::Call(_) => "call".to_owned(),
                Step::Open { kind: FdKind::Dup(_), .. } => "dup".into(),
                Step::Open { kind: FdKind::Passed(_), .. } => "passed".into(),
                Step::Open { .. } => "open".into(),
                Step::Fork { ending: Ending::Kill, .. } => "kill".into(),
                Step::Fork { .. } => "fork".into(),
                Step::SetClock => "set clock".into(),
                Step::Life(Act::Settime64 { api, .. }) => format!("settime {api:?}"),
                Step::Life(Act::Gettime { api, .. }) => format!("gettime {api:?}"),
                Step::Life(Act::Read { blocking, .. }) => format!("read {blocking}"),
                Step::Life(Act::Wait { slots, by, .. }) => format!("wait {by:?} {}", slots.count_ones() > 1),
                Step::Life(Act::Create { .. }) => "create".into(),
                Step::Life(Act::Close { .. }) => "close".into(),
                Step::Life(Act::Posix { act: PosixAct::Set { .. }, .. }) => "posix".into(),
                Step::Wait { .. } => "wait".into(),
                _ => "other".into(),
            });
        }
    }
    assert_eq!(kinds.len(), 25, "{kinds:?}");
}

#[test]
fn a_plan_has_as_many_timers_as_were_asked_for() {
    for index in 0..6 {
        let plan = plan(9, index, 100);
        let made = timers(&plan);
        // Those of alarm clocks are not counted by `timers`.
        assert!((50..104).contains(&made), "{made}");
    }
}
