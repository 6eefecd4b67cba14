//! Shrinking by conditions that need no guest.

use std::convert::Infallible;

use settime32_abi::plan::{Call, Clock, Ending, Entry, FdKind, Page, Pointer, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::*;
use crate::generate;
use crate::generate::catalogue::CASES;
use crate::oracle::Place;

fn finding() -> Finding {
    Finding {
        place: Place::default(),
        kind: Kind::Missing,
        differences: Vec::new(),
        note: String::new(),
    }
}

/// Shrinks by a condition; every plan that is asked about is valid.
fn shrunk_from(
    plan: &Plan,
    step: Option<usize>,
    runs_max: u32,
    fails: impl Fn(&Plan) -> bool,
) -> Shrunk {
    let mut run = |plan: &Plan| -> Result<_, Infallible> {
        assert_eq!(plan.validate(), Ok(()));
        Ok(fails(plan).then(finding))
    };
    let Ok(Outcome::Shrunk(shrunk)) = shrink(plan, step, runs_max, &mut run) else {
        panic!("it does not repeat")
    };
    assert!(fails(&shrunk.plan), "the smallest plan does not fail: {:?}", shrunk.plan);
    shrunk
}

fn calls(plan: &Plan) -> Vec<Call> {
    plan.steps
        .iter()
        .filter_map(|step| if let Step::Call(call) = step { Some(*call) } else { None })
        .collect()
}

const SIMPLEST: Call = Call {
    otmr: Pointer::Null,
    utmr: Pointer::Null,
    ..Call::plain(0, OldItimerspec32 { it_interval: ZERO, it_value: ZERO })
};
const ZERO: OldTimespec32 = OldTimespec32 { tv_sec: 0, tv_nsec: 0 };
const TIMER: Step = Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) };

/// A plan of 10,000 calls of which one has a value that no other has.
fn needle() -> (Plan, usize, OldItimerspec32) {
    let mut plan = generate::plan(11, 0, 10_000);
    let new = OldItimerspec32 {
        it_interval: ZERO,
        it_value: OldTimespec32 { tv_sec: 77, tv_nsec: 123_456_789 },
    };
    let (at, call) = plan
        .steps
        .iter_mut()
        .enumerate()
        .filter(|(_, step)| matches!(step, Step::Call(_)))
        .nth(6_283)
        .unwrap();
    *call = Step::Call(Call { flags: 3, ..Call::plain(1, new) });
    (plan, at, new)
}

fn has_needle(plan: &Plan) -> bool {
    calls(plan)
        .iter()
        .any(|call| call.utmr != Pointer::Null && call.new.it_value.tv_nsec == 123_456_789)
}

#[test]
fn one_special_call_of_10_000_is_found_by_halves() {
    let (plan, _, _) = needle();
    let shrunk = shrunk_from(&plan, None, RUNS_MAX, has_needle);
    let new = OldItimerspec32 {
        it_value: OldTimespec32 { tv_sec: 0, tv_nsec: 123_456_789 },
        it_interval: ZERO,
    };
    assert_eq!(
        shrunk.plan.steps,
        [TIMER, Step::Call(Call { utmr: Pointer::Valid, new, ..SIMPLEST })]
    );
    assert!(shrunk.runs < 100, "tens of runs, not {}", shrunk.runs);
    assert!(!shrunk.cut_off);
}

#[test]
fn where_the_finding_is_known_it_is_tried_first() {
    let (plan, at, _) = needle();
    let by_place = shrunk_from(&plan, Some(at), RUNS_MAX, has_needle);
    let by_halves = shrunk_from(&plan, None, RUNS_MAX, has_needle);
    assert_eq!(by_place.plan, by_halves.plan);
    assert!(by_place.runs + 10 < by_halves.runs, "{} and {}", by_place.runs, by_halves.runs);
}

#[test]
fn two_calls_in_an_order_are_both_kept() {
    let in_order = |plan: &Plan| {
        let calls = calls(plan);
        let armed = calls.iter().position(|call| call.flags == 3);
        armed.is_some_and(|armed| calls[armed..].iter().any(|call| call.new.it_value.tv_nsec < 0))
    };
    let shrunk = shrunk_from(&generate::plan(5, 0, 3000), None, RUNS_MAX, in_order);
    let calls = calls(&shrunk.plan);
    assert_eq!(
        calls.iter().map(|call| (call.flags, call.new.it_value.tv_nsec)).collect::<Vec<_>>(),
        [(3, 0), (0, -1)]
    );
}

#[test]
fn a_number_goes_to_the_edge_where_it_begins_to_fail() {
    for (edge, negative) in [(1_000_000_000, false), (7, false), (i32::MIN, true), (-3, true)] {
        let beyond = |value: i32| if negative { value <= edge } else { value >= edge };
        let fails =
            |plan: &Plan| calls(plan).iter().any(|call| beyond(call.new.it_interval.tv_sec));
        let new = OldItimerspec32 {
            it_interval: OldTimespec32 {
                tv_sec: if negative { i32::MIN } else { i32::MAX },
                tv_nsec: 9,
            },
            it_value: ZERO,
        };
        let plan = Plan {
            steps: vec![TIMER, Step::Call(Call { flags: -1, ..Call::plain(0, new) })],
            ..Plan::default()
        };
        let shrunk = shrunk_from(&plan, None, RUNS_MAX, fails);
        assert_eq!(
            calls(&shrunk.plan)[0].new.it_interval,
            OldTimespec32 { tv_sec: edge, tv_nsec: 0 }
        );
    }
}

#[test]
fn a_flag_that_matters_is_left_alone() {
    let plan = Plan {
        steps: vec![TIMER, Step::Call(Call { flags: 0x7f, ..SIMPLEST })],
        ..Plan::default()
    };
    let shrunk = shrunk_from(&plan, None, RUNS_MAX, |plan| {
        calls(plan).iter().any(|call| call.flags & 0x24 == 0x24)
    });
    assert_eq!(calls(&shrunk.plan)[0].flags, 0x24);
}

#[test]
fn a_child_is_left_out_unless_it_matters() {
    let inner =
        [Step::Call(SIMPLEST), Step::Call(Call { flags: 1, ..SIMPLEST }), Step::Call(SIMPLEST)];
    let fork = |steps, ending| Step::Fork { steps, ending };
    let steps =
        [TIMER, fork(3, Ending::Exec)].into_iter().chain(inner).chain([Step::SetClock]).collect();
    let plan = Plan { steps, ..Plan::default() };
    let flagged = |plan: &Plan| calls(plan).iter().any(|call| call.flags == 1);
    let parent = shrunk_from(&plan, None, RUNS_MAX, flagged);
    assert_eq!(parent.plan.steps, [TIMER, Step::Call(Call { flags: 1, ..SIMPLEST })]);
    let forked = |plan: &Plan| {
        flagged(plan) && plan.steps.iter().any(|step| matches!(step, Step::Fork { .. }))
    };
    let child = shrunk_from(&plan, None, RUNS_MAX, forked);
    assert_eq!(
        child.plan.steps,
        [TIMER, fork(1, Ending::Exit), Step::Call(Call { flags: 1, ..SIMPLEST })]
    );
}

#[test]
fn threads_become_two_of_one_call() {
    let steps = [TIMER, Step::Threads { threads: 5, calls: 3 }]
        .into_iter()
        .chain((0..15).map(|_| Step::Call(SIMPLEST)))
        .collect();
    let plan = Plan { steps, ..Plan::default() };
    let shrunk = shrunk_from(&plan, None, RUNS_MAX, |plan| {
        plan.steps.iter().any(|step| matches!(step, Step::Threads { .. }))
    });
    assert_eq!(
        shrunk.plan.steps[1..],
        [Step::Threads { threads: 2, calls: 1 }, Step::Call(SIMPLEST), Step::Call(SIMPLEST)]
    );
}

#[test]
fn what_a_pointer_needs_is_kept_and_nothing_else() {
    let edge = Pointer::Edge { before: 4, first: Page::Resident, next: Page::Unmapped };
    let call = Call { utmr: edge, otmr: Pointer::OverUtmr(4), entry: Entry::Vdso, ..SIMPLEST };
    let plan = Plan { steps: vec![TIMER, Step::Call(call)], ..Plan::default() };
    let shrunk = shrunk_from(&plan, None, RUNS_MAX, |plan| {
        calls(plan)
            .iter()
            .any(|call| call.utmr_page(15) == Page::Unmapped && call.utmr != Pointer::Null)
    });
    assert_eq!(calls(&shrunk.plan), [Call { utmr: Pointer::On(Page::Unmapped), ..SIMPLEST }]);
}

#[test]
fn descriptors_that_a_call_needs_stay_and_slots_are_numbered() {
    let copied = |plan: &Plan| {
        plan.steps.iter().any(|step| matches!(step, Step::Open { kind: FdKind::Passed(_), .. }))
    };
    let shrunk = shrunk_from(&generate::plan(3, 0, 400), None, RUNS_MAX, copied);
    let opens: Vec<_> =
        shrunk.plan.steps.iter().filter(|step| matches!(step, Step::Open { .. })).collect();
    assert!(
        matches!(
            opens[..],
            [Step::Open { slot: 0, .. }, Step::Open { slot: 1, kind: FdKind::Passed(0) }]
        ),
        "{opens:?}"
    );
}

#[test]
fn every_case_of_the_catalogue_shrinks_to_a_valid_plan() {
    for case in CASES {
        for plan in case.plans(1, 0).take(1).filter(|plan| plan.calls() > 0 && plan.calls() < 3000)
        {
            let shrunk = shrunk_from(&plan, None, RUNS_MAX, |plan| plan.calls() > 0);
            assert_eq!(shrunk.plan.calls(), 1, "{}", case.name);
        }
    }
}

#[test]
fn the_runs_are_bounded_and_the_same_each_time() {
    let (plan, _, _) = needle();
    let cut = shrunk_from(&plan, None, 10, has_needle);
    assert!(cut.cut_off && cut.runs <= 10 + REPEATS, "{}", cut.runs);
    assert!(cut.plan.steps.len() < plan.steps.len());
    assert_eq!(shrunk_from(&plan, None, 10, has_needle).plan, cut.plan);
}

#[test]
fn what_does_not_repeat_is_said_to_be_so() {
    let mut run = |_: &Plan| -> Result<_, Infallible> { Ok(None) };
    let outcome = shrink(&needle().0, None, RUNS_MAX, &mut run);
    assert!(matches!(outcome, Ok(Outcome::DidNotRepeat { runs: REPEATS })), "{outcome:?}");
    // What fails only now and then is said to, as well.
    let mut turn = 0;
    let mut run = |_: &Plan| -> Result<_, Infallible> {
        turn += 1;
        Ok((turn == 1).then(finding))
    };
    let Ok(Outcome::Shrunk(shrunk)) = shrink(&needle().0, None, 20, &mut run) else {
        panic!("it failed once")
    };
    assert_eq!((shrunk.confirmed, shrunk.confirmed_of), (0, REPEATS));
}

#[test]
fn a_signature_is_the_kind_and_the_fields() {
    let field = |fields: &[&'static str]| Finding {
        kind: Kind::Field,
        differences: fields
            .iter()
            .map(|field| crate::oracle::Difference {
                field,
                expected: String::new(),
                found: String::new(),
            })
            .collect(),
        ..finding()
    };
    let both = Signature::of(&field(&["utmr_used", "ret"]));
    assert_eq!(both.fields, ["ret", "utmr_used"]);
    assert!(
        both.is_shown_by(&field(&["ret"]))
            && !both.is_shown_by(&field(&["flags"]))
            && !both.is_shown_by(&finding())
    );
    assert!(
        Signature::of(&field(&["ret"])).explains(&both)
            && !both.explains(&Signature::of(&field(&["ret"])))
    );
    assert!(!Signature::of(&finding()).explains(&both));
}
