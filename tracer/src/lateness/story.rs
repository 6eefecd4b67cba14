//! One timer's story: which arming an expiry belongs to, who was told of it, and what became of an arming that did not
//! fire.
//!
//! Events come in the order in which they ended, so that an expiry can come before the call that armed the timer.

use serde::Serialize;
use settime32_abi::life::{By, Expiry, TimerId, Wakeup};

/// What is slept less than this between two readings of clocks is no sleep.
const NO_SLEEP_NS: u64 = 1_000_000;

/// A call that set the timer.
#[derive(Clone, Debug)]
pub struct Arming {
    pub entry_ns: u64,
    pub exit_ns: u64,
    pub pid: u32,
    pub comm: String,
    pub is_absolute: bool,
    pub value_ns: i64,
    pub interval_ns: i64,
    /// What the machine had slept until then.
    pub suspended_ns: u64,
    /// How often it has fired, as far as is known.
    pub fired: u64,
    /// Of its first expiry: when it was asked for, at the earliest, and when it was due.
    pub first: Option<(i64, i64)>,
}

impl Arming {
    /// When the expiry was asked for, at the earliest, of the timer's clock: `None` when it is not of this arming. The kernel takes the
    /// time of a relative setting between the call's entry and its return (`hrtimer_start_range_ns`).
    fn requested_ns(&self, expiry: &Expiry) -> Option<i64> {
        if expiry.ns < self.entry_ns || self.value_ns == 0 {
            return None;
        }
        if let Some((requested, due)) = self.first {
            if self.interval_ns == 0 {
                return None;
            }
            return Some(requested.saturating_add(expiry.expires_ns.saturating_sub(due)));
        }
        let begin = self.entry_ns.cast_signed().saturating_add(expiry.clock_offset_ns);
        let first = if self.is_absolute { self.value_ns } else { begin.saturating_add(self.value_ns) };
        // One of the setting before may still have come while this call was on its way.
        let is_before = expiry.ns < self.exit_ns && expiry.expires_ns < first && !expiry.inline;
        if is_before {
            return None;
        }
        // Where the first ones were not seen, this is a later one.
        let missed = if self.is_absolute && self.interval_ns > 0 { (expiry.expires_ns - first) / self.interval_ns } else { 0 };
        Some(first.saturating_add(missed.saturating_mul(self.interval_ns)))
    }
}

/// One expiry, with all that is known of it.
#[derive(Clone, Debug, Serialize)]
pub struct Firing {
    /// Always `firing`.
    pub event: &'static str,
    /// The timer.
    pub timer: TimerId,
    /// Process that armed it; null when it was armed before tracing began.
    pub pid: Option<u32>,
    /// Name of the thread that armed it.
    pub comm: Option<String>,
    /// Its clock, of `include/uapi/linux/time.h`.
    pub clockid: i32,
    /// `CLOCK_MONOTONIC` when the call that armed it began, nanoseconds.
    pub armed_ns: Option<u64>,
    /// When it was asked for, at the earliest; nanoseconds of its clock.
    pub requested_ns: Option<i64>,
    /// When the kernel made it due; nanoseconds of its clock.
    pub expires_ns: i64,
    /// `CLOCK_MONOTONIC` when the kernel's handler ran, nanoseconds.
    pub handler_ns: u64,
    /// How late that was.
    pub handler_late_ns: i64,
    /// `CLOCK_MONOTONIC` when a thread had been told, nanoseconds; null when none was before the next expiry or setting.
    pub waiter_ns: Option<u64>,
    /// How late that was.
    pub waiter_late_ns: Option<i64>,
    /// Thread that was told.
    pub waiter_tid: Option<u32>,
    /// In which call.
    pub by: Option<By>,
    /// Expiries that the thread was told of at once, where it read.
    pub ticks: Option<u64>,
    /// It was due before it was armed: late from the start.
    pub was_past: bool,
    /// Nanoseconds that the machine was suspended between the arming and the expiry.
    pub slept_ns: u64,
    /// It fired before its time.
    pub is_early: bool,
}

/// What a story tells, to be counted.
#[derive(Clone, Debug)]
pub enum Told {
    /// A setting that arms.
    Armed(u32, String),
    /// An expiry.
    Firing(Box<Firing>),
    /// A read told more expiries than one; so many more.
    Overrun(u32, String, u64),
    /// A setting was replaced before it fired.
    Rearmed(u32, String),
    /// A setting was taken back before it fired, or the timer closed.
    Disarmed(u32, String),
    /// The timer's clock was set.
    Cancelled(u32, String),
}

impl Told {
    /// Process and name.
    pub fn owner(&self) -> (u32, &str) {
        match self {
            Self::Armed(pid, comm)
            | Self::Overrun(pid, comm, _)
            | Self::Rearmed(pid, comm)
            | Self::Disarmed(pid, comm)
            | Self::Cancelled(pid, comm) => (*pid, comm),
            Self::Firing(firing) => (firing.pid.unwrap_or(0), firing.comm.as_deref().unwrap_or("?")),
        }
    }
}

/// What is going on with a timer.
#[derive(Debug)]
pub struct Story {
    timer: TimerId,
    arming: Option<Arming>,
    /// The last expiry, until something shows that nothing more is to be known of it.
    last: Option<Firing>,
    /// The one before, while a read that began before the last one may still tell of it: a read starts a periodic timer again.
    unread: Option<Firing>,
    told: Vec<Told>,
}

impl Story {
    /// Of which nothing is known yet.
    pub const fn new(timer: TimerId) -> Self {
        Self { timer, arming: None, last: None, unread: None, told: Vec::new() }
    }

    /// What there is to tell since this was asked last.
    pub fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// A call set the timer, and has returned.
    pub fn armed(&mut self, mut arming: Arming) {
        let early_bird = self.last.as_ref().filter(|firing| firing.armed_ns != Some(arming.entry_ns));
        let owned = early_bird.and_then(|firing| arming.requested_ns(&firing.as_expiry()));
        if let (Some(requested), Some(firing)) = (owned, self.last.as_mut()) {
            // It fired while the call that armed it was still on its way, and may have been taken for one of the setting before.
            let before = self.arming.as_mut().filter(|before| firing.armed_ns == Some(before.entry_ns));
            before.into_iter().for_each(|before| before.fired -= 1);
            arming.first = Some((requested, firing.expires_ns));
            arming.fired = 1;
            firing.belongs_to(&arming, requested);
        }
        self.end_arming(arming.value_ns != 0);
        if owned.is_none() {
            self.finish_firing();
        }
        if arming.value_ns != 0 {
            self.told.push(Told::Armed(arming.pid, arming.comm.clone()));
        }
        self.arming = (arming.value_ns != 0).then_some(arming);
    }

    /// The timer expired.
    pub fn expired(&mut self, expiry: &Expiry) {
        self.finish_unread();
        match self.last.take() {
            Some(before) if before.ticks.is_none() => self.unread = Some(before),
            before => self.tell_firing(before),
        }
        let mut firing = Firing::of(self.timer, expiry);
        if let Some(arming) = &mut self.arming
            && let Some(requested) = arming.requested_ns(expiry)
        {
            arming.first.get_or_insert((requested, expiry.expires_ns));
            arming.fired += 1;
            firing.belongs_to(arming, requested);
        }
        self.last = Some(firing);
    }

    /// Its clock was set.
    pub fn cancelled(&mut self) {
        let (pid, comm) = self.owner();
        self.told.push(Told::Cancelled(pid, comm));
    }

    /// A thread was told of it. Only the first one was woken by the expiry: who polls is told, and reads then.
    pub fn woke(&mut self, wakeup: &Wakeup) {
        let (pid, comm) = self.owner();
        if let Some(more) = wakeup.ticks.flatten().and_then(|ticks| ticks.checked_sub(1)).filter(|more| *more > 0) {
            self.told.push(Told::Overrun(pid, comm, more));
        }
        let began_before = |last: &Firing| wakeup.entry_ns.flatten().is_some_and(|entry_ns| entry_ns < last.handler_ns);
        let is_of_unread = self.unread.is_some() && self.last.as_ref().is_some_and(began_before);
        if !is_of_unread {
            self.finish_unread();
        }
        let Some(firing) = (if is_of_unread { &mut self.unread } else { &mut self.last }) else { return };
        if firing.waiter_ns.is_none() && wakeup.errno.is_none() {
            firing.waiter_ns = Some(wakeup.ns);
            let after = wakeup.ns.cast_signed().saturating_sub(firing.handler_ns.cast_signed());
            firing.waiter_late_ns = Some(firing.handler_late_ns.saturating_add(after));
            firing.waiter_tid = Some(wakeup.tid);
            firing.by = Some(wakeup.by);
        }
        if firing.ticks.is_none() {
            firing.ticks = wakeup.ticks.flatten();
        }
    }

    /// Its last descriptor was closed.
    pub fn released(&mut self) {
        self.end_arming(false);
        self.finish_firing();
    }

    /// Tracing ended.
    pub fn ended(&mut self) {
        self.finish_firing();
    }

    fn finish_firing(&mut self) {
        self.finish_unread();
        let last = self.last.take();
        self.tell_firing(last);
    }

    fn finish_unread(&mut self) {
        let unread = self.unread.take();
        self.tell_firing(unread);
    }

    fn tell_firing(&mut self, firing: Option<Firing>) {
        self.told.extend(firing.map(|firing| Told::Firing(Box::new(firing))));
    }

    /// A setting is replaced, or taken back.
    fn end_arming(&mut self, is_replaced: bool) {
        let Some(arming) = self.arming.take().filter(|arming| arming.fired == 0) else { return };
        let (pid, comm) = (arming.pid, arming.comm);
        self.told.push(if is_replaced { Told::Rearmed(pid, comm) } else { Told::Disarmed(pid, comm) });
    }

    fn owner(&self) -> (u32, String) {
        let by_arming = self.arming.as_ref().map(|arming| (arming.pid, arming.comm.clone()));
        let by_firing = || self.last.as_ref().and_then(|firing| Some((firing.pid?, firing.comm.clone()?)));
        by_arming.or_else(by_firing).unwrap_or((0, "?".to_owned()))
    }
}

impl Firing {
    fn of(timer: TimerId, expiry: &Expiry) -> Self {
        Self {
            event: "firing",
            timer,
            pid: None,
            comm: None,
            clockid: expiry.clockid,
            armed_ns: None,
            requested_ns: None,
            expires_ns: expiry.expires_ns,
            handler_ns: expiry.ns,
            handler_late_ns: expiry.late_ns,
            waiter_ns: None,
            waiter_late_ns: None,
            waiter_tid: None,
            by: None,
            ticks: None,
            was_past: expiry.inline,
            slept_ns: expiry.suspended_ns,
            is_early: expiry.late_ns < 0,
        }
    }

    /// What an arming needs to know of the expiry again.
    fn as_expiry(&self) -> Expiry {
        let now_ns = self.expires_ns.saturating_add(self.handler_late_ns);
        Expiry {
            event: "expiry".into(),
            ns: self.handler_ns,
            cpu: 0,
            timer: self.timer,
            clockid: self.clockid,
            expires_ns: self.expires_ns,
            clock_offset_ns: now_ns.saturating_sub(self.handler_ns.cast_signed()),
            late_ns: self.handler_late_ns,
            suspended_ns: self.slept_ns,
            inline: self.was_past,
        }
    }

    fn belongs_to(&mut self, arming: &Arming, requested_ns: i64) {
        let offset = self.as_expiry().clock_offset_ns;
        let begin = arming.entry_ns.cast_signed().saturating_add(offset);
        self.pid = Some(arming.pid);
        self.comm = Some(arming.comm.clone());
        self.armed_ns = Some(arming.entry_ns);
        self.requested_ns = Some(requested_ns);
        self.was_past |= arming.is_absolute && requested_ns <= begin;
        let slept = self.slept_ns.saturating_sub(arming.suspended_ns);
        self.slept_ns = if slept < NO_SLEEP_NS { 0 } else { slept };
        self.is_early |= self.expires_ns < requested_ns;
    }
}

#[cfg(test)]
mod tests;
