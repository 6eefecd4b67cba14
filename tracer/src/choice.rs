//! Which of the calls that the kernel side reports are printed. Everything here is told by the
//! call's own values; by process and name the kernel side chooses.

use std::time::Duration;

use settime32_abi::event::{RawEvent, flag};
use settime32_abi::output::Abi;
use settime32_abi::timespec::{NSEC_PER_SEC, OldTimespec32, Timespec64};

use crate::call_event::{has, utmr_used};
use crate::lifecycle::Event;
use crate::words::ABSTIME;

/// What must be true of a call for it to be printed; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// The descriptor is one of these; empty lets every one through.
    pub fds: Vec<i32>,
    /// What kind of process called.
    pub abi: Option<Abi>,
    /// It returned an error.
    pub failed: bool,
    /// It arms the timer for more than this.
    pub armed_longer: Option<Duration>,
    /// It arms the timer for less than this.
    pub armed_shorter: Option<Duration>,
}

impl Choice {
    /// Whether all of it is true.
    pub fn takes(&self, raw: &RawEvent) -> bool {
        let Self { fds, abi: wanted, failed, armed_longer, armed_shorter } = self;
        (fds.is_empty() || fds.contains(&raw.ufd))
            && wanted.is_none_or(|wanted| wanted == abi(raw))
            && (!failed || has_failed(raw))
            && armed_longer.is_none_or(|limit| armed_for(raw).is_some_and(|time| time > limit))
            && armed_shorter.is_none_or(|limit| armed_for(raw).is_some_and(|time| time < limit))
    }
}

impl Choice {
    /// The same for another event. What becomes of a timer has no descriptor, kind of process, or
    /// result, and is let through unless one of these is asked for; a read that was cancelled has
    /// failed.
    pub fn takes_of_life(&self, event: &Event) -> bool {
        let is_any = self == &Self::default();
        match event {
            _ if is_any => true,
            Event::Call(call, _) => {
                let armed = if call.flags.unwrap_or(0) & ABSTIME == 0 {
                    call.utmr_used.and_then(|used| length(used.it_value))
                } else {
                    None
                };
                (self.fds.is_empty() || call.ufd.is_some_and(|ufd| self.fds.contains(&ufd)))
                    && self.abi.is_none_or(|wanted| wanted == call.abi)
                    && (!self.failed || call.errno.is_some())
                    && self.armed_longer.is_none_or(|limit| armed.is_some_and(|time| time > limit))
                    && self.armed_shorter.is_none_or(|limit| armed.is_some_and(|time| time < limit))
            }
            Event::Wakeup(wakeup) => {
                Self { failed: false, ..self.clone() } == Self::default() && wakeup.errno.is_some()
            }
            _ => false,
        }
    }
}

/// A time that arms; `None` for zero, and for what the kernel refuses.
fn length(value: Timespec64) -> Option<Duration> {
    let nsec = u32::try_from(value.tv_nsec).ok().filter(|nsec| i64::from(*nsec) < NSEC_PER_SEC)?;
    let length = Duration::new(u64::try_from(value.tv_sec).ok()?, nsec);
    (!length.is_zero()).then_some(length)
}

fn abi(raw: &RawEvent) -> Abi {
    if has(raw, flag::CALLER_64BIT) { Abi::X86_64 } else { Abi::I386 }
}

/// A result that was not seen is no failure.
fn has_failed(raw: &RawEvent) -> bool {
    has(raw, flag::RETURNED) && raw.ret < 0
}

/// How long from the call until the first expiry that it asks for, in the numbers that the kernel
/// itself copied. There is no such time when the value is a point in time, when it disarms, and
/// when it is invalid.
fn armed_for(raw: &RawEvent) -> Option<Duration> {
    let value = utmr_used(raw)?.it_value;
    let is_time =
        raw.settime_flags & ABSTIME == 0 && value != OldTimespec32::default() && value.is_valid();
    is_time.then(|| Duration::new(value.tv_sec.unsigned_abs().into(), value.tv_nsec.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::call_event::examples;

    /// Arms for 1.5 s.
    fn call() -> RawEvent {
        let mut raw = RawEvent { settime_flags: 0, ..examples::success() };
        raw.utmr_used.it_value = OldTimespec32 { tv_sec: 1, tv_nsec: 500_000_000 };
        raw
    }

    fn arming(tv_sec: i32, tv_nsec: i32) -> RawEvent {
        let mut raw = call();
        raw.utmr_used.it_value = OldTimespec32 { tv_sec, tv_nsec };
        raw
    }

    const ANY: Choice = Choice {
        fds: Vec::new(),
        abi: None,
        failed: false,
        armed_longer: None,
        armed_shorter: None,
    };

    fn longer(time: Duration) -> Choice {
        Choice { armed_longer: Some(time), ..ANY }
    }

    fn shorter(time: Duration) -> Choice {
        Choice { armed_shorter: Some(time), ..ANY }
    }

    #[test]
    fn nothing_asked_for_lets_everything_through() {
        assert_eq!(Choice::default(), ANY);
        for raw in [call(), arming(-1, 0), RawEvent { flags: 0, ..call() }] {
            assert!(ANY.takes(&raw));
        }
    }

    #[test]
    fn one_of_several_descriptors_is_enough() {
        let choice = Choice { fds: vec![-1, 3], ..ANY };
        assert!(choice.takes(&call()) && choice.takes(&RawEvent { ufd: -1, ..call() }));
        assert!(!choice.takes(&RawEvent { ufd: 4, ..call() }));
    }

    #[test]
    fn the_kind_of_process_is_told_by_the_event() {
        let (narrow, wide) =
            (call(), RawEvent { flags: call().flags | flag::CALLER_64BIT, ..call() });
        let takes = |abi, raw| Choice { abi: Some(abi), ..ANY }.takes(raw);
        assert!(takes(Abi::I386, &narrow) && takes(Abi::X86_64, &wide));
        assert!(!takes(Abi::X86_64, &narrow) && !takes(Abi::I386, &wide));
    }

    #[test]
    fn a_failure_is_an_error_that_was_seen() {
        let choice = Choice { failed: true, ..ANY };
        let failed = RawEvent { ret: -22, ..call() };
        assert!(choice.takes(&failed) && !choice.takes(&call()));
        assert!(
            !choice.takes(&RawEvent { flags: failed.flags & !flag::RETURNED, ..failed }),
            "the result was not seen"
        );
    }

    #[test]
    fn limits_of_a_time_are_not_within() {
        let time = Duration::from_millis(1500);
        let ns = Duration::from_nanos(1);
        assert!(longer(time - ns).takes(&call()) && !longer(time).takes(&call()));
        assert!(shorter(time + ns).takes(&call()) && !shorter(time).takes(&call()));
        assert!(shorter(Duration::MAX).takes(&arming(i32::MAX, 999_999_999)));
    }

    #[rstest]
    #[case::disarms(arming(0, 0))]
    #[case::negative(arming(-5, 0))]
    #[case::too_many_nanoseconds(arming(5, 1_000_000_000))]
    #[case::point_in_time(RawEvent { settime_flags: 3, ..call() })]
    #[case::not_copied(RawEvent { flags: call().flags & !flag::USED, ..call() })]
    fn what_arms_for_no_time_is_neither_longer_nor_shorter(#[case] raw: RawEvent) {
        assert!(!longer(Duration::ZERO).takes(&raw) && !shorter(Duration::MAX).takes(&raw));
    }

    #[test]
    fn a_time_that_the_kernel_copied_counts_though_the_call_failed() {
        assert!(longer(Duration::from_secs(1)).takes(&RawEvent { ret: -9, ..call() }));
    }

    #[test]
    fn everything_that_is_asked_for_must_be_true() {
        let choice = Choice {
            fds: vec![3],
            failed: true,
            armed_longer: Some(Duration::from_secs(1)),
            ..ANY
        };
        let raw = RawEvent { ret: -9, ..call() };
        assert!(choice.takes(&raw));
        for other in [
            RawEvent { ufd: 4, ..raw },
            RawEvent { ret: 0, ..raw },
            RawEvent { ret: -9, ..arming(1, 0) },
        ] {
            assert!(!choice.takes(&other));
        }
    }
}
