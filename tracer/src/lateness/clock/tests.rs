use super::*;

const SECOND: i64 = 1_000_000_000;
/// What CLOCK_REALTIME is ahead by before anything happens.
const AHEAD: i64 = 1_000_000 * SECOND;

fn at(seconds: i64, offset_ns: i64, slept: i64) -> Reading {
    let [ns, suspended_ns] = [seconds, slept].map(|seconds| (seconds * SECOND).unsigned_abs());
    Reading { ns, offset_ns, suspended_ns }
}

fn settings(told: &[i64]) -> Settings {
    let mut settings = Settings::default();
    told.iter().for_each(|seconds| settings.add((seconds * SECOND).unsigned_abs() + 300));
    settings
}

/// Armed at 10 s for 600 s later.
const DUE: i64 = AHEAD + 610 * SECOND;

#[test]
fn set_forward_past_its_time_a_timer_comes_of_that() {
    let step = 86_400 * SECOND;
    let fired = at(11, AHEAD + step, 0);
    let before = Some(at(10, AHEAD, 0));
    assert_eq!(settings(&[11]).cause(DUE, fired, before, None), Some(Cause::Set(step)));
    let mut none = Settings::default();
    assert_eq!(
        none.cause(DUE, fired, before, None),
        Some(Cause::Set(step)),
        "it could not have been due later, whenever that was"
    );
    let small = 600 * SECOND - SECOND / 2;
    let soon = at(11, AHEAD + small, 0);
    assert_eq!(
        none.cause(DUE, soon, before, Some(soon.ns + 5)),
        None,
        "the setting is told after the firing"
    );
    none.add(soon.ns + 7);
    assert_eq!(none.cause(DUE, soon, before, Some(soon.ns + 7)), Some(Cause::Set(small)));
    assert_eq!(
        Settings::default().cause(DUE, soon, before, None),
        Some(Cause::Unknown),
        "the setting was lost"
    );
}

#[test]
fn set_otherwise_it_is_as_late_as_its_clock_says() {
    let settings = settings(&[20]);
    for step in [100 * SECOND, -100 * SECOND] {
        let fired =
            Reading { ns: (DUE - AHEAD - step).unsigned_abs() + 70, ..at(0, AHEAD + step, 0) };
        let later = Some(fired.ns + FEW_UNTIL_TOLD_NS + 1);
        assert_eq!(
            settings.cause(DUE, fired, Some(at(10, AHEAD, 0)), later),
            Some(Cause::None),
            "{step}"
        );
    }
    assert_eq!(
        settings.cause(DUE, at(611, AHEAD, 0), Some(at(10, AHEAD, 0)), Some(0)),
        Some(Cause::None),
        "there and back"
    );
}

#[test]
fn the_last_of_several_settings_counts() {
    let before = Some(at(10, AHEAD, 0));
    let both = settings(&[20, 100]);
    let step = 100 * SECOND + 420 * SECOND;
    assert_eq!(
        both.cause(DUE, at(100, AHEAD + step, 0), before, None),
        Some(Cause::Set(step)),
        "due at 90 s by what it is then"
    );
    let fired = at(490, AHEAD + 120 * SECOND, 0);
    assert_eq!(
        both.cause(DUE, fired, before, None),
        Some(Cause::None),
        "due long after the second"
    );
    let again = settings(&[20, 490]);
    assert_eq!(
        again.cause(DUE, at(490, AHEAD + 121 * SECOND, 0), before, None),
        Some(Cause::Set(121 * SECOND))
    );
}

/// A period goes on from what the clock was at the expiry before.
#[test]
fn a_later_expiry_of_a_period_did_not_come_of_an_earlier_setting() {
    let offset = AHEAD + 86_400 * SECOND;
    let next = offset + 12 * SECOND;
    assert_eq!(
        settings(&[11]).cause(next, at(12, offset, 0), Some(at(11, offset, 0)), Some(0)),
        Some(Cause::None)
    );
}

#[test]
fn what_comes_due_while_the_machine_sleeps_is_slept_through() {
    let slept = 300 * SECOND;
    let settings = settings(&[50]);
    let cause = |due_ns, fired, before| settings.cause(due_ns, fired, Some(before), None);
    let woken = Reading { ns: 50 * SECOND.unsigned_abs() + 100, ..at(50, slept, 300) };
    assert_eq!(
        cause(100 * SECOND, woken, at(40, 0, 0)),
        Some(Cause::Slept(slept.unsigned_abs())),
        "CLOCK_BOOTTIME"
    );
    assert_eq!(
        cause(360 * SECOND, at(60, slept, 300), at(40, 0, 0)),
        Some(Cause::None),
        "due after it woke"
    );
    let real = Reading { offset_ns: AHEAD + slept, ..woken };
    assert_eq!(
        cause(AHEAD + 100 * SECOND, real, at(40, AHEAD, 0)),
        Some(Cause::Slept(slept.unsigned_abs())),
        "CLOCK_REALTIME"
    );
    let both = Reading { offset_ns: AHEAD + slept + 9 * SECOND, ..woken };
    assert_eq!(
        cause(AHEAD + 100 * SECOND, both, at(40, AHEAD, 0)),
        Some(Cause::Slept(slept.unsigned_abs())),
        "set as well"
    );
    assert_eq!(
        cause(AHEAD + 355 * SECOND, both, at(40, AHEAD, 0)),
        Some(Cause::Set(9 * SECOND)),
        "due 5 s later but for that"
    );
    let monotonic = Reading { offset_ns: 0, ..woken };
    assert_eq!(
        cause(50 * SECOND, monotonic, at(40, 0, 0)),
        Some(Cause::None),
        "CLOCK_MONOTONIC stands still meanwhile"
    );
}

#[test]
fn one_whose_arming_was_not_seen_is_in_doubt_only_where_a_clock_was_set() {
    let settings = settings(&[20]);
    let cause = |due_ns, fired| settings.cause(due_ns, fired, None, None);
    assert_eq!(cause(AHEAD + 5 * SECOND, at(21, AHEAD, 0)), Some(Cause::Unknown));
    assert_eq!(cause(AHEAD + 30 * SECOND, at(30, AHEAD, 0)), Some(Cause::None));
    assert_eq!(
        cause(AHEAD + 19 * SECOND, at(20, AHEAD, 0)),
        Some(Cause::Unknown),
        "it is being set"
    );
    assert_eq!(cause(5 * SECOND, at(21, 0, 0)), Some(Cause::None), "CLOCK_MONOTONIC is never set");
    let fired = at(10, AHEAD, 0);
    assert_eq!(
        settings.cause(AHEAD + 9 * SECOND, fired, None, Some(fired.ns)),
        None,
        "it may be told of yet"
    );
}

/// The clock is set back between the kernel's look at it and the handler's.
#[test]
fn set_back_as_it_fires_it_is_not_early() {
    let fired = at(20, AHEAD - 50 * SECOND, 0);
    assert_eq!(
        settings(&[20]).cause(AHEAD + 20 * SECOND, fired, Some(at(10, AHEAD, 0)), None),
        Some(Cause::Set(-50 * SECOND))
    );
}

#[test]
fn so_many_settings_are_kept_in_mind() {
    let mut settings = Settings::default();
    (0..1000).for_each(|ns| settings.add(ns));
    assert_eq!((settings.told_ns.len(), settings.told_ns.back()), (MOST_SETTINGS, Some(&999)));
}
