//! Settings in words that a person can read: `+1.5 s every 20 ms`, `at 12.5 s`, `disarm`. Nothing
//! is rounded. The text is made by hand, since printing must keep up with the calls: crates that
//! make such words took longer for them than all the rest of a line takes.

use std::time::{Duration, UNIX_EPOCH};

use nix::libc::{CLOCK_REALTIME, CLOCK_REALTIME_ALARM, clockid_t};
use settime32_abi::output::Halves;
use settime32_abi::timespec::{Itimerspec64, NSEC_PER_SEC, OldTimespec32, Timespec64};

use crate::json::number;

/// Bit of the flags argument, of `include/linux/timerfd.h`: the value is a point in time of the
/// timer's clock.
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

impl Asks {
    /// The same of a call with 64-bit times.
    pub fn of_wide(setting: &Itimerspec64) -> Self {
        match (length(setting.it_value), length(setting.it_interval)) {
            (Some(value), Some(_)) if value.is_zero() => Self::Disarm,
            (Some(_), Some(_)) => Self::Arm,
            _ => Self::Invalid,
        }
    }

    /// What a call asks for by this setting.
    pub fn of(setting: Option<Halves>) -> Self {
        let Some(Halves { it_interval, it_value }) = setting else { return Self::Unknown };
        if [it_interval, it_value].into_iter().flatten().any(|half| !half.is_valid()) {
            return Self::Invalid;
        }
        match it_value {
            None => Self::Unknown,
            Some(value) if value == OldTimespec32::default() => Self::Disarm,
            Some(_) => Self::Arm,
        }
    }
}

/// Appends what a call asks for by this setting. The clock is the timer's, where that is known: the
/// call itself does not tell.
pub fn write_new(
    line: &mut Vec<u8>,
    setting: Option<Halves>,
    flags: i32,
    clock: Option<clockid_t>,
) {
    let (it_interval, value) = match (Asks::of(setting), setting) {
        (Asks::Arm, Some(Halves { it_interval, it_value: Some(value) })) => {
            (it_interval, length(value.into()))
        }
        (Asks::Disarm, _) => return line.extend_from_slice(b"disarm"),
        (Asks::Invalid, _) => return line.extend_from_slice(b"invalid"),
        (Asks::Unknown | Asks::Arm, _) => return line.push(b'?'),
    };
    let Some(value) = value else { return line.push(b'?') };
    if flags & ABSTIME == 0 {
        line.push(b'+');
        write_duration(line, value);
    } else {
        write_point(line, value, clock);
    }
    match it_interval {
        Some(interval) => write_every(line, interval.into()),
        None => line.extend_from_slice(b" every ?"),
    }
}

/// Appends what was left of a setting that the kernel replaced; nothing for numbers that no kernel
/// gives.
pub fn write_old(line: &mut Vec<u8>, setting: &Itimerspec64) {
    let (Some(value), Some(_)) = (length(setting.it_value), length(setting.it_interval)) else {
        return;
    };
    if value.is_zero() {
        return line.extend_from_slice(b"was disarmed");
    }
    write_duration(line, value);
    line.extend_from_slice(b" left");
    write_every(line, setting.it_interval);
}

/// The same of a call with 64-bit times; what is not known is nothing.
pub fn write_new_wide(
    line: &mut Vec<u8>,
    setting: &Itimerspec64,
    flags: i32,
    clock: Option<clockid_t>,
) {
    let (Some(value), Some(_)) = (length(setting.it_value), length(setting.it_interval)) else {
        return line.extend_from_slice(b"invalid");
    };
    if value.is_zero() {
        return line.extend_from_slice(b"disarm");
    }
    if flags & ABSTIME == 0 {
        line.push(b'+');
        write_duration(line, value);
    } else {
        write_point(line, value, clock);
    }
    write_every(line, setting.it_interval);
}

/// Appends a number of nanoseconds.
pub fn write_ns(line: &mut Vec<u8>, ns: u64) {
    write_duration(line, Duration::from_nanos(ns));
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

fn write_every(line: &mut Vec<u8>, interval: Timespec64) {
    if let Some(interval) = length(interval).filter(|interval| !interval.is_zero()) {
        line.extend_from_slice(b" every ");
        write_duration(line, interval);
    }
}

/// A point in time: a date on the clocks that have one, on others the seconds since the clock's
/// start.
fn write_point(line: &mut Vec<u8>, time: Duration, clock: Option<clockid_t>) {
    match clock {
        Some(CLOCK_REALTIME | CLOCK_REALTIME_ALARM) => {
            line.extend_from_slice(
                format!("at {}", humantime::format_rfc3339(UNIX_EPOCH + time)).as_bytes(),
            );
        }
        _ => {
            number(line, b"at ", time.as_secs());
            write_fraction(line, time.subsec_nanos(), 9);
            line.extend_from_slice(b" s");
        }
    }
}

/// A time of any length: one number with a fraction below a minute, days, hours and minutes above.
fn write_duration(line: &mut Vec<u8>, time: Duration) {
    match (time.as_secs(), time.subsec_nanos()) {
        (0, nanos @ ..1_000) => one_unit(line, nanos, 0, " ns"),
        (0, nanos @ ..1_000_000) => one_unit(line, nanos, 3, " µs"),
        (0, nanos) => one_unit(line, nanos, 6, " ms"),
        (seconds, nanos) => {
            let units = [
                (seconds / 86_400, " d "),
                (seconds / 3600 % 24, " h "),
                (seconds / 60 % 60, " min "),
            ];
            for (count, unit) in units.into_iter().filter(|(count, _)| *count > 0) {
                number(line, b"", count);
                line.extend_from_slice(unit.as_bytes());
            }
            if seconds % 60 > 0 || nanos > 0 {
                number(line, b"", seconds % 60);
                write_fraction(line, nanos, 9);
                line.extend_from_slice(b" s");
            } else {
                // The blank behind the last unit.
                line.pop();
            }
        }
    }
}

/// Nanoseconds in a unit that has ten to the power of `digits` of them.
fn one_unit(line: &mut Vec<u8>, nanos: u32, digits: u32, unit: &str) {
    let size = 10_u32.pow(digits);
    number(line, b"", nanos / size);
    write_fraction(line, nanos % size, digits);
    line.extend_from_slice(unit.as_bytes());
}

/// The digits behind the point, and the point, without zeros at the end.
fn write_fraction(line: &mut Vec<u8>, mut fraction: u32, mut digits: u32) {
    if fraction == 0 {
        return;
    }
    while fraction.is_multiple_of(10) {
        (fraction, digits) = (fraction / 10, digits - 1);
    }
    line.push(b'.');
    for place in (0..digits).rev() {
        line.push(b'0' + (fraction / 10_u32.pow(place) % 10) as u8);
    }
}

/// `None` where the kernel's own structures hold no such time.
fn length(time: Timespec64) -> Option<Duration> {
    let is_valid = time.tv_sec >= 0 && (0..NSEC_PER_SEC).contains(&time.tv_nsec);
    is_valid.then(|| Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32))
}

#[cfg(test)]
mod tests {
    use nix::libc::CLOCK_MONOTONIC;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const fn time(tv_sec: i32, tv_nsec: i32) -> OldTimespec32 {
        OldTimespec32 { tv_sec, tv_nsec }
    }

    /// What it asks for, and its words.
    fn of_new(setting: Option<Halves>, flags: i32, clock: Option<clockid_t>) -> (Asks, String) {
        let mut line = Vec::new();
        write_new(&mut line, setting, flags, clock);
        (Asks::of(setting), String::from_utf8(line).unwrap())
    }

    fn of_old(setting: &Itimerspec64) -> String {
        let mut line = Vec::new();
        write_old(&mut line, setting);
        String::from_utf8(line).unwrap()
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
    #[case(time(90, 250_000_000), "1 min 30.25 s")]
    #[case(time(60, 0), "1 min")]
    #[case(time(3600, 0), "1 h")]
    #[case(time(86_400, 100), "1 d 0.0000001 s")]
    #[case(time(i32::MAX, 999_999_999), "24855 d 3 h 14 min 7.999999999 s")]
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
                assert_eq!(
                    of_new(new(ZERO, invalid), flags, None),
                    (Asks::Invalid, "invalid".into())
                );
                assert_eq!(
                    of_new(new(invalid, ZERO), flags, None).0,
                    Asks::Invalid,
                    "the kernel looks at both"
                );
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
        assert_eq!(of_old(&old(3, 0)), "3.854775807 s left");
        assert_eq!(
            of_old(&old(9_223_372_036, 2)),
            "106751 d 23 h 47 min 16.854775807 s left every 2 s",
            "KTIME_MAX"
        );
        assert_eq!(of_old(&Itimerspec64::default()), "was disarmed");
        assert_eq!(of_old(&old(-1, 0)), "");
    }

    proptest! {
        /// The words are read again by a crate that knows such words.
        #[test]
        fn nothing_is_rounded(seconds in prop_oneof![0..100_i32, any::<i32>().prop_map(|any| any & i32::MAX)], nanos in 0..1_000_000_000_i32) {
            prop_assume!((seconds, nanos) != (0, 0));
            let (_, words) = of_new(new(ZERO, time(seconds, nanos)), 0, None);
            let read = |word: &str| {
                let (whole, fraction) = word.split_once('.').unwrap_or((word, ""));
                format!("{whole}{fraction}").parse::<u64>().unwrap() * 10_u64.pow(9 - fraction.len() as u32)
            };
            let parts: Vec<_> = words[1..].split(' ').collect();
            let billions = parts.chunks(2).map(|part| humantime::parse_duration(&format!("{}{}", read(part[0]), part[1])).unwrap());
            prop_assert_eq!(billions.sum::<Duration>(), Duration::new(seconds as u64, nanos as u32) * 1_000_000_000, "{}", words);
        }

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
