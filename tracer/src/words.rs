//! Settings in words that a person can read: `+1.5 s every 20 ms`, `at 12.5 s`, `disarm`. Nothing is rounded.

use jiff::fmt::friendly::{Designator, FractionalUnit, Spacing, SpanPrinter};
use jiff::{SignedDuration, Span, SpanRound, Timestamp, Unit};
use nix::libc::{CLOCK_REALTIME, CLOCK_REALTIME_ALARM, clockid_t};
use settime32_abi::output::Halves;
use settime32_abi::timespec::{Itimerspec64, NSEC_PER_SEC, Timespec64};

/// Bit of the flags argument, of `include/linux/timerfd.h`: the value is a point in time of the timer's clock.
pub const ABSTIME: i32 = 1;

/// What a call asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A timer that expires.
    Arm,
    /// A timer that is stopped.
    Disarm,
    /// Numbers that the kernel refuses, whatever else there is.
    Invalid,
    /// Something, but the memory could not be read.
    Unknown,
}

/// What a call asks for by this setting, and its words. The clock is the timer's, where that is known: the call itself
/// does not tell.
pub fn of_new(setting: Option<Halves>, flags: i32, clock: Option<clockid_t>) -> (Asks, String) {
    let unknown = || (Asks::Unknown, "?".to_owned());
    let Some(Halves { it_interval, it_value }) = setting else { return unknown() };
    if [it_interval, it_value].into_iter().flatten().any(|half| !half.is_valid()) {
        return (Asks::Invalid, "invalid".to_owned());
    }
    let Some(value) = it_value.map(Timespec64::from) else { return unknown() };
    if value == Timespec64::default() {
        return (Asks::Disarm, "disarm".to_owned());
    }
    let first = if flags & ABSTIME == 0 { duration(value).map(|words| format!("+{words}")) } else { point(value, clock) };
    let every = it_interval.map_or(Some(" every ?".to_owned()), |interval| every(interval.into()));
    match (first, every) {
        (Some(first), Some(every)) => (Asks::Arm, first + &every),
        _ => unknown(),
    }
}

/// What was left of a setting that the kernel replaced; `None` for numbers that no kernel gives.
pub fn of_old(setting: &Itimerspec64) -> Option<String> {
    if setting.it_value == Timespec64::default() {
        return Some("was disarmed".to_owned());
    }
    Some(format!("{} left{}", duration(setting.it_value)?, every(setting.it_interval)?))
}

/// A length to three digits, for tables.
pub fn rounded_ns(ns: u64) -> String {
    let (unit, name) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (1e3, "µs"),
        1_000_000..1_000_000_000 => (1e6, "ms"),
        _ => (1e9, "s"),
    };
    let value = ns as f64 / unit;
    let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.decimals$} {name}")
}

/// A length of nanoseconds, with its sign when it is below zero.
pub fn of_ns(ns: i64) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let ns = ns.unsigned_abs();
    let time = Timespec64 { tv_sec: (ns / 1_000_000_000).cast_signed(), tv_nsec: (ns % 1_000_000_000).cast_signed() };
    format!("{sign}{}", duration(time).unwrap_or_else(|| format!("{ns} ns")))
}

/// What a call with 64-bit times asks for.
pub fn of_wide(setting: Option<Itimerspec64>, flags: i32, clock: Option<clockid_t>) -> (Asks, String) {
    let Some(Itimerspec64 { it_interval, it_value }) = setting else { return (Asks::Unknown, "?".to_owned()) };
    if it_value == Timespec64::default() {
        return (Asks::Disarm, "disarm".to_owned());
    }
    let first = if flags & ABSTIME == 0 { duration(it_value).map(|words| format!("+{words}")) } else { point(it_value, clock) };
    match (first, every(it_interval)) {
        (Some(first), Some(every)) => (Asks::Arm, first + &every),
        _ => (Asks::Invalid, "invalid".to_owned()),
    }
}

fn every(interval: Timespec64) -> Option<String> {
    if interval == Timespec64::default() { Some(String::new()) } else { Some(format!(" every {}", duration(interval)?)) }
}

/// A point in time: a date on the clocks that have one, on others the time since the clock's start.
fn point(time: Timespec64, clock: Option<clockid_t>) -> Option<String> {
    match clock {
        Some(CLOCK_REALTIME | CLOCK_REALTIME_ALARM) => {
            let date = Timestamp::new(time.tv_sec, i32::try_from(time.tv_nsec).ok()?).ok()?;
            Some(format!("at {date}"))
        }
        _ => Some(format!("at {}", seconds(time)?)),
    }
}

const PRINTER: SpanPrinter = SpanPrinter::new().designator(Designator::Compact).spacing(Spacing::BetweenUnitsAndDesignators);

/// Seconds alone, as programs have them.
fn seconds(time: Timespec64) -> Option<String> {
    let length = nonnegative(time)?;
    let span = Span::new().try_seconds(length.as_secs()).ok()?.try_nanoseconds(i64::from(length.subsec_nanos())).ok()?;
    Some(PRINTER.fractional(Some(FractionalUnit::Second)).span_to_string(&span))
}

/// A time of any length: one number with a fraction below a minute, days, hours and minutes above.
fn duration(time: Timespec64) -> Option<String> {
    let length = nonnegative(time)?;
    let (largest, fraction) = if length >= SignedDuration::from_secs(1) {
        (Unit::Day, Some(FractionalUnit::Second))
    } else if length >= SignedDuration::from_millis(1) {
        (Unit::Millisecond, Some(FractionalUnit::Millisecond))
    } else if length >= SignedDuration::from_micros(1) {
        (Unit::Microsecond, Some(FractionalUnit::Microsecond))
    } else {
        (Unit::Nanosecond, None)
    };
    let span = Span::try_from(length).ok()?.round(SpanRound::new().largest(largest).days_are_24_hours()).ok()?;
    Some(PRINTER.fractional(fraction).span_to_string(&span))
}

/// `None` where the kernel's own structures hold no such time.
fn nonnegative(time: Timespec64) -> Option<SignedDuration> {
    let is_valid = time.tv_sec >= 0 && (0..NSEC_PER_SEC).contains(&time.tv_nsec);
    is_valid.then(|| SignedDuration::new(time.tv_sec, time.tv_nsec as i32))
}

#[cfg(test)]
mod tests {
    use nix::libc::CLOCK_MONOTONIC;
    use proptest::prelude::*;
    use rstest::rstest;
    use settime32_abi::timespec::OldTimespec32;

    use super::*;

    const fn time(tv_sec: i32, tv_nsec: i32) -> OldTimespec32 {
        OldTimespec32 { tv_sec, tv_nsec }
    }

    const ZERO: OldTimespec32 = time(0, 0);

    fn new(it_interval: OldTimespec32, it_value: OldTimespec32) -> Option<Halves> {
        Some(Halves { it_interval: Some(it_interval), it_value: Some(it_value) })
    }

    #[rstest]
    #[case(time(1, 500_000_000), "1.5 s")]
    #[case(time(0, 20_000_000), "20 ms")]
    #[case(time(0, 20_000_001), "20.000001 ms")]
    #[case(time(0, 999_999_999), "999.999999 ms")]
    #[case(time(0, 1500), "1.5 µs")]
    #[case(time(0, 1), "1 ns")]
    #[case(time(1, 1), "1.000000001 s")]
    #[case(time(59, 0), "59 s")]
    #[case(time(90, 250_000_000), "1 m 30.25 s")]
    #[case(time(3600, 0), "1 h")]
    #[case(time(i32::MAX, 999_999_999), "24855 d 3 h 14 m 7.999999999 s")]
    fn a_duration_is_in_the_units_that_suit_it(#[case] value: OldTimespec32, #[case] words: &str) {
        assert_eq!(of_new(new(ZERO, value), 0, None), (Asks::Arm, format!("+{words}")));
        assert_eq!(of_new(new(value, time(2, 0)), 0, None).1, format!("+2 s every {words}"));
    }

    #[test]
    fn a_point_in_time_is_a_date_only_on_a_clock_that_has_dates() {
        let at = |value, clock| of_new(new(ZERO, value), ABSTIME, clock).1;
        assert_eq!(at(time(12, 500_000_000), None), "at 12.5 s");
        assert_eq!(at(time(i32::MAX, 0), None), "at 2147483647 s");
        assert_eq!(at(time(i32::MAX, 0), Some(CLOCK_MONOTONIC)), "at 2147483647 s");
        assert_eq!(at(time(i32::MAX, 0), Some(CLOCK_REALTIME)), "at 2038-01-19T03:14:07Z");
        assert_eq!(at(time(0, 1), Some(CLOCK_REALTIME_ALARM)), "at 1970-01-01T00:00:00.000000001Z");
        assert_eq!(of_new(new(time(1, 0), time(12, 0)), ABSTIME | 2, None).1, "at 12 s every 1 s");
    }

    #[test]
    fn zero_disarms_and_what_is_no_time_is_told() {
        for flags in [0, ABSTIME] {
            assert_eq!(of_new(new(ZERO, ZERO), flags, None), (Asks::Disarm, "disarm".into()));
            assert_eq!(of_new(new(time(5, 0), ZERO), flags, None), (Asks::Disarm, "disarm".into()));
            for invalid in [time(-1, 0), time(0, -1), time(0, 1_000_000_000)] {
                assert_eq!(of_new(new(ZERO, invalid), flags, None), (Asks::Invalid, "invalid".into()));
                assert_eq!(of_new(new(invalid, ZERO), flags, None).0, Asks::Invalid, "the kernel looks at both");
            }
        }
    }

    #[test]
    fn what_could_not_be_read_is_not_guessed() {
        let half = |it_interval, it_value| of_new(Some(Halves { it_interval, it_value }), 0, None);
        assert_eq!(of_new(None, 0, None), (Asks::Unknown, "?".into()));
        assert_eq!(half(Some(ZERO), None), (Asks::Unknown, "?".into()));
        assert_eq!(half(None, Some(time(3, 0))), (Asks::Arm, "+3 s every ?".into()));
        assert_eq!(half(None, Some(time(-3, 0))).0, Asks::Invalid);
    }

    #[test]
    fn what_was_left_is_said_of_numbers_that_need_64_bits_too() {
        let old = |value: i64, interval| Itimerspec64 {
            it_interval: Timespec64 { tv_sec: interval, tv_nsec: 0 },
            it_value: Timespec64 { tv_sec: value, tv_nsec: 854_775_807 },
        };
        assert_eq!(of_old(&old(3, 0)).unwrap(), "3.854775807 s left");
        assert_eq!(of_old(&old(9_223_372_036, 2)).unwrap(), "106751 d 23 h 47 m 16.854775807 s left every 2 s", "KTIME_MAX");
        assert_eq!(of_old(&Itimerspec64::default()).unwrap(), "was disarmed");
        assert_eq!(of_old(&old(-1, 0)), None);
    }

    proptest! {
        /// Any bytes of a process's memory may be there.
        #[test]
        fn no_number_is_too_odd(numbers in any::<[i32; 4]>(), flags in any::<i32>(), wide in any::<[i64; 4]>(), clock in prop::option::of(0..10)) {
            let setting: settime32_abi::timespec::OldItimerspec32 = bytemuck::cast(numbers);
            let (asks, words) = of_new(Some(setting.into()), flags, clock);
            prop_assert_eq!(asks == Asks::Invalid, !setting.is_valid());
            prop_assert!(!words.is_empty() && asks != Asks::Unknown);
            of_old(&bytemuck::cast(wide));
        }
    }
}
