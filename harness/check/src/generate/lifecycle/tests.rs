//! That plans of lifecycles are valid, reproducible, and have everything in them that they are there
//! for.

use std::collections::BTreeSet;

use proptest::prelude::*;
use settime32_abi::plan::{Call, Ending, PosixAct};

use super::*;

proptest! {
    #[test]
    fn every_plan_is_valid(plan in strategy(1..60)) {
        prop_assert_eq!(plan.validate(), Ok(()));
        prop_assert!(plan.is_of_lifecycles());
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
                Step::Lifecycle(Act::Settime64 { api, .. }) => format!("settime {api:?}"),
                Step::Lifecycle(Act::Gettime { api, .. }) => format!("gettime {api:?}"),
                Step::Lifecycle(Act::Read { blocking, .. }) => format!("read {blocking}"),
                Step::Lifecycle(Act::Wait { slots, by, .. }) => {
                    format!("wait {by:?} {}", slots.count_ones() > 1)
                }
                Step::Lifecycle(Act::Create { .. }) => "create".into(),
                Step::Lifecycle(Act::Close { .. }) => "close".into(),
                Step::Lifecycle(Act::Posix { act: PosixAct::Set { .. }, .. }) => "posix".into(),
                Step::Wait { .. } => "wait".into(),
                _ => "other".into(),
            });
        }
    }
    assert_eq!(kinds.len(), 25, "{kinds:?}");
}

/// Half of all timers at least are set, once or more, to fire in 1 ns to 100 µs.
#[test]
fn most_timers_are_short() {
    let (mut made, mut short) = (0, BTreeSet::new());
    for index in 0..8 {
        let mut behind = [0; SLOTS];
        for step in &plan(1, index, 500).steps {
            let value = match *step {
                Step::Call(ref call) if call.flags & 1 == 0 => call.new.it_value.as_nanos(),
                Step::Lifecycle(Act::Settime64 { flags, new, .. }) if flags & 1 == 0 => new
                    .it_value
                    .tv_sec
                    .saturating_mul(1_000_000_000)
                    .saturating_add(new.it_value.tv_nsec),
                _ => 0,
            };
            match *step {
                Step::Open { slot, kind: FdKind::Timer(_) }
                | Step::Lifecycle(Act::Create { slot, .. }) => {
                    made += 1;
                    behind[usize::from(slot)] = made;
                }
                Step::Open { slot, kind: FdKind::Dup(of) | FdKind::Passed(of) } => {
                    behind[usize::from(slot)] = behind[usize::from(of)]
                }
                Step::Call(Call { slot, .. }) | Step::Lifecycle(Act::Settime64 { slot, .. })
                    if (1..=100_000).contains(&value) =>
                {
                    short.insert(behind[usize::from(slot)]);
                }
                _ => {}
            }
        }
    }
    assert!(short.len() * 2 > made, "{} of {made}", short.len());
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
