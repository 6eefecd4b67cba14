//! One timer of `timerfd_create` through its whole life, after `struct timerfd_ctx` in
//! `fs/timerfd.c`.
//!
//! When the kernel's handler ran (`timerfd_tmrproc`) nobody is told, so that a timer which is due
//! may have fired or not, until a read or a wait shows which; the model follows what was seen, and
//! says when it cannot be.
//!
//! A timer's `node.expires` is `first + forwards * interval`: each read or look at a timer that has
//! fired forwards it (`hrtimer_forward_now`), and what a read gives is by how much it was forwarded
//! since the read before.

use settime32_abi::errno;
use settime32_abi::plan::Clock;
use settime32_abi::timespec::{Itimerspec64, NSEC_PER_SEC, Timespec64};

use super::{Wrong, wrong};
use crate::model::timer::{Bounds, SLACK_NS};
use crate::model::{TFD_TIMER_ABSTIME, TFD_TIMER_CANCEL_ON_SET};

/// `KTIME_MAX` (`include/linux/ktime.h`).
pub(super) const KTIME_MAX: i64 = i64::MAX;

/// The clocks at the time of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// `CLOCK_MONOTONIC`, and `CLOCK_BOOTTIME` with it.
    pub monotonic: Bounds,
    /// `CLOCK_REALTIME`.
    pub realtime: Bounds,
    /// The latest that `CLOCK_REALTIME` has shown so far; it was set back since, perhaps.
    pub realtime_peak: i64,
}

/// Whether something is so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Is {
    No,
    Maybe,
    Yes,
}

/// What an arming was, for those who look for its expiries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arming {
    /// The timer.
    pub timer: usize,
    /// The operation of the call that armed it.
    pub by: usize,
    /// The operation of the call that stopped it, or of the closing that ended the timer; none while
    /// the process lived.
    pub until: Option<usize>,
    /// `it_value`, nanoseconds.
    pub value: i64,
    /// It is a time of the timer's clock, and not one from now on.
    pub absolute: bool,
    /// `it_interval`, nanoseconds; 0 of a timer that fires once.
    pub interval: i64,
    /// It runs on `CLOCK_REALTIME` itself: one that is relative and no alarm runs on
    /// `CLOCK_MONOTONIC` (`hrtimer_init`).
    pub realtime: bool,
    /// `CLOCK_REALTIME` was set while it was armed.
    pub clock_was_set: bool,
}

/// Something that only an expiry explains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Index of the [`Arming`].
    pub arming: usize,
    /// The operation that shows it.
    pub operation: usize,
    /// How often the timer had been forwarded before the expiry.
    pub forwards: Bounds,
}

/// What came of a setting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Set {
    /// The result.
    pub ret: i32,
    /// What it armed.
    pub arming: Option<Arming>,
    /// What was handed out before it was cut.
    pub old: Option<Itimerspec64>,
}

/// `struct timerfd_ctx`.
#[derive(Clone, Debug)]
pub(super) struct Timer {
    pub clock: Clock,
    /// Index of what armed it last, while it is armed.
    pub arming: Option<usize>,
    /// `tintv`, as it was given and as the kernel keeps it.
    interval: i64,
    /// `node.expires` when nothing was forwarded yet; `None` is 0, of which nothing is left.
    first: Option<Bounds>,
    /// It runs on `CLOCK_REALTIME` itself.
    realtime: bool,
    clock_was_set: bool,
    /// The kernel may still call the handler.
    armed: bool,
    /// By how many intervals it was forwarded.
    forwards: Bounds,
    /// Of those, how many were read.
    read: Bounds,
    /// `expired`.
    expired: Is,
    /// `ticks` come from a setting of the clock.
    canceled_ticks: bool,
    /// `might_cancel`.
    might_cancel: bool,
    /// `moffs` is `KTIME_MAX`.
    canceled: bool,
}

/// `timespec64_valid` (`include/linux/time64.h`).
pub(super) fn is_valid(time: Timespec64) -> bool {
    time.tv_sec >= 0 && (0..NSEC_PER_SEC).contains(&time.tv_nsec)
}

/// `timespec64_to_ktime` (`include/linux/ktime.h`).
pub(super) fn to_ktime(time: Timespec64) -> i64 {
    time.tv_sec
        .checked_mul(NSEC_PER_SEC)
        .and_then(|nanos| nanos.checked_add(time.tv_nsec))
        .unwrap_or(KTIME_MAX)
}

/// `ktime_to_timespec64`, of a time that is not negative.
pub(super) fn to_timespec(nanos: i64) -> Timespec64 {
    Timespec64 { tv_sec: nanos / NSEC_PER_SEC, tv_nsec: nanos % NSEC_PER_SEC }
}

impl Timer {
    /// `timerfd_create`.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            arming: None,
            interval: 0,
            first: None,
            realtime: on_realtime(clock),
            clock_was_set: false,
            armed: false,
            forwards: Bounds::exactly(0),
            read: Bounds::exactly(0),
            expired: Is::No,
            canceled_ticks: false,
            might_cancel: false,
            canceled: false,
        }
    }

    pub(super) fn might_cancel(&self) -> bool {
        self.might_cancel
    }

    /// Whether a setting of the clock was not told yet.
    pub(super) fn cancel_is_pending(&self) -> bool {
        self.canceled
    }

    /// `timerfd_clock_was_set`.
    pub(super) fn clock_was_set(&mut self) {
        self.clock_was_set = true;
        if self.might_cancel {
            (self.canceled, self.canceled_ticks) = (true, true);
        }
    }

    /// The handler may have run by now.
    fn pass(&mut self, now: &Now) {
        let latest = if self.realtime {
            now.realtime.high.max(now.realtime_peak)
        } else {
            now.monotonic.high
        };
        if self.armed
            && self.expired == Is::No
            && self.node().is_some_and(|node| node.low <= latest.saturating_add(SLACK_NS))
        {
            self.expired = Is::Maybe;
        }
    }

    fn now(&self, now: &Now) -> Bounds {
        let Bounds { low, high } = if self.realtime { now.realtime } else { now.monotonic };
        Bounds::new(low.saturating_sub(SLACK_NS), high.saturating_add(SLACK_NS))
    }

    /// `node.expires`.
    fn node(&self) -> Option<Bounds> {
        let at = |first: i64, forwards: i64| {
            first.saturating_add(forwards.saturating_mul(self.interval))
        };
        self.first.map(|first| {
            Bounds::new(at(first.low, self.forwards.low), at(first.high, self.forwards.high))
        })
    }

    /// How often it will have been forwarded when it is now, having fired; `None` when it cannot
    /// have.
    fn forwarded(&self, now: Bounds) -> Option<Bounds> {
        let first = self.first.filter(|_| self.interval > 0 && self.expired != Is::No)?;
        let count = |first: i64, now: i64| {
            (now.saturating_sub(first)).div_euclid(self.interval).saturating_add(1)
        };
        // `hrtimer_forward` leaves a timer alone that is due no more, because its clock was set
        // back.
        let least = self.forwards.low + i64::from(!(self.realtime && self.clock_was_set));
        let bounds = Bounds::new(count(first.high, now.low).max(least), count(first.low, now.high));
        (bounds.low <= bounds.high).then_some(bounds)
    }

    /// How often it was forwarded if so much is left now; `None` when that cannot be.
    fn forwards_with(&self, left: i64, now: Bounds) -> Option<Bounds> {
        let Some(first) = self.first else { return (left == 0).then_some(self.forwards) };
        let ways = [
            (self.expired != Is::Yes || self.interval == 0).then_some(self.forwards),
            self.forwarded(now),
        ];
        let fits = |way: Bounds| {
            if left == 0 {
                let due = first.low.saturating_add(way.low.saturating_mul(self.interval));
                return (due <= now.high).then_some(way);
            }
            if self.interval == 0 {
                let range = Bounds::new(
                    first.low.saturating_sub(now.high),
                    first.high.saturating_sub(now.low),
                );
                return (range.low <= left && left <= range.high).then_some(way);
            }
            // first + forwards * interval = left + now
            let of = |now: i64, first: i64| i128::from(left) + i128::from(now) - i128::from(first);
            let interval = i128::from(self.interval);
            let low = of(now.low, first.high).div_euclid(interval)
                + i128::from(of(now.low, first.high).rem_euclid(interval) != 0);
            let high = of(now.high, first.low).div_euclid(interval);
            let (low, high) = (low.max(way.low.into()), high.min(way.high.into()));
            // It fits in 64 bits, since it is within the bounds of the way.
            (low <= high).then(|| Bounds::new(low as i64, high as i64))
        };
        ways.into_iter()
            .flatten()
            .filter_map(fits)
            .reduce(|one, other| Bounds::new(one.low.min(other.low), one.high.max(other.high)))
    }

    /// About how much may be left, to tell what was cut off of it.
    fn guesses(&self, now: Bounds) -> [i64; 2] {
        let left = self.node().map_or(0, |node| node.high.saturating_sub(now.low)).max(0);
        [left, self.interval]
    }

    /// Compares a setting that was read back, of which 32 bits or all are there
    /// (`put_old_itimerspec32` cuts without an error), and gives how often the timer was forwarded
    /// then, and the setting before it was cut.
    fn compare(
        &self,
        found: Answer,
        now: Bounds,
        out: &mut Vec<Wrong>,
    ) -> Option<(Bounds, Itimerspec64)> {
        let field = "out_after";
        let interval = to_timespec(self.interval);
        if found.interval() != found.cut(interval) {
            out.push(wrong(field, format!("an interval of {interval:?}"), format!("{found:?}")));
        }
        let whole = |left| Itimerspec64 { it_interval: interval, it_value: to_timespec(left) };
        let fits = |left| self.forwards_with(left, now).map(|forwards| (forwards, whole(left)));
        let fits = found.lefts(self.guesses(now)).into_iter().find_map(fits);
        if fits.is_none() {
            let (node, expired) = (self.node(), self.expired);
            let due = format!(
                "what is left at {now:?} of a timer due at {node:?} (expired: {expired:?}, interval {})",
                self.interval
            );
            out.push(wrong(field, due, format!("{found:?}")));
        }
        fits
    }

    /// `do_timerfd_gettime`; gives what was handed out before it was cut.
    pub(super) fn gettime(
        &mut self,
        found: Answer,
        now: &Now,
        out: &mut Vec<Wrong>,
    ) -> Option<Itimerspec64> {
        self.pass(now);
        let bounds = self.now(now);
        let (forwards, whole) = self.compare(found, bounds, out).unzip();
        if self.interval > 0 && self.first.is_some() {
            let all =
                self.forwarded(bounds).map_or(self.forwards, |forwarded| match self.expired {
                    Is::Yes => forwarded,
                    _ => Bounds::new(self.forwards.low, forwarded.high.max(self.forwards.high)),
                });
            self.forwards = forwards.unwrap_or(all);
            self.expired = Is::No;
        }
        whole
    }

    /// `do_timerfd_settime` behind its checks; `old` is what was read back, if it was.
    pub(super) fn settime(
        &mut self,
        (flags, new): (i32, &Itimerspec64),
        old: Option<Answer>,
        now: &Now,
        out: &mut Vec<Wrong>,
    ) -> Set {
        let both = TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET;
        // `timerfd_setup_cancel`
        self.might_cancel = on_realtime(self.clock) && flags & both == both;
        self.pass(now);
        let bounds = self.now(now);
        // An expired periodic timer is forwarded before the old setting is taken.
        let (stopped, whole) = old.and_then(|old| self.compare(old, bounds, out)).unzip();
        let forwarded = self.forwarded(bounds);
        self.forwards = stopped.unwrap_or_else(|| {
            forwarded.map_or(self.forwards, |forwarded| {
                Bounds::new(self.forwards.low, forwarded.high.max(self.forwards.high))
            })
        });
        let (ret, arming) = self.setup(flags, new, now);
        Set { ret, arming, old: whole }
    }

    /// `timerfd_setup`.
    fn setup(&mut self, flags: i32, new: &Itimerspec64, now: &Now) -> (i32, Option<Arming>) {
        let (value, absolute) = (to_ktime(new.it_value), flags & TFD_TIMER_ABSTIME != 0);
        // `hrtimer_set_expires` puts 0 there, but `alarm_init` leaves the expiry of an alarm as it
        // was.
        let left_over = self.node().filter(|_| self.clock.is_alarm());
        (self.expired, self.canceled_ticks) = (Is::No, false);
        (self.forwards, self.read) = (Bounds::exactly(0), Bounds::exactly(0));
        self.interval = to_ktime(new.it_interval);
        self.armed = value != 0;
        self.arming = None;
        if !self.armed {
            self.first = left_over;
            if !self.clock.is_alarm() {
                self.realtime = on_realtime(self.clock) && absolute;
            }
            return (0, None);
        }
        self.realtime = on_realtime(self.clock) && (absolute || self.clock.is_alarm());
        self.clock_was_set = false;
        let from = if self.realtime { now.realtime } else { now.monotonic };
        // `ktime_add_safe`
        let later = |from: i64, slack: i64| from.saturating_add(slack).saturating_add(value);
        self.first = Some(match absolute {
            true => Bounds::exactly(value),
            false => Bounds::new(later(from.low, -SLACK_NS), later(from.high, SLACK_NS)),
        });
        // `timerfd_canceled`, after the timer was started.
        let told = self.might_cancel && std::mem::take(&mut self.canceled);
        let (interval, realtime) = (self.interval, self.realtime);
        let arming = Arming {
            timer: 0,
            by: 0,
            until: None,
            value,
            absolute,
            interval,
            realtime,
            clock_was_set: false,
        };
        (if told { -errno::ECANCELED } else { 0 }, Some(arming))
    }

    /// `timerfd_read`, which gave this result, and so many ticks where it succeeded. Gives the
    /// number of forwards that the expiry behind it follows on, where there must be one.
    pub(super) fn read(
        &mut self,
        blocking: bool,
        ret: i32,
        ticks: u64,
        now: &Now,
        out: &mut Vec<Wrong>,
    ) -> Option<Bounds> {
        self.pass(now);
        let readable = self.readable();
        if self.might_cancel && self.canceled {
            if ret != -errno::ECANCELED {
                out.push(wrong(
                    "ret",
                    "ECANCELED, since the clock was set".to_owned(),
                    ret.to_string(),
                ));
            }
            self.canceled = false;
            self.canceled_ticks = false;
            // What has fired is not started again.
            self.armed &= self.expired != Is::Yes;
            self.expired = Is::No;
            self.read = self.forwards;
            return None;
        }
        let back = self.realtime && self.clock_was_set && self.interval > 0;
        match ret {
            8 if readable != Is::No => return self.ticks(ticks, now, out),
            8 => out.push(wrong(
                "ret",
                format!("nothing to read: due at {:?}, and it is {now:?}", self.node()),
                "8".to_owned(),
            )),
            _ if ret == -EAGAIN && !blocking && (readable != Is::Yes || back) => self.quiet(),
            // `hrtimer_forward` gave 0 overruns, so that nothing is left of the one tick.
            0 if blocking && back => self.quiet(),
            _ => {
                let expected = match (blocking, readable) {
                    (true, _) | (_, Is::Yes) => "8",
                    (false, Is::No) => "EAGAIN",
                    (false, Is::Maybe) => "8 or EAGAIN",
                };
                out.push(wrong("ret", expected.to_owned(), ret.to_string()));
            }
        }
        None
    }

    /// There was nothing to read, so that it had not fired.
    fn quiet(&mut self) {
        if self.expired != Is::No {
            self.expired = Is::No;
        }
        // Ticks that a look at the timer had counted would have been there.
        self.forwards.high = self.forwards.high.min(self.read.high).max(self.forwards.low);
    }

    /// A read that succeeded.
    fn ticks(&mut self, ticks: u64, now: &Now, out: &mut Vec<Wrong>) -> Option<Bounds> {
        let least = self.read.low;
        if self.interval == 0 {
            if ticks != 1 {
                out.push(wrong(
                    "ticks",
                    "1, of a timer that fires once".to_owned(),
                    ticks.to_string(),
                ));
            }
            (self.expired, self.armed) = (Is::No, false);
            return Some(Bounds::exactly(0));
        }
        let forwarded = self.forwarded(self.now(now));
        let ways = [(self.expired != Is::Yes).then_some(self.forwards), forwarded];
        let found = i64::try_from(ticks).unwrap_or(i64::MAX);
        let total =
            Bounds::new(self.read.low.saturating_add(found), self.read.high.saturating_add(found));
        let fits = |way: &Bounds| way.low <= total.high && total.low <= way.high;
        let more_than_none = found > 0;
        if !more_than_none || !ways.into_iter().flatten().any(|way| fits(&way)) {
            let [looked, fired] = ways.map(|way| {
                way.map_or_else(|| "not at all".to_owned(), |way| format!("{way:?} times"))
            });
            let expected = format!(
                "forwarded by looks {looked}, or having fired {fired}, less {:?} that were read",
                self.read
            );
            out.push(wrong("ticks", expected, ticks.to_string()));
        }
        (self.forwards, self.read) = (total, total);
        self.expired = Is::No;
        // What it was forwarded by last was at least one.
        Some(Bounds::new(least, total.high.saturating_sub(1)))
    }

    /// `timerfd_poll`.
    pub(super) fn readable(&self) -> Is {
        let looked = self.interval > 0;
        if self.canceled_ticks
            || self.expired == Is::Yes
            || (looked && self.forwards.low > self.read.high)
        {
            Is::Yes
        } else if self.expired == Is::Maybe || (looked && self.forwards.high > self.read.low) {
            Is::Maybe
        } else {
            Is::No
        }
    }

    /// A wait said that it is readable, or that it is not. Gives as [`Timer::read`] does.
    pub(super) fn waited(&mut self, said: bool, now: &Now, out: &mut Vec<Wrong>) -> Option<Bounds> {
        // What is certain was so when the wait began; what may be, when it ended.
        let before = self.readable();
        self.pass(now);
        let after = self.readable();
        match said {
            true if after == Is::No => {
                out.push(wrong(
                    "ready",
                    format!("not readable: due at {:?}, and it is {now:?}", self.node()),
                    "readable".to_owned(),
                ));
                None
            }
            false if before == Is::Yes => {
                out.push(wrong("ready", "readable".to_owned(), "not readable".to_owned()));
                None
            }
            true if !self.canceled_ticks => {
                if self.interval == 0 || self.forwards.high <= self.read.low {
                    self.expired = Is::Yes;
                }
                Some(if self.interval == 0 {
                    Bounds::exactly(0)
                } else {
                    Bounds::new(self.read.low, i64::MAX)
                })
            }
            _ => None,
        }
    }
}

const EAGAIN: i32 = 11;

fn on_realtime(clock: Clock) -> bool {
    matches!(clock, Clock::Realtime | Clock::RealtimeAlarm)
}

/// A setting that the kernel gave.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    /// In 32 bits.
    Cut(settime32_abi::timespec::OldItimerspec32),
    /// In 64 bits.
    Whole(Itimerspec64),
}

impl Answer {
    fn interval(self) -> Timespec64 {
        match self {
            Self::Cut(setting) => setting.it_interval.into(),
            Self::Whole(setting) => setting.it_interval,
        }
    }

    /// A time as it would be in this answer.
    fn cut(self, time: Timespec64) -> Timespec64 {
        match self {
            Self::Cut(_) => time.cut().into(),
            Self::Whole(_) => time,
        }
    }

    /// What may be left by this answer, nanoseconds, if about so much is; nothing when it is no
    /// time.
    pub(super) fn lefts(self, guesses: [i64; 2]) -> Vec<i64> {
        let nanos = |sec: i64, nsec: i64| {
            sec.checked_mul(NSEC_PER_SEC).and_then(|nanos| nanos.checked_add(nsec))
        };
        match self {
            Self::Whole(Itimerspec64 { it_value, .. }) if is_valid(it_value) => {
                vec![to_ktime(it_value)]
            }
            Self::Cut(setting)
                if (0..NSEC_PER_SEC).contains(&i64::from(setting.it_value.tv_nsec)) =>
            {
                let value = setting.it_value;
                let near = |guess: i64| {
                    let seconds = guess / NSEC_PER_SEC;
                    seconds + i64::from(value.tv_sec.wrapping_sub(seconds as i32))
                };
                guesses
                    .into_iter()
                    .filter_map(|guess| nanos(near(guess), value.tv_nsec.into()))
                    .filter(|left| *left >= 0)
                    .collect()
            }
            _ => Vec::new(),
        }
    }
}
