//! What generated and shrunk plans have in common. Whether they reach every rule is tested beside
//! the model.

use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use settime32_abi::plan::{Call, Clock, Ending, FdKind, Pointer, Step};
use settime32_abi::timespec::OldItimerspec32;
use sha2::{Digest, Sha256};

use super::*;

#[test]
fn the_same_seed_gives_the_same_bytes_for_ever() {
    let digest = |seed, index, calls| {
        let digest = Sha256::digest(plan(seed, index, calls).encode());
        digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(
        [digest(0, 0, 1), digest(7, 0, 1000), digest(7, 1, 1000), digest(u64::MAX, 3, 5000)],
        ["4d40c59673e5846e", "0f620f3a74fc708f", "8ff52b1847b046b2", "3ca76eabe68507c8"]
    );
}

#[test]
fn a_plan_has_exactly_the_calls_asked_for_and_is_valid() {
    for (index, calls) in [0, 1, 2, 17, 1000, 20_000].into_iter().enumerate() {
        let plan = plan(1, index as u64, calls);
        assert_eq!(plan.calls(), calls);
        assert_eq!(plan.validate(), Ok(()));
    }
}

#[test]
fn every_shrunk_plan_is_valid_and_no_longer() {
    let mut runner = TestRunner::new_with_rng(Config::default(), rng(3, 3));
    let strategy = plan_strategy(1..60);
    for round in 0..60 {
        let mut tree = strategy.new_tree(&mut runner).unwrap();
        let mut longest = tree.current().calls();
        for turn in 0..400 {
            let moved = if (round + turn) % 3 == 0 { tree.complicate() } else { tree.simplify() };
            let plan = tree.current();
            assert_eq!(plan.validate(), Ok(()), "{plan:?}");
            longest = longest.max(plan.calls());
            if !moved && !tree.simplify() {
                break;
            }
        }
        assert!(longest < 60);
    }
}

/// What is left of any plan when every property fails: one call, on the simplest timer, with the
/// simplest arguments.
#[test]
fn a_failure_of_any_call_shrinks_to_the_simplest() {
    let smallest = shrink(|plan| plan.calls() > 0);
    let call = Call { otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) };
    assert_eq!(
        smallest.steps,
        [Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) }, Step::Call(call)]
    );
}

#[test]
fn a_failure_of_one_kind_of_call_shrinks_to_it_alone() {
    let of_realtime = |step: &Step| matches!(step, Step::Call(Call { slot: 1, flags: 3, .. }));
    let smallest = shrink(|plan| plan.steps.iter().any(of_realtime));
    assert_eq!(smallest.steps.len(), 2, "{smallest:?}");
    assert_eq!(smallest.steps[0], Step::Open { slot: 1, kind: FdKind::Timer(Clock::Realtime) });
}

#[test]
fn a_failure_of_a_fork_shrinks_to_a_fork_of_one_call() {
    let smallest = shrink(|plan| plan.steps.iter().any(|step| matches!(step, Step::Fork { .. })));
    assert_eq!(smallest.steps.len(), 3, "{smallest:?}");
    assert_eq!(smallest.steps[1], Step::Fork { steps: 1, ending: Ending::Exit });
}

/// Shrinks a plan as proptest does, as long as `fails` holds.
fn shrink(fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut runner = TestRunner::new_with_rng(Config::default(), rng(4, 4));
    let strategy = plan_strategy(1..200);
    let mut tree = loop {
        let tree = strategy.new_tree(&mut runner).unwrap();
        if fails(&tree.current()) {
            break tree;
        }
    };
    let mut smallest = tree.current();
    let mut more = tree.simplify();
    while more {
        let plan = tree.current();
        more = if fails(&plan) {
            smallest = plan;
            tree.simplify()
        } else {
            tree.complicate()
        };
    }
    smallest
}
