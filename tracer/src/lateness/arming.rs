//! A setting that armed a timer, and which expiries are its.

use std::rc::Rc;

use settime32_abi::timespec::{Itimerspec64, Timespec64};

use super::clock::Reading;
use super::owner::Owner;
use crate::lifecycle::Armed;
use crate::words::ABSTIME;

/// A call that set a timer, as far as the call itself says it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `CLOCK_MONOTONIC` when the call began, nanoseconds.
    pub entry_ns: u64,
    /// What the kernel copied; `None` when that was not seen.
    pub times: Option<Itimerspec64>,
    /// Its flags.
    pub flags: i32,
}

/// A setting that armed.
#[derive(Clone, Debug)]
pub struct Arming {
    /// `CLOCK_MONOTONIC` when the call began, nanoseconds.
    pub entry_ns: u64,
    /// Whose timer it is since then.
    pub owner: Rc<Owner>,
    /// How often it has fired, as far as was seen.
    pub fired: u64,
    /// Something shows that it fired, or was replaced, and that this was not seen.
    pub is_doubtful: bool,
    /// The timer's clock at the arming, and since then at each of its expiries.
    pub clock: Reading,
    is_absolute: bool,
    interval_ns: i64,
    /// When its first expiry was asked for at the earliest, and due; nanoseconds of the timer's
    /// clock.
    asked_ns: i64,
    due_ns: i64,
    last_ns: Option<i64>,
    /// What was due until then was so already when the call began.
    past_ns: i64,
    armed_ns: u64,
}

impl Arming {
    /// What a setting and the kernel say together; `None` when it disarms.
    pub fn of(setting: &Setting, armed: &Armed, owner: Rc<Owner>) -> Option<Self> {
        let times = setting.times.filter(|times| times.it_value != Timespec64::default())?;
        let is_absolute = setting.flags & ABSTIME != 0;
        let began_ns = setting.entry_ns.cast_signed().saturating_add(armed.clock_offset_ns);
        Some(Self {
            entry_ns: setting.entry_ns,
            owner,
            fired: 0,
            is_doubtful: false,
            clock: Reading {
                ns: armed.ns,
                offset_ns: armed.clock_offset_ns,
                suspended_ns: armed.suspended_ns,
            },
            is_absolute,
            interval_ns: nanos(times.it_interval),
            asked_ns: if is_absolute {
                armed.expires_ns
            } else {
                began_ns.saturating_add(nanos(times.it_value))
            },
            due_ns: armed.expires_ns,
            last_ns: None,
            past_ns: began_ns,
            armed_ns: armed.ns,
        })
    }

    /// Whether another one came after it.
    pub const fn is_before(&self, armed: &Armed) -> bool {
        self.armed_ns < armed.ns
    }

    /// Whether an expiry is one of its: due when the kernel said, or whole periods later, and after
    /// those that are known.
    pub fn owns(&self, expires_ns: i64, handler_ns: u64) -> bool {
        let is_periods_off = || {
            self.interval_ns > 0
                && expires_ns
                    .checked_sub(self.due_ns)
                    .is_some_and(|off| off % self.interval_ns == 0)
        };
        let is_due = match self.last_ns {
            Some(last) => expires_ns > last && is_periods_off(),
            // It may have been read, and so forwarded, before the call that armed it returned.
            None => expires_ns == self.due_ns || is_periods_off() && expires_ns >= self.asked_ns,
        };
        handler_ns >= self.entry_ns && is_due
    }

    /// One of its has come.
    pub fn fires(&mut self, expires_ns: i64, clock: Reading) {
        if self.last_ns.is_none() && expires_ns < self.due_ns {
            self.due_ns = expires_ns;
        }
        self.last_ns = Some(expires_ns);
        self.fired += 1;
        self.clock = clock;
    }

    /// When an expiry of its was asked for, at the earliest. The kernel takes the time of a
    /// relative setting between the call's entry and its return (`hrtimer_start_range_ns`); what is
    /// absolute is as the kernel holds it.
    pub const fn asked_ns(&self, expires_ns: i64) -> i64 {
        if self.is_absolute {
            expires_ns
        } else {
            self.asked_ns.saturating_add(expires_ns.saturating_sub(self.due_ns))
        }
    }

    /// Whether an expiry was due before it was armed, by the clock as it was then.
    pub const fn was_past(&self, expires_ns: i64) -> bool {
        expires_ns <= self.past_ns
    }

    /// Whether it was due by then.
    pub const fn is_due(&self, ns: u64) -> bool {
        self.due_ns <= ns.cast_signed().saturating_add(self.clock.offset_ns)
    }

    /// Its period, if it has one.
    pub fn interval_ns(&self) -> Option<i64> {
        (self.interval_ns > 0).then_some(self.interval_ns)
    }
}

/// As the kernel does it: what is beyond its range is the end of it (`timespec64_to_ktime`,
/// `include/linux/ktime.h`).
fn nanos(time: Timespec64) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}
