//! Each rule by itself, the bounds on what is left, and that generated plans reach all of it.

use std::collections::BTreeSet;

use settime32_abi::plan::{Clock, Ending, Entry, FdKind, Other};
use settime32_abi::timespec::OldItimerspec32;

use super::*;
use crate::generate;

const SECOND: i64 = 1_000_000_000;
const OFFSET: i64 = 1_700_000_000 * SECOND;
const TIMELINE: Timeline = Timeline { realtime_offset: Bounds::exactly(OFFSET) };
const SLACK: i64 = 1_000;

/// A plan on slot 0, and the instants at which its calls ran.
struct Script {
    model: Model,
    steps: usize,
    now: i64,
}

impl Script {
    fn on(kind: FdKind) -> Self {
        let mut script = Self { model: Model::new(TIMELINE), steps: 0, now: 100 * SECOND };
        script.step(Step::Open { slot: 0, kind });
        script
    }

    fn step(&mut self, step: Step) {
        self.model.begin_step(self.steps);
        self.model.follow(self.steps, std::slice::from_ref(&step));
        self.steps += 1;
    }

    fn raw(&mut self, slot: u8, flags: i32, utmr: Pointer, new: OldItimerspec32) -> Outcome {
        self.model.begin_step(self.steps);
        self.steps += 1;
        self.model.call(
            &Call {
                slot,
                flags,
                utmr,
                otmr: Pointer::Valid,
                new,
                meanwhile: None,
                entry: Entry::Int80,
            },
            Bounds::exactly(self.now),
        )
    }

    fn set(&mut self, flags: i32, value: i64, interval: i64) -> Outcome {
        self.raw(0, flags, Pointer::Valid, setting(value, interval))
    }

    /// What is left, read by a call that disarms.
    fn left(&mut self) -> Remaining {
        self.set(0, 0, 0).old.unwrap().remaining
    }
}

fn time(nanos: i64) -> OldTimespec32 {
    OldTimespec32 { tv_sec: (nanos / SECOND) as i32, tv_nsec: (nanos % SECOND) as i32 }
}

fn setting(value: i64, interval: i64) -> OldItimerspec32 {
    OldItimerspec32 { it_interval: time(interval), it_value: time(value) }
}

fn around(value: i64) -> Remaining {
    Remaining { zero: false, range: Some(Bounds::new(value - SLACK, value + SLACK)) }
}

const MONOTONIC: FdKind = FdKind::Timer(Clock::Monotonic);
const REALTIME: FdKind = FdKind::Timer(Clock::Realtime);

#[test]
fn errors_come_in_the_order_of_the_kernel() {
    let bad = OldItimerspec32 {
        it_interval: OldTimespec32 { tv_sec: 0, tv_nsec: -1 },
        it_value: OldTimespec32 { tv_sec: -1, tv_nsec: 0 },
    };
    let bad_value = OldItimerspec32 { it_interval: OldTimespec32::default(), ..bad };
    let rule = |kind, flags, utmr, new| Script::on(kind).raw(0, flags, utmr, new).rule;
    assert_eq!(rule(FdKind::Closed, 4, Pointer::Null, bad), Rule::NoNewSetting);
    assert_eq!(rule(FdKind::Closed, 4, Pointer::Valid, bad), Rule::UnknownFlags);
    assert_eq!(rule(FdKind::Closed, 3, Pointer::Valid, bad), Rule::InvalidInterval);
    assert_eq!(rule(FdKind::Closed, 3, Pointer::Valid, bad_value), Rule::InvalidValue);
    assert_eq!(rule(FdKind::Number(-1), 3, Pointer::Valid, setting(0, 0)), Rule::NotOpen);
    assert_eq!(rule(FdKind::Path, 3, Pointer::Valid, setting(0, 0)), Rule::PathOnly);
    assert_eq!(
        rule(FdKind::NotATimer(Other::Eventfd), 3, Pointer::Valid, setting(0, 0)),
        Rule::NotATimer
    );
    assert_eq!(rule(MONOTONIC, 3, Pointer::Valid, setting(0, 5)), Rule::Disarmed);
    assert_eq!(rule(MONOTONIC, 3, Pointer::Valid, setting(5, 0)), Rule::Armed);
}

#[test]
fn disarming_keeps_the_interval_and_leaves_nothing() {
    let mut script = Script::on(MONOTONIC);
    script.set(0, 0, 7);
    let old = script.set(0, 0, 0).old.unwrap();
    assert_eq!((old.interval, old.remaining), (time(7), Remaining::ZERO));
}

#[test]
fn a_relative_timer_has_left_what_time_has_not_passed() {
    for kind in [MONOTONIC, REALTIME, FdKind::Timer(Clock::Boottime)] {
        let mut script = Script::on(kind);
        script.set(0, 10 * SECOND, 0);
        script.now += 3 * SECOND;
        assert_eq!(script.left(), around(7 * SECOND));
    }
}

#[test]
fn a_relative_timer_never_has_more_left_than_it_was_armed_with() {
    let mut script = Script::on(MONOTONIC);
    script.set(0, 10 * SECOND, 0);
    assert_eq!(script.left().range.unwrap().high, 10 * SECOND);
}

#[test]
fn an_absolute_timer_runs_on_its_own_clock() {
    let mut script = Script::on(REALTIME);
    script.set(1, OFFSET + 110 * SECOND, 0);
    script.now += 3 * SECOND;
    assert_eq!(script.left(), around(7 * SECOND));
    let mut script = Script::on(MONOTONIC);
    script.set(1, 110 * SECOND, 0);
    script.now += 3 * SECOND;
    assert_eq!(script.left(), around(7 * SECOND));
}

#[test]
fn an_expired_timer_has_nothing_left_unless_it_is_periodic() {
    let mut script = Script::on(MONOTONIC);
    script.set(0, SECOND, 0);
    script.now += 3 * SECOND;
    assert_eq!(script.left(), Remaining::ZERO);
    script.set(0, SECOND, 10 * SECOND);
    script.now += 24 * SECOND;
    // 23 s over is 3 s into the third period; until the callback has run nothing is left.
    assert_eq!(script.left(), Remaining { zero: true, range: around(7 * SECOND).range });
}

#[test]
fn a_short_period_allows_all_of_it() {
    let mut script = Script::on(MONOTONIC);
    script.set(0, 1, 50);
    script.now += SECOND;
    assert_eq!(script.left(), Remaining { zero: true, range: Some(Bounds::new(1, 50)) });
}

#[test]
fn around_the_expiry_both_are_allowed() {
    let mut script = Script::on(MONOTONIC);
    script.set(0, SECOND, 0);
    script.now += SECOND - 10;
    let left = script.left();
    assert!(left.zero && left.allows(time(10)) && !left.allows(time(SLACK + 11)));
    script.set(0, SECOND, 5 * SECOND);
    script.now += SECOND - 10;
    let left = script.left();
    assert!(
        left.zero
            && left.allows(time(10))
            && left.allows(time(5 * SECOND))
            && !left.allows(time(5 * SECOND + 1))
    );
}

#[test]
fn what_is_left_is_bounded_by_both_calls_spans() {
    let mut model = Model::new(TIMELINE);
    model.follow(0, &[Step::Open { slot: 0, kind: MONOTONIC }]);
    let call = |value| Call {
        slot: 0,
        flags: 0,
        utmr: Pointer::Valid,
        otmr: Pointer::Valid,
        new: setting(value, 0),
        meanwhile: None,
        entry: Entry::Int80,
    };
    model.call(&call(SECOND), Bounds::new(1000, 3000));
    let left = model.call(&call(0), Bounds::new(100_000, 105_000)).old.unwrap().remaining;
    let range = Bounds::new(SECOND - (105_000 - 1000) - SLACK, SECOND - (100_000 - 3000) + SLACK);
    assert_eq!(left, Remaining { zero: false, range: Some(range) });
}

#[test]
fn setting_the_clock_cancels_once_and_arms_all_the_same() {
    let mut script = Script::on(REALTIME);
    let later = OFFSET + 500 * SECOND;
    script.set(3, later, 0);
    assert_eq!(script.set(3, later, 0).rule, Rule::Armed, "the clock was not set");
    script.step(Step::SetClock);
    assert_eq!(
        script.set(3, later, 9),
        Outcome { rule: Rule::Canceled, old: None, written: 0, shared: None }
    );
    let old = script.set(3, later, 0).old.unwrap();
    assert_eq!((old.interval, old.setting), (time(9), Setting::Periodic));
    assert_eq!(old.remaining, around(400 * SECOND));
}

#[test]
fn a_pending_cancellation_outlives_other_settings() {
    let mut script = Script::on(REALTIME);
    let later = OFFSET + 500 * SECOND;
    script.set(3, later, 0);
    script.step(Step::SetClock);
    assert_eq!(script.set(3, 0, 0).rule, Rule::Disarmed);
    assert_eq!(script.set(1, later, 0).rule, Rule::Armed);
    assert_eq!(script.set(0, 5, 0).rule, Rule::Armed);
    assert_eq!(script.set(3, later, 0).rule, Rule::Canceled);
    assert_eq!(script.set(3, later, 0).rule, Rule::Armed);
}

#[test]
fn only_timers_on_the_list_are_canceled() {
    for (kind, flags) in [
        (REALTIME, 1),
        (REALTIME, 2),
        (REALTIME, 0),
        (MONOTONIC, 3),
        (FdKind::Timer(Clock::Boottime), 3),
    ] {
        let mut script = Script::on(kind);
        script.set(flags, 5, 0);
        script.step(Step::SetClock);
        assert_eq!(script.set(3, 5, 0).rule, Rule::Armed, "{kind:?} with flags {flags}");
    }
    // Disarming with both flags puts it on the list, too.
    let mut script = Script::on(REALTIME);
    script.set(3, 0, 0);
    script.step(Step::SetClock);
    assert_eq!(script.set(3, 5, 0).rule, Rule::Canceled);
}

#[test]
fn a_failed_call_changes_nothing() {
    let mut script = Script::on(REALTIME);
    script.set(3, OFFSET + 500 * SECOND, 4);
    script.raw(0, 0, Pointer::Null, setting(1, 1));
    script.raw(0, 8, Pointer::Valid, setting(1, 1));
    script.raw(
        0,
        0,
        Pointer::Valid,
        OldItimerspec32 {
            it_interval: time(0),
            it_value: OldTimespec32 { tv_sec: 0, tv_nsec: -1 },
        },
    );
    script.step(Step::SetClock);
    assert_eq!(script.set(3, OFFSET + 500 * SECOND, 4).rule, Rule::Canceled);
}

#[test]
fn copies_share_a_timer_and_a_new_one_does_not() {
    let mut script = Script::on(MONOTONIC);
    script.step(Step::Open { slot: 1, kind: FdKind::Dup(0) });
    script.step(Step::Open { slot: 2, kind: FdKind::Passed(1) });
    script.set(0, 0, 77);
    assert_eq!(script.raw(2, 0, Pointer::Valid, setting(0, 78)).old.unwrap().interval, time(77));
    script.step(Step::Open { slot: 0, kind: MONOTONIC });
    assert_eq!(script.set(0, 0, 0).old.unwrap().interval, time(0));
    assert_eq!(script.raw(1, 0, Pointer::Valid, setting(0, 0)).old.unwrap().interval, time(78));
}

#[test]
fn a_child_shares_timers_but_not_the_table() {
    let mut script = Script::on(MONOTONIC);
    script.step(Step::Open { slot: 1, kind: FdKind::Dup(0) });
    script.step(Step::Fork { steps: 3, ending: Ending::Exit });
    script.set(0, 0, 5);
    script.step(Step::Open { slot: 0, kind: FdKind::Closed });
    assert_eq!(script.set(0, 0, 0).rule, Rule::NotOpen);
    assert_eq!(script.set(0, 0, 0).old.unwrap().interval, time(5));
}

/// What the calls of many plans, made 20 µs apart, come to.
#[test]
fn generated_plans_reach_every_rule_and_every_old_setting() {
    let mut rules = BTreeSet::new();
    let mut olds = BTreeSet::new();
    let (mut zero_calls, mut calls) = (0, 0);
    for index in 0..8 {
        let plan = generate::plan(11, index, 5000);
        let span = |call: usize| {
            Bounds::new(20_000 * (call as i64 + 1), 20_000 * (call as i64 + 1) + 4000)
        };
        for outcome in outcomes(&plan, TIMELINE, span) {
            rules.insert(outcome.rule);
            calls += 1;
            zero_calls += i32::from(outcome.rule.ret() == 0);
            olds.extend(outcome.old.map(|old| kind_of(&old)));
        }
    }
    use Rule::*;
    let all = [
        NoNewSetting,
        UnknownFlags,
        InvalidInterval,
        InvalidValue,
        NotOpen,
        PathOnly,
        NotATimer,
        Canceled,
        Armed,
        Disarmed,
    ];
    assert_eq!(rules, BTreeSet::from(all));
    let expected = [
        "one-shot expired",
        "one-shot running",
        "periodic expired",
        "periodic running",
        "stopped",
        "stopped with an interval",
    ];
    assert!(expected.iter().all(|kind| olds.contains(kind)), "only {olds:?}");
    assert!(zero_calls * 100 / calls >= 55, "{zero_calls} of {calls} calls succeed");
    assert!(zero_calls * 100 / calls <= 75, "{zero_calls} of {calls} calls succeed");
}

fn kind_of(old: &Old) -> &'static str {
    let expired = old.remaining.zero;
    match (old.setting, expired) {
        (Setting::Stopped, _) if old.interval.as_nanos() != 0 => "stopped with an interval",
        (Setting::Stopped, _) => "stopped",
        (Setting::OneShot, true) => "one-shot expired",
        (Setting::OneShot, false) => "one-shot running",
        (Setting::Periodic, true) => "periodic expired",
        (Setting::Periodic, false) => "periodic running",
    }
}

/// Every kind of descriptor and step, every bit of the flags, every combination of pointers.
#[test]
fn generated_plans_reach_every_kind_of_step() {
    let plans: Vec<Plan> = (0..8).map(|index| generate::plan(12, index, 5000)).collect();
    let steps: Vec<&Step> = plans.iter().flat_map(|plan| &plan.steps).collect();
    let any = |wanted: &dyn Fn(&Step) -> bool| steps.iter().any(|step| wanted(step));
    assert!(
        any(&|step| matches!(step, Step::SetClock))
            && any(&|step| matches!(step, Step::Wait { .. }))
    );
    assert!(
        any(&|step| matches!(step, Step::Fork { steps: 1, ending: Ending::Exit }))
            && any(&|step| matches!(step, Step::Fork { steps: 5.., ending: Ending::Exit }))
    );
    assert!(any(&|step| matches!(step, Step::Open { kind: FdKind::Passed(_), .. })));
    for bit in 0..32 {
        assert!(
            any(&|step| matches!(step, Step::Call(Call { flags, .. }) if *flags == 1 << bit)),
            "flag bit {bit} alone"
        );
    }
    for (utmr, otmr) in [
        (Pointer::Null, Pointer::Null),
        (Pointer::Null, Pointer::Valid),
        (Pointer::Valid, Pointer::Null),
    ] {
        assert!(
            any(&|step| matches!(step, Step::Call(call) if call.utmr == utmr && call.otmr == otmr)),
            "{utmr:?} {otmr:?}"
        );
    }
    for edge in [0, 1, -1, 999_999_999, 1_000_000_000, i32::MIN, i32::MAX] {
        assert!(
            any(&|step| matches!(step, Step::Call(call) if call.new.it_value.tv_nsec == edge)),
            "nanoseconds {edge}"
        );
        assert!(
            any(&|step| matches!(step, Step::Call(call) if call.new.it_interval.tv_nsec == edge)),
            "nanoseconds {edge}"
        );
    }
    for slot in 0..settime32_abi::plan::SLOTS as u8 {
        assert!(
            any(&|step| matches!(step, Step::Call(call) if call.slot == slot)),
            "slot {slot} never called"
        );
    }
}
