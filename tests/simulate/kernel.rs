//! The kernel's part of the simulation, function by function after `fs/timerfd.c` and
//! `kernel/time/hrtimer.c`, on one CPU and with instants instead of interrupts. [`Bug`]s are
//! kernels that are wrong on purpose.

use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

const KTIME_MAX: i64 = i64::MAX;
const EPERM: i32 = 1;
const EBADF: i32 = 9;
const EFAULT: i32 = 14;
const EINVAL: i32 = 22;
const ECANCELED: i32 = 125;
const CLOCK_REALTIME: i32 = 0;
const CLOCK_REALTIME_ALARM: i32 = 8;
const CLOCK_BOOTTIME_ALARM: i32 = 9;
const ABSTIME: i32 = 1;
const CANCEL_ON_SET: i32 = 2;

/// A way in which a kernel can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A disarmed timer forgets its interval.
    DisarmDropsInterval,
    /// `ECANCELED` leaves the timer unarmed.
    CanceledIsNotArmed,
    /// `ECANCELED` writes the old setting.
    CanceledWritesOld,
    /// The descriptor is looked at before the flags and times.
    DescriptorFirst,
    /// An invalid interval is accepted when the value is zero.
    DisarmIgnoresInterval,
    /// An expired periodic timer is not forwarded but counted from the start.
    WholeIntervalLeft,
    /// A relative timer is started 50 µs early.
    StartedEarly,
    /// Interval and value are written in the wrong places.
    OldIsSwapped,
    /// The clock's setting is not noticed.
    ClockSetUnnoticed,
    /// Alarms are for everybody.
    AlarmsForAll,
    /// Disarming an alarm clears its expiry.
    AlarmForgetsExpiry,
    /// A fault while the old setting is written leaves the timer disarmed.
    FaultDisarms,
}

/// What a descriptor is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    Closed,
    Path,
    Other,
    Timer(usize),
}

/// `struct timerfd_ctx` with its `struct hrtimer`.
struct Context {
    clockid: i32,
    tintv: i64,
    moffs: i64,
    expired: bool,
    might_cancel: bool,
    /// `node.expires`.
    expires: i64,
    /// The timer's base is that of `CLOCK_REALTIME`.
    realtime_base: bool,
    enqueued: bool,
    /// How late the callback will run.
    latency: i64,
}

pub struct Kernel {
    monotonic: i64,
    /// `offs_real`.
    offset: i64,
    timers: Vec<Context>,
    bug: Option<Bug>,
    /// The caller has `CAP_WAKE_ALARM`.
    pub wake_alarm: bool,
}

impl Kernel {
    pub fn new(up_ns: i64, bug: Option<Bug>) -> Self {
        Self {
            monotonic: up_ns,
            offset: 1_795_000_000_000_000_000,
            timers: Vec::new(),
            bug,
            wake_alarm: true,
        }
    }

    pub fn monotonic(&self) -> i64 {
        self.monotonic
    }

    pub fn realtime(&self) -> i64 {
        self.monotonic + self.offset
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Time passes, and callbacks run: `timerfd_tmrproc`.
    pub fn pass(&mut self, ns: i64) {
        self.monotonic += ns;
        for timer in &mut self.timers {
            let now =
                if timer.realtime_base { self.monotonic + self.offset } else { self.monotonic };
            if timer.enqueued && now >= timer.expires.saturating_add(timer.latency) {
                timer.enqueued = false;
                timer.expired = true;
            }
        }
    }

    /// `do_settimeofday64` and `timerfd_clock_was_set`.
    pub fn set_realtime(&mut self, realtime_ns: i64) {
        self.offset = realtime_ns - self.monotonic;
        if self.has(Bug::ClockSetUnnoticed) {
            return;
        }
        for timer in &mut self.timers {
            if timer.might_cancel && timer.moffs != self.offset {
                timer.moffs = KTIME_MAX;
            }
        }
    }

    pub fn timerfd_create(&mut self, clockid: i32) -> usize {
        self.timers.push(Context {
            clockid,
            tintv: 0,
            moffs: self.offset,
            expired: false,
            might_cancel: false,
            expires: 0,
            realtime_base: [CLOCK_REALTIME, CLOCK_REALTIME_ALARM].contains(&clockid),
            enqueued: false,
            latency: 0,
        });
        self.timers.len() - 1
    }

    /// The system call: the result, and what is written to `otmr`. `spend` says how long the next
    /// stretch takes.
    pub fn timerfd_settime32(
        &mut self,
        what: What,
        flags: i32,
        new: Option<OldItimerspec32>,
        spend: &mut dyn FnMut() -> i64,
    ) -> (i32, Option<OldItimerspec32>) {
        let Some(new) = new else { return (-EFAULT, None) };
        if self.has(Bug::DescriptorFirst) && what == What::Closed {
            return (-EBADF, None);
        }
        let valid =
            |time: OldTimespec32| time.tv_sec >= 0 && (0..1_000_000_000).contains(&time.tv_nsec);
        let disarm = new.it_value == OldTimespec32::default();
        let interval_passes =
            valid(new.it_interval) || (disarm && self.has(Bug::DisarmIgnoresInterval));
        if flags & !3 != 0 || !valid(new.it_value) || !interval_passes {
            return (-EINVAL, None);
        }
        let timer = match what {
            What::Closed | What::Path => return (-EBADF, None),
            What::Other => return (-EINVAL, None),
            What::Timer(timer) => timer,
        };
        if self.is_alarm(timer) && !self.wake_alarm && !self.has(Bug::AlarmsForAll) {
            return (-EPERM, None);
        }
        self.setup_cancel(timer, flags);
        self.pass(spend());
        // hrtimer_try_to_cancel: what has not fired by now never will.
        self.timers[timer].enqueued = false;
        let old = self.old_setting(timer, spend);
        self.pass(spend());
        let ret = self.setup(timer, flags, &new, spend());
        let write = ret == 0 || self.has(Bug::CanceledWritesOld);
        (ret, write.then_some(old))
    }

    fn is_alarm(&self, timer: usize) -> bool {
        [CLOCK_REALTIME_ALARM, CLOCK_BOOTTIME_ALARM].contains(&self.timers[timer].clockid)
    }

    /// What a kernel with [`Bug::FaultDisarms`] does when it cannot write the old setting.
    pub fn old_not_written(&mut self, what: What) {
        if let What::Timer(timer) = what
            && self.has(Bug::FaultDisarms)
        {
            (self.timers[timer].expires, self.timers[timer].enqueued) = (0, false);
        }
    }

    fn setup_cancel(&mut self, timer: usize, flags: i32) {
        let both = ABSTIME | CANCEL_ON_SET;
        self.timers[timer].might_cancel = [CLOCK_REALTIME, CLOCK_REALTIME_ALARM]
            .contains(&self.timers[timer].clockid)
            && flags & both == both;
    }

    fn now(&self, timer: usize) -> i64 {
        if self.timers[timer].realtime_base { self.realtime() } else { self.monotonic }
    }

    fn old_setting(&mut self, timer: usize, spend: &mut dyn FnMut() -> i64) -> OldItimerspec32 {
        if self.timers[timer].expired && self.timers[timer].tintv != 0 {
            let now = self.now(timer);
            let whole = self.has(Bug::WholeIntervalLeft);
            let context = &mut self.timers[timer];
            if now >= context.expires {
                let periods = (now - context.expires) / context.tintv + 1;
                context.expires += periods * context.tintv;
                if whole {
                    context.expires = now + context.tintv;
                }
            }
        }
        self.pass(spend() / 50);
        let remaining = (self.timers[timer].expires - self.now(timer)).max(0);
        let (it_interval, it_value) =
            (to_timespec(self.timers[timer].tintv), to_timespec(remaining));
        if self.has(Bug::OldIsSwapped) {
            return OldItimerspec32 { it_interval: it_value, it_value: it_interval };
        }
        OldItimerspec32 { it_interval, it_value }
    }

    fn setup(&mut self, timer: usize, flags: i32, new: &OldItimerspec32, latency: i64) -> i32 {
        let (monotonic, offset, bug, alarm) =
            (self.monotonic, self.offset, self.bug, self.is_alarm(timer));
        let context = &mut self.timers[timer];
        let texp = from_timespec(new.it_value);
        context.expired = false;
        context.tintv = from_timespec(new.it_interval);
        if !alarm {
            // hrtimer_init
            context.realtime_base = context.clockid == CLOCK_REALTIME && flags & ABSTIME != 0;
        }
        // alarm_init leaves it alone, alarm_start sets it.
        if !alarm || texp != 0 || bug == Some(Bug::AlarmForgetsExpiry) {
            context.expires = texp;
        }
        if texp == 0 {
            if bug == Some(Bug::DisarmDropsInterval) {
                context.tintv = 0;
            }
            return 0;
        }
        // hrtimer_start
        if flags & ABSTIME == 0 {
            let early = bug == Some(Bug::StartedEarly);
            let now = if context.realtime_base { monotonic + offset } else { monotonic };
            context.expires += if early { now - 50_000 } else { now };
        }
        context.enqueued = true;
        // Now and then the callback is far too late.
        context.latency = if latency % 7 == 0 { latency * 200 } else { latency };
        // timerfd_canceled
        if context.might_cancel && context.moffs == KTIME_MAX {
            context.moffs = offset;
            if bug == Some(Bug::CanceledIsNotArmed) {
                (context.expires, context.enqueued) = (0, false);
            }
            return -ECANCELED;
        }
        0
    }
}

fn from_timespec(time: OldTimespec32) -> i64 {
    i64::from(time.tv_sec) * 1_000_000_000 + i64::from(time.tv_nsec)
}

/// `ktime_to_timespec64`, then the cut of `put_old_timespec32`.
fn to_timespec(ns: i64) -> OldTimespec32 {
    OldTimespec32 { tv_sec: (ns / 1_000_000_000) as i32, tv_nsec: (ns % 1_000_000_000) as i32 }
}
