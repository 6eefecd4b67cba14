//! Timers and POSIX timers through their lifecycles, after `fs/timerfd.c` and
//! `kernel/time/posix-timers.c`, on one CPU. What an exact tracer tells of expiries, cancellations
//! and releases is told where it comes to pass.

use settime32_abi::lifecycle::{Cancel, Expiry, TimerId};
use settime32_abi::timespec::{Itimerspec64, Timespec64};

use super::Event;

const KTIME_MAX: i64 = i64::MAX;
const SECOND: i64 = 1_000_000_000;
pub const EAGAIN: i32 = 11;
pub const EINVAL: i32 = 22;
pub const EPERM: i32 = 1;
pub const EBADF: i32 = 9;
pub const ECANCELED: i32 = 125;

/// `struct timerfd_ctx`.
pub struct Context {
    pub id: TimerId,
    pub clockid: i32,
    tintv: i64,
    pub ticks: u64,
    expired: bool,
    might_cancel: bool,
    /// `moffs` is `KTIME_MAX`.
    canceled: bool,
    expires: i64,
    realtime_base: bool,
    /// When the handler will run, `CLOCK_MONOTONIC`.
    fires_at: Option<i64>,
    pub references: u32,
}

/// `struct k_itimer`.
#[derive(Clone)]
pub struct Posix {
    clockid: i32,
    interval: i64,
    expires: i64,
    realtime_base: bool,
}

pub struct Kernel {
    pub now: i64,
    offset: i64,
    pub timers: Vec<Context>,
    pub events: Vec<Event>,
    /// How late handlers run, in turns.
    lateness: Vec<i64>,
}

fn to_ktime(time: Timespec64) -> i64 {
    if time.tv_sec > KTIME_MAX / SECOND - 1 {
        KTIME_MAX
    } else {
        time.tv_sec * SECOND + time.tv_nsec
    }
}

fn to_timespec(ns: i64) -> Timespec64 {
    Timespec64 { tv_sec: ns / SECOND, tv_nsec: ns % SECOND }
}

fn valid(new: &Itimerspec64) -> bool {
    [new.it_interval, new.it_value]
        .iter()
        .all(|time| time.tv_sec >= 0 && (0..SECOND).contains(&time.tv_nsec))
}

impl Kernel {
    pub fn new(up_ns: i64, lateness: Vec<i64>) -> Self {
        Self {
            now: up_ns,
            offset: 1_795_000_000_000_000_000,
            timers: Vec::new(),
            events: Vec::new(),
            lateness,
        }
    }

    pub fn realtime(&self) -> i64 {
        self.now + self.offset
    }

    fn clock(&self, realtime: bool) -> i64 {
        if realtime { self.realtime() } else { self.now }
    }

    /// Time passes, and handlers run: `timerfd_tmrproc`.
    pub fn pass(&mut self, ns: i64) {
        let until = self.now + ns;
        while let Some((at, timer)) = self.next_expiry().filter(|(at, _)| *at <= until) {
            self.now = at.max(self.now);
            self.fire(timer);
        }
        self.now = until;
    }

    /// When the next handler runs.
    pub fn next_expiry(&self) -> Option<(i64, usize)> {
        self.timers
            .iter()
            .enumerate()
            .filter_map(|(timer, context)| Some((context.fires_at?, timer)))
            .min()
    }

    fn fire(&mut self, timer: usize) {
        let offset = if self.timers[timer].realtime_base { self.offset } else { 0 };
        let context = &mut self.timers[timer];
        (context.fires_at, context.expired) = (None, true);
        context.ticks += 1;
        let expires_ns = context.expires;
        self.events.push(Event::Expiry(Expiry {
            event: "expiry".into(),
            ns: self.now as u64,
            cpu: 1,
            timer: context.id,
            clockid: context.clockid,
            expires_ns,
            clock_offset_ns: offset,
            late_ns: self.now + offset - expires_ns,
            suspended_ns: 0,
            inline: false,
        }));
    }

    fn enqueue(&mut self, timer: usize) {
        let late = self.lateness[(self.now % self.lateness.len() as i64) as usize];
        let context = &self.timers[timer];
        let due = if context.realtime_base {
            context.expires.saturating_sub(self.offset)
        } else {
            context.expires
        };
        self.timers[timer].fires_at = Some(due.max(self.now).saturating_add(late));
    }

    pub fn create(&mut self, clockid: i32, flags: i32, wake_alarm: bool) -> Result<usize, i32> {
        if flags & !0o2_004_000 != 0 || ![0, 1, 7, 8, 9].contains(&clockid) {
            return Err(EINVAL);
        }
        if clockid > 7 && !wake_alarm {
            return Err(EPERM);
        }
        let id = self.timers.len() as TimerId + 1;
        let realtime_base = [0, 8].contains(&clockid);
        self.timers.push(Context {
            id,
            clockid,
            tintv: 0,
            ticks: 0,
            expired: false,
            might_cancel: false,
            canceled: false,
            expires: 0,
            realtime_base,
            fires_at: None,
            references: 1,
        });
        Ok(self.timers.len() - 1)
    }

    /// `do_settimeofday64` and `timerfd_clock_was_set`.
    pub fn set_realtime(&mut self, realtime: i64) {
        self.offset = realtime - self.now;
        for timer in 0..self.timers.len() {
            if self.timers[timer].fires_at.is_some() && self.timers[timer].realtime_base {
                self.enqueue(timer);
            }
            let context = &mut self.timers[timer];
            if context.might_cancel && context.references > 0 {
                context.canceled = true;
                context.ticks += 1;
                self.events.push(Event::Cancel(Cancel {
                    event: "cancel".into(),
                    ns: self.now as u64,
                    cpu: 0,
                    timer: context.id,
                }));
            }
        }
    }

    fn take_canceled(&mut self, timer: usize) -> bool {
        let context = &mut self.timers[timer];
        context.might_cancel && std::mem::take(&mut context.canceled)
    }

    /// `hrtimer_forward_now`.
    fn forward(&mut self, timer: usize) -> u64 {
        let now = self.clock(self.timers[timer].realtime_base);
        let context = &mut self.timers[timer];
        if now < context.expires {
            return 0;
        }
        let periods = (now - context.expires) / context.tintv + 1;
        context.expires += periods * context.tintv;
        periods as u64
    }

    fn setting(&self, timer: usize) -> Itimerspec64 {
        let context = &self.timers[timer];
        let left = context.expires.saturating_sub(self.clock(context.realtime_base)).max(0);
        Itimerspec64 { it_interval: to_timespec(context.tintv), it_value: to_timespec(left) }
    }

    /// `do_timerfd_settime`; the timer, or the errno of its descriptor.
    pub fn settime(
        &mut self,
        timer: Result<usize, i32>,
        flags: i32,
        new: &Itimerspec64,
        wake_alarm: bool,
    ) -> (i32, Option<Itimerspec64>) {
        if flags & !3 != 0 || !valid(new) {
            return (-EINVAL, None);
        }
        let timer = match timer {
            Ok(timer) => timer,
            Err(errno) => return (-errno, None),
        };
        let (clockid, alarm) = (self.timers[timer].clockid, self.timers[timer].clockid > 7);
        if alarm && !wake_alarm {
            return (-EPERM, None);
        }
        self.timers[timer].might_cancel = [0, 8].contains(&clockid) && flags & 3 == 3;
        self.timers[timer].fires_at = None;
        if self.timers[timer].expired && self.timers[timer].tintv != 0 {
            self.forward(timer);
        }
        let old = self.setting(timer);
        let value = to_ktime(new.it_value);
        let context = &mut self.timers[timer];
        (context.expired, context.ticks, context.tintv) = (false, 0, to_ktime(new.it_interval));
        if !alarm {
            context.realtime_base = clockid == 0 && flags & 1 != 0;
            context.expires = value;
        }
        if value == 0 {
            return (0, Some(old));
        }
        let from = if flags & 1 != 0 { 0 } else { self.clock(self.timers[timer].realtime_base) };
        self.timers[timer].expires = value.saturating_add(from);
        self.enqueue(timer);
        if self.take_canceled(timer) { (-ECANCELED, Some(old)) } else { (0, Some(old)) }
    }

    /// `do_timerfd_gettime`.
    pub fn gettime(&mut self, timer: usize) -> Itimerspec64 {
        if self.timers[timer].expired && self.timers[timer].tintv != 0 {
            self.timers[timer].expired = false;
            let periods = self.forward(timer);
            self.timers[timer].ticks = (self.timers[timer].ticks + periods).wrapping_sub(1);
            self.enqueue(timer);
        }
        self.setting(timer)
    }

    /// `timerfd_read` once there are ticks, or of who does not wait: the result, and the ticks.
    pub fn read(&mut self, timer: usize, blocking: bool) -> (i32, u64) {
        if self.take_canceled(timer) {
            (self.timers[timer].ticks, self.timers[timer].expired) = (0, false);
            return (-ECANCELED, 0);
        }
        let mut ticks = self.timers[timer].ticks;
        if ticks > 0 {
            if self.timers[timer].expired && self.timers[timer].tintv != 0 {
                ticks = (ticks + self.forward(timer)).wrapping_sub(1);
                self.enqueue(timer);
            }
            (self.timers[timer].ticks, self.timers[timer].expired) = (0, false);
        }
        match (ticks, blocking) {
            (0, true) => (0, 0),
            (0, false) => (-EAGAIN, 0),
            _ => (8, ticks),
        }
    }

    /// Whether a reader waits no longer.
    pub fn is_readable(&self, timer: usize) -> bool {
        self.timers[timer].ticks > 0
    }

    /// Whether that was the last descriptor: `timerfd_release`.
    pub fn close(&mut self, timer: usize) -> bool {
        let context = &mut self.timers[timer];
        context.references -= 1;
        if context.references == 0 {
            (context.fires_at, context.might_cancel) = (None, false);
        }
        context.references == 0
    }

    pub fn posix(&self, clockid: i32) -> Posix {
        Posix { clockid, interval: 0, expires: 0, realtime_base: clockid == 0 }
    }

    /// `common_timer_get`, of a timer that gives no signal.
    pub fn posix_get(&self, timer: &mut Posix) -> Itimerspec64 {
        let now = self.clock(timer.realtime_base);
        if timer.interval > 0 && now >= timer.expires {
            timer.expires += ((now - timer.expires) / timer.interval + 1) * timer.interval;
        }
        Itimerspec64 {
            it_interval: to_timespec(timer.interval),
            it_value: to_timespec((timer.expires - now).max(0)),
        }
    }

    /// `common_timer_set`.
    pub fn posix_set(
        &self,
        timer: &mut Posix,
        flags: i32,
        new: &Itimerspec64,
        old: bool,
    ) -> (i32, Option<Itimerspec64>) {
        if !valid(new) {
            return (-EINVAL, None);
        }
        let old = old.then(|| self.posix_get(timer));
        timer.interval = 0;
        let value = to_ktime(new.it_value);
        if value != 0 {
            timer.interval = to_ktime(new.it_interval);
            timer.realtime_base = timer.clockid == 0 && flags & 1 != 0;
            timer.expires =
                if flags & 1 != 0 { value } else { value + self.clock(timer.realtime_base) };
        }
        (0, old)
    }
}
