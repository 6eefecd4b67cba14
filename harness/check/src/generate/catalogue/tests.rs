//! That the catalogue is in order, and that each group reaches what it is there for.

use std::collections::BTreeSet;

use settime32_abi::plan::Step;

use super::*;
use crate::generate::CALLS_PER_PLAN;
use crate::model::{Bounds, Rule, Timeline, outcomes};

/// The only plan of a case.
fn plan_of(name: &str, seed: u64) -> Plan {
    find(name).unwrap().plans(seed, 0).next().unwrap()
}

fn scripts() -> impl Iterator<Item = &'static Case> {
    CASES.iter().filter(|case| matches!(case.does, Does::Script(_)))
}

/// The rules that decide the calls of a case.
fn rules(name: &str) -> BTreeSet<Rule> {
    let timeline = Timeline { realtime_offset: Bounds::exactly(1_795_000_000_000_000_000) };
    let span =
        |call: usize| Bounds::new(20_000 * (call as i64 + 1), 20_000 * (call as i64 + 1) + 4000);
    outcomes(&plan_of(name, 3), timeline, span).iter().map(|outcome| outcome.rule).collect()
}

#[test]
fn every_case_has_a_name_of_its_own_and_a_plan_that_can_be_done() {
    let names: BTreeSet<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names.len(), CASES.len());
    for case in CASES {
        assert!(
            !case.about.is_empty()
                && !case.about.contains('\n')
                && case.name.split('/').count() == 2
        );
    }
    for case in scripts() {
        let plan = plan_of(case.name, 7);
        assert_eq!(plan.validate(), Ok(()), "{}", case.name);
        assert!(
            (100..=CALLS_PER_PLAN as usize).contains(&plan.calls()),
            "{}: {}",
            case.name,
            plan.calls()
        );
        assert_eq!(
            [7, 8].map(|seed| plan_of(case.name, seed).calls() as u64),
            [case.calls(0); 2],
            "{}",
            case.name
        );
        assert_eq!(plan, plan_of(case.name, 7), "{} is no function of the seed", case.name);
        assert_ne!(plan, plan_of(case.name, 8), "{} does not depend on the seed", case.name);
    }
}

#[test]
fn cases_are_repeated_under_other_seeds_until_they_have_enough_calls() {
    for (name, least) in [("pointers/null", 1000), ("volume/million", 1_000_001)] {
        let case = find(name).unwrap();
        let plans: Vec<Plan> = case.plans(7, least).collect();
        let calls: u64 = plans.iter().map(|plan| plan.calls() as u64).sum();
        assert!(
            calls == case.calls(least)
                && calls >= least
                && (1..plans.len()).all(|at| plans[at] != plans[at - 1]),
            "{name}"
        );
    }
}

#[test]
fn every_case_reaches_what_it_is_there_for() {
    use Rule::*;
    for (name, wanted) in [
        ("values/any", &[InvalidInterval, InvalidValue, Armed][..]),
        ("values/edges", &[InvalidInterval, InvalidValue, Armed, Disarmed]),
        ("values/bad-interval-of-a-disarm", &[InvalidInterval, Disarmed, Armed]),
        ("flags/each-bit", &[UnknownFlags, Armed]),
        ("fds/each-kind", &[NotOpen, PathOnly, NotATimer, Armed]),
        (
            "fds/order-of-errors",
            &[
                NoNewSetting,
                UnknownFlags,
                InvalidInterval,
                InvalidValue,
                NotOpen,
                PathOnly,
                NotATimer,
                OldNotWritten,
            ],
        ),
        (
            "clocks/alarm-not-allowed",
            &[
                NoNewSetting,
                UnknownFlags,
                InvalidValue,
                NotPrivileged,
                Armed,
                Disarmed,
                OldNotWritten,
            ],
        ),
        ("clocks/set", &[Canceled, Armed, Disarmed, UnknownFlags]),
        ("pointers/null", &[NoNewSetting, Armed]),
        ("pointers/nowhere", &[NoNewSetting, OldNotWritten, Armed]),
        ("pointers/overlap", &[Armed, OldNotWritten]),
        ("pointers/not-resident", &[Armed, Disarmed]),
        ("pointers/any-pages", &[NoNewSetting, OldNotWritten, Armed, Disarmed]),
        ("entry/vdso", &[NoNewSetting, OldNotWritten, Canceled, Armed, NotOpen]),
    ] {
        let reached = rules(name);
        let missing: Vec<&Rule> = wanted.iter().filter(|rule| !reached.contains(rule)).collect();
        assert!(missing.is_empty(), "{name} does not reach {missing:?}");
    }
}

#[test]
fn partial_writes_end_after_every_byte() {
    let timeline = Timeline { realtime_offset: Bounds::exactly(0) };
    let plan = plan_of("pointers/otmr-partly-mapped", 1);
    let outcomes = outcomes(&plan, timeline, |call| Bounds::exactly(20_000 * (call as i64 + 1)));
    let cut = outcomes
        .iter()
        .filter(|outcome| outcome.rule == Rule::OldNotWritten)
        .map(|outcome| outcome.written);
    assert_eq!(cut.collect::<BTreeSet<_>>(), (0..16).collect());
}

#[test]
fn silent_calls_are_there() {
    for case in scripts() {
        let silent = plan_of(case.name, 1)
            .steps
            .iter()
            .filter(|step| matches!(step, Step::Silent(_)))
            .count();
        assert_eq!(silent > 0, case.name.starts_with("silence/"), "{}", case.name);
    }
}
