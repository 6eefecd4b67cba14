//! One expiry: whose it is, who was told of it, and the object that it becomes.

use std::rc::Rc;

use serde::Serialize;
use settime32_abi::lifecycle::{By, Expiry, TimerId, Wakeup};

use super::arming::Arming;
use super::clock::{Cause, Reading};
use super::owner::Owner;

/// An expiry, and what is known of it until now.
#[derive(Clone, Debug)]
pub struct Firing {
    pub timer: TimerId,
    clockid: i32,
    pub expires_ns: i64,
    late_ns: i64,
    /// When the handler ran, and the timer's clock then.
    pub clock: Reading,
    /// The timer's clock before: as it was armed, or fired before.
    pub before: Option<Reading>,
    /// Whose it is.
    pub owner: Option<Rc<Owner>>,
    of: Option<OfArming>,
    /// Whether a call may yet return that armed it.
    pub may_be_armed: bool,
    /// It is of a setting that was not seen, though earlier ones of the timer were.
    pub is_of_lost: bool,
    polled: Option<Told>,
    read: Option<Told>,
}

/// What its arming says of it.
#[derive(Clone, Copy, Debug)]
struct OfArming {
    entry_ns: u64,
    asked_ns: i64,
    was_past: bool,
    interval_ns: Option<i64>,
}

/// A thread that was told of it.
#[derive(Clone, Copy, Debug)]
pub struct Told {
    ns: u64,
    tid: u32,
    by: By,
    /// When a read began; `None` when that was before the tracing.
    entry_ns: Option<u64>,
    ticks: Option<u64>,
}

impl Told {
    /// As an event says; `ticks` where these are expiries.
    pub fn of(wakeup: &Wakeup, ticks: Option<u64>) -> Self {
        Self {
            ns: wakeup.ns,
            tid: wakeup.tid,
            by: wakeup.by,
            entry_ns: wakeup.entry_ns.flatten(),
            ticks,
        }
    }
}

impl Firing {
    /// One of which nothing else is known.
    pub fn of(expiry: &Expiry) -> Self {
        Self {
            timer: expiry.timer,
            clockid: expiry.clockid,
            expires_ns: expiry.expires_ns,
            late_ns: expiry.late_ns,
            clock: Reading {
                ns: expiry.ns,
                offset_ns: expiry.clock_offset_ns,
                suspended_ns: expiry.suspended_ns,
            },
            before: None,
            owner: None,
            of: None,
            may_be_armed: true,
            is_of_lost: false,
            polled: None,
            read: None,
        }
    }

    /// It is of this arming, which is told so.
    pub fn belongs_to(&mut self, arming: &mut Arming) {
        self.before = Some(arming.clock);
        arming.fires(self.expires_ns, self.clock);
        self.owner = Some(Rc::clone(&arming.owner));
        self.may_be_armed = false;
        self.is_of_lost = false;
        self.of = Some(OfArming {
            entry_ns: arming.entry_ns,
            asked_ns: arming.asked_ns(self.expires_ns),
            was_past: arming.was_past(self.expires_ns),
            interval_ns: arming.interval_ns(),
        });
    }

    /// When the call that armed it began.
    pub fn armed_ns(&self) -> Option<u64> {
        self.of.map(|of| of.entry_ns)
    }

    /// Whether a read has told of it.
    pub const fn is_read(&self) -> bool {
        self.read.is_some()
    }

    /// A thread polled, and was told. Only the first one was woken.
    pub fn poll(&mut self, told: Told) {
        if self.polled.is_none() && self.read.is_none() {
            self.polled = Some(told);
        }
    }

    /// A read told of it. One that is already taken for its own is given back.
    pub const fn read(&mut self, told: Told) -> Option<Told> {
        self.read.replace(told)
    }

    /// Whether a read may have told of this one though the `next` one had come when it returned: it
    /// began before that, and started the period again from here (`timerfd_read` forwards a timer
    /// before it returns).
    pub fn may_be_told_by(&self, read: &Told, next: &Self) -> bool {
        let forwards = match (self.of.and_then(|of| of.interval_ns), read.ticks) {
            (Some(interval_ns), Some(ticks)) => i64::try_from(ticks).is_ok_and(|ticks| {
                ticks.checked_mul(interval_ns) == next.expires_ns.checked_sub(self.expires_ns)
            }),
            _ => true,
        };
        read.entry_ns.is_none_or(|entry_ns| entry_ns < next.clock.ns)
            && self.armed_ns() == next.armed_ns()
            && forwards
    }

    /// Whether a read told of more than has gone by since this one.
    pub fn is_too_new_for(&self, read: &Told) -> bool {
        let Some((interval_ns, ticks)) = self.of.and_then(|of| of.interval_ns).zip(read.ticks)
        else {
            return false;
        };
        let until_ns = read.ns.cast_signed().saturating_add(self.clock.offset_ns);
        let last =
            i64::try_from(ticks.saturating_sub(1)).unwrap_or(i64::MAX).saturating_mul(interval_ns);
        self.expires_ns.saturating_add(last) > until_ns
    }

    /// The read that told of it.
    pub const fn told_by_read(&self) -> Option<&Told> {
        self.read.as_ref()
    }

    /// What is told of it in the end.
    pub fn line(&self, cause: Cause) -> Line {
        let first = [self.polled, self.read].into_iter().flatten().min_by_key(|told| told.ns);
        let owner = self.owner.as_deref();
        let waited = |told: Told| {
            self.late_ns
                .saturating_add(told.ns.cast_signed().saturating_sub(self.clock.ns.cast_signed()))
        };
        let (slept_ns, clock_set_ns) = match cause {
            Cause::None => (Some(0), Some(0)),
            Cause::Slept(ns) => (Some(ns), Some(0)),
            Cause::Set(ns) => (Some(0), Some(ns)),
            Cause::Unknown => (None, None),
        };
        Line {
            event: "firing",
            timer: self.timer,
            pid: owner.and_then(Owner::pid),
            host_pid: owner.and_then(|owner| owner.host_pid),
            comm: owner.map(|owner| owner.comm.clone()),
            clockid: self.clockid,
            armed_ns: self.armed_ns(),
            requested_ns: self.of.map(|of| of.asked_ns),
            expires_ns: self.expires_ns,
            handler_ns: self.clock.ns,
            handler_late_ns: self.late_ns,
            waiter_ns: first.map(|told| told.ns),
            waiter_late_ns: first.map(waited),
            waiter_tid: first.map(|told| told.tid).filter(|tid| *tid != 0),
            by: first.map(|told| told.by),
            ticks: self.read.and_then(|told| told.ticks),
            was_past: self.of.map(|of| of.was_past),
            slept_ns,
            clock_set_ns,
            is_early: self.late_ns < 0 && cause == Cause::None,
        }
    }
}

/// A firing, as an object. What is not known of it is null.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Always `firing`.
    pub event: &'static str,
    /// The timer.
    pub timer: TimerId,
    /// Process that armed it or, where that was not seen, that was told of it.
    pub pid: Option<u32>,
    /// The same in the initial pid namespace; only there where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<u32>,
    /// Name of the thread that did or was.
    pub comm: Option<Box<str>>,
    /// Its clock, of `include/uapi/linux/time.h`.
    pub clockid: i32,
    /// `CLOCK_MONOTONIC` when the call that armed it began, nanoseconds; null when that was not
    /// seen.
    pub armed_ns: Option<u64>,
    /// When it was asked for, at the earliest; nanoseconds of the clock that the kernel waits by.
    pub requested_ns: Option<i64>,
    /// When the kernel made it due; nanoseconds of that clock.
    pub expires_ns: i64,
    /// `CLOCK_MONOTONIC` when the kernel's handler ran, nanoseconds.
    pub handler_ns: u64,
    /// How late that was.
    pub handler_late_ns: i64,
    /// `CLOCK_MONOTONIC` when a thread had been told, nanoseconds; null when none was seen to be
    /// before the next expiry or setting.
    pub waiter_ns: Option<u64>,
    /// How late that was.
    pub waiter_late_ns: Option<i64>,
    /// Thread that was told.
    pub waiter_tid: Option<u32>,
    /// In which call.
    pub by: Option<By>,
    /// Expiries that the thread was told of at once, where it read.
    pub ticks: Option<u64>,
    /// It was due before it was armed, by the clock as it was then: late from the start. Null when
    /// the arming was not seen.
    pub was_past: Option<bool>,
    /// Nanoseconds that the machine slept, where the timer came due meanwhile; else 0. Null when it
    /// may have.
    pub slept_ns: Option<u64>,
    /// By how much its clock was set, where the timer came due by that; else 0. Null when it may
    /// have.
    pub clock_set_ns: Option<i64>,
    /// It fired before its time.
    pub is_early: bool,
}
