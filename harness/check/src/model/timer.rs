//! One timer, after `struct timerfd_ctx` in `fs/timerfd.c`, and the bounds on the time that it has
//! left.
//!
//! The instants at which the kernel reads a clock are not known, only the readings around the call;
//! so every instant is a [`Bounds`], and a remaining time is what those allow.

use settime32_abi::plan::Clock;
use settime32_abi::timespec::{NSEC_PER_SEC, OldItimerspec32, OldTimespec32};

use super::{Old, Rule, TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET};

/// `bpf_ktime_get_ns` reads the clock without taking part in its updates, so it may be off by what
/// the last tick's correction changed, nanoseconds; this is far more, and far less than a call
/// takes.
pub(super) const SLACK_NS: i64 = 1_000;

/// An interval of time values, nanoseconds, both ends in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The least.
    pub low: i64,
    /// The most.
    pub high: i64,
}

impl Bounds {
    /// From `low` to `high`.
    pub const fn new(low: i64, high: i64) -> Self {
        Self { low, high }
    }

    /// One value.
    pub const fn exactly(value: i64) -> Self {
        Self { low: value, high: value }
    }

    /// Everything that the sum of two values may be.
    const fn plus(self, other: Self) -> Self {
        Self { low: self.low.saturating_add(other.low), high: self.high.saturating_add(other.high) }
    }

    /// Everything that the difference of two values may be.
    const fn minus(self, other: Self) -> Self {
        Self { low: self.low.saturating_sub(other.high), high: self.high.saturating_sub(other.low) }
    }
}

/// How the clocks relate during a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC`, nanoseconds, at any time of the plan.
    pub realtime_offset: Bounds,
}

/// What a timer was set to, as far as its old value depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Setting {
    /// Never armed, or disarmed.
    Stopped,
    /// Armed with no interval.
    OneShot,
    /// Armed with an interval.
    Periodic,
}

/// The old value that a call may have given: zero, a positive range, or either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// Whether zero is allowed.
    pub zero: bool,
    /// The positive values that are allowed, nanoseconds.
    pub range: Option<Bounds>,
}

impl Remaining {
    /// Nothing but zero.
    pub const ZERO: Self = Self { zero: true, range: None };

    /// Whether a value may be what is left.
    pub fn allows(&self, value: OldTimespec32) -> bool {
        let nanos = value.as_nanos();
        let in_range = self.range.is_some_and(|range| range.low <= nanos && nanos <= range.high);
        value.is_valid() && if nanos == 0 { self.zero } else { in_range }
    }
}

impl Remaining {
    /// Whether a value of so many seconds may be what is left.
    pub fn allows_seconds(&self, seconds: i32) -> bool {
        let seconds = i64::from(seconds);
        let in_range = self.range.is_some_and(|range| {
            range.low / NSEC_PER_SEC <= seconds && seconds <= range.high / NSEC_PER_SEC
        });
        in_range || (self.zero && seconds == 0)
    }
}

impl core::fmt::Display for Remaining {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (self.zero, self.range) {
            (true, None) => write!(f, "0"),
            (false, None) => write!(f, "nothing"),
            (zero, Some(Bounds { low, high })) => {
                let or = if zero { "0 or " } else { "" };
                let (low, high) = (Seconds(low), Seconds(high));
                write!(f, "{or}{low} to {high}")
            }
        }
    }
}

struct Seconds(i64);

impl core::fmt::Display for Seconds {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{:09}", self.0.div_euclid(NSEC_PER_SEC), self.0.rem_euclid(NSEC_PER_SEC))
    }
}

/// When a timer expires.
#[derive(Clone, Copy, Debug)]
struct Expiry {
    at: Bounds,
    /// `at` is of `CLOCK_REALTIME`, else of `CLOCK_MONOTONIC`.
    realtime: bool,
    /// No more than this can be left: what a relative timer was armed with.
    most: i64,
}

/// One timer.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    clock: Clock,
    /// `tintv`.
    interval: OldTimespec32,
    /// `None` while it was never armed or is disarmed: an expiry of 0, of which nothing is left.
    expiry: Option<Expiry>,
    /// It is disarmed, though an alarm's expiry outlives that.
    stopped: bool,
    /// `might_cancel`: on the list of timers that a setting of the clock cancels.
    might_cancel: bool,
    /// `moffs` is `KTIME_MAX`: the clock was set, and nobody was told yet. It outlives a removal
    /// from the list.
    canceled: bool,
}

impl Timer {
    /// `SYSCALL_DEFINE2(timerfd_create)`.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            interval: OldTimespec32::default(),
            expiry: None,
            stopped: true,
            might_cancel: false,
            canceled: false,
        }
    }

    /// `tintv`.
    pub(super) const fn interval(&self) -> OldTimespec32 {
        self.interval
    }

    /// `isalarm`.
    pub(super) const fn is_alarm(&self) -> bool {
        self.clock.is_alarm()
    }

    /// `timerfd_clock_was_set`. It passes over a timer whose `moffs` is the new offset; setting the
    /// clock to what it showed an operation ago always makes an offset that no timer has yet.
    pub(super) fn clock_was_set(&mut self) {
        self.canceled |= self.might_cancel;
    }

    /// The part of `do_timerfd_settime` behind its checks: the rule, and the old setting whether it
    /// is asked for or not.
    pub(super) fn settime(
        &mut self,
        flags: i32,
        new: &OldItimerspec32,
        span: Bounds,
        timeline: &Timeline,
    ) -> (Rule, Old) {
        // `timerfd_setup_cancel`, before the timer is stopped.
        let both = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
        self.might_cancel = self.runs_on_realtime() && flags & both == both;
        let old = Old {
            interval: self.interval,
            remaining: self.remaining(span, timeline),
            setting: self.setting(),
        };
        (self.setup(flags, new, span, timeline), old)
    }

    /// `timerfd_setup`.
    fn setup(
        &mut self,
        flags: i32,
        new: &OldItimerspec32,
        span: Bounds,
        timeline: &Timeline,
    ) -> Rule {
        let forwarded = self.expiry_after_forwarding(span, timeline);
        self.interval = new.it_interval;
        let value = new.it_value.as_nanos();
        self.stopped = value == 0;
        if self.stopped {
            // `hrtimer_set_expires` puts 0 there, but `alarm_init` leaves the expiry of an alarm as
            // it was.
            self.expiry = forwarded.filter(|_| self.is_alarm());
            return Rule::Disarmed;
        }
        self.expiry = Some(if flags & TFD_TIMER_ABSTIME != 0 {
            Expiry { at: Bounds::exactly(value), realtime: self.runs_on_realtime(), most: i64::MAX }
        } else if self.clock == Clock::RealtimeAlarm {
            // `alarm_start_relative` adds to the alarm's own clock, which may be set back later.
            let now = span.plus(timeline.realtime_offset);
            Expiry { at: now.plus(Bounds::exactly(value)), realtime: true, most: i64::MAX }
        } else {
            // `__hrtimer_init`: a relative timer on CLOCK_REALTIME runs on CLOCK_MONOTONIC.
            Expiry { at: span.plus(Bounds::exactly(value)), realtime: false, most: value }
        });
        // `timerfd_canceled`, after the timer was started.
        if self.might_cancel && core::mem::take(&mut self.canceled) {
            return Rule::Canceled;
        }
        Rule::Armed
    }

    /// The expiry as the computing of the old setting leaves it: an expired periodic timer's was
    /// put to its next period, if its callback had run.
    fn expiry_after_forwarding(&self, span: Bounds, timeline: &Timeline) -> Option<Expiry> {
        let expiry = self.expiry?;
        let now = if expiry.realtime { span.plus(timeline.realtime_offset) } else { span };
        if self.stopped || self.interval.as_nanos() == 0 || expiry.at.low > now.high {
            return Some(expiry);
        }
        let at = Bounds::new(
            expiry.at.low,
            now.high.saturating_add(self.interval.as_nanos()).max(expiry.at.high),
        );
        Some(Expiry { at, most: i64::MAX, ..expiry })
    }

    const fn runs_on_realtime(&self) -> bool {
        matches!(self.clock, Clock::Realtime | Clock::RealtimeAlarm)
    }

    fn setting(&self) -> Setting {
        match self.expiry {
            None => Setting::Stopped,
            Some(_) if self.stopped => Setting::Stopped,
            Some(_) if self.interval.as_nanos() == 0 => Setting::OneShot,
            Some(_) => Setting::Periodic,
        }
    }

    /// `timerfd_get_remaining`, where an expired periodic timer was forwarded first.
    fn remaining(&self, span: Bounds, timeline: &Timeline) -> Remaining {
        let Some(expiry) = self.expiry else { return Remaining::ZERO };
        let now = if expiry.realtime { span.plus(timeline.realtime_offset) } else { span };
        let left = expiry.at.minus(now);
        let left = Bounds::new(
            left.low.saturating_sub(SLACK_NS),
            left.high.saturating_add(SLACK_NS).min(expiry.most),
        );
        match self.interval.as_nanos() {
            _ if self.stopped => one_shot(left),
            0 => one_shot(left),
            interval => periodic(left, interval),
        }
    }
}

/// What is left of a timer that is not forwarded: never less than nothing, whether or not it has
/// fired.
fn one_shot(left: Bounds) -> Remaining {
    Remaining {
        zero: left.low <= 0,
        range: (left.high > 0).then_some(Bounds::new(left.low.max(1), left.high)),
    }
}

/// `hrtimer_forward` puts an expired timer at the next multiple of its interval, but only when
/// `timerfd_tmrproc` has run already (`expired`); until then nothing is left, as of any other timer
/// in the past.
fn periodic(left: Bounds, interval: i64) -> Remaining {
    if left.low > 0 {
        return one_shot(left);
    }
    // The clock is read once to forward and once more for what is left, so 0 is possible after
    // forwarding, too.
    let range = if left.high > 0 {
        Bounds::new(1, left.high.max(interval))
    } else {
        let (least, most) = (-left.high, left.low.saturating_neg());
        if least / interval == most / interval {
            Bounds::new((interval - most % interval).max(1), interval - least % interval)
        } else {
            Bounds::new(1, interval)
        }
    };
    Remaining { zero: true, range: Some(range) }
}
