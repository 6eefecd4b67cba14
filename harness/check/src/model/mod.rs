//! Predicts each call's outcome as the kernel's sources have it: the result, the old interval, and
//! the old value as far as the clock readings around the calls tell it. It knows nothing of
//! tracers.
//!
//! The rules were read in `fs/timerfd.c` and `kernel/time/` of 5.10 to 7.x, and each is named where
//! it is applied. It takes for granted: the initial time namespace, a guest that is never suspended
//! (`CLOCK_BOOTTIME` is `CLOCK_MONOTONIC`), high-resolution timers, `CLOCK_REALTIME` set by nobody
//! but the plan, all capabilities but what the plan takes away. Where chance decides (several
//! threads set one timer, another thread writes what a call reads) it says so, and follows what it
//! is told was seen.

pub mod lifecycle;
pub mod memory;
mod slots;
mod timer;

use std::collections::HashMap;

use settime32_abi::errno;
use settime32_abi::plan::{Call, Plan, Pointer, Step, threads_of};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32, OldTimespec32};

use slots::{Slot, Slots};
pub use timer::{Bounds, Remaining, Setting, Timeline};

/// `TFD_TIMER_ABSTIME` (`include/uapi/linux/timerfd.h`).
pub const TFD_TIMER_ABSTIME: i32 = 1;
/// `TFD_TIMER_CANCEL_ON_SET` (`include/uapi/linux/timerfd.h`).
pub const TFD_TIMER_CANCEL_ON_SET: i32 = 2;

/// Which rule decided a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// `get_old_itimerspec32` could not read `utmr`, null or not: `EFAULT`, before anything else is
    /// looked at.
    NoNewSetting,
    /// `do_timerfd_settime`: unknown flags, `EINVAL`.
    UnknownFlags,
    /// `do_timerfd_settime`: `itimerspec64_valid` refuses the interval, `EINVAL`.
    InvalidInterval,
    /// `do_timerfd_settime`: `itimerspec64_valid` refuses the value, `EINVAL`.
    InvalidValue,
    /// `timerfd_fget`: the descriptor is not open, `EBADF`.
    NotOpen,
    /// `timerfd_fget`: `fdget` does not give out `O_PATH` descriptors, `EBADF`.
    PathOnly,
    /// `timerfd_fget`: the descriptor is of no timer, `EINVAL`.
    NotATimer,
    /// `do_timerfd_settime`: an alarm clock without `CAP_WAKE_ALARM`, `EPERM`.
    NotPrivileged,
    /// `timerfd_setup`: `timerfd_canceled` says that the clock was set; `ECANCELED`, and the timer
    /// is armed.
    Canceled,
    /// `timerfd_setup` armed the timer.
    Armed,
    /// `timerfd_setup` left the timer stopped and kept the interval.
    Disarmed,
    /// As one of the two, but `put_old_itimerspec32` could not write all of `otmr`: `EFAULT`, and
    /// the timer stays set.
    OldNotWritten,
}

impl Rule {
    /// What the rule is, in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoNewSetting => "get_old_itimerspec32 cannot read utmr",
            Self::UnknownFlags => "do_timerfd_settime refuses unknown flags",
            Self::InvalidInterval => "do_timerfd_settime refuses an invalid interval",
            Self::InvalidValue => "do_timerfd_settime refuses an invalid value",
            Self::NotOpen => "timerfd_fget finds no open file",
            Self::PathOnly => "timerfd_fget does not take an O_PATH descriptor",
            Self::NotATimer => "timerfd_fget finds a file that is no timerfd",
            Self::NotPrivileged => "do_timerfd_settime asks for CAP_WAKE_ALARM",
            Self::Canceled => "timerfd_canceled: the clock was set",
            Self::Armed => "timerfd_setup arms the timer",
            Self::Disarmed => "timerfd_setup disarms the timer",
            Self::OldNotWritten => "put_old_itimerspec32 cannot write otmr",
        }
    }

    /// The result that goes with it: 0 or a negative errno.
    pub const fn ret(self) -> i32 {
        match self {
            Self::NoNewSetting | Self::OldNotWritten => -errno::EFAULT,
            Self::UnknownFlags | Self::InvalidInterval | Self::InvalidValue | Self::NotATimer => {
                -errno::EINVAL
            }
            Self::NotOpen | Self::PathOnly => -errno::EBADF,
            Self::NotPrivileged => -errno::EPERM,
            Self::Canceled => -errno::ECANCELED,
            Self::Armed | Self::Disarmed => 0,
        }
    }
}

/// What a call must give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The rule that decides; its [`Rule::ret`] is the result.
    pub rule: Rule,
    /// The old setting, which goes to `otmr` when that is not null; `None` when the call fails
    /// before.
    pub old: Option<Old>,
    /// How many bytes of it are written at `otmr`, from the first one on.
    pub written: usize,
    /// The old setting is one of several that were made side by side, and `old` says nothing of it.
    pub shared: Option<Shared>,
}

/// A timer whose setting chance decides: several threads set it, and nobody has since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// Tells it from other timers of the plan.
    pub timer: usize,
    /// Its interval before the threads.
    pub before: OldTimespec32,
    /// The call is one of the threads'; the first after them is not, and its old setting is the
    /// last one of theirs.
    pub in_threads: bool,
}

/// The old setting of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Old {
    /// `it_interval`, exactly.
    pub interval: OldTimespec32,
    /// `it_value`.
    pub remaining: Remaining,
    /// What the timer had been set to.
    pub setting: Setting,
}

/// The state of all timers of a plan while its steps are followed in order.
#[derive(Clone, Debug)]
pub struct Model {
    slots: Slots,
    timeline: Timeline,
    /// While a forked child runs: the step at which the parent goes on, and the parent's table and
    /// capability.
    parent: Option<(usize, Slots, bool)>,
    /// `CAP_WAKE_ALARM` is effective.
    wake_alarm: bool,
    timers: Vec<timer::Timer>,
    /// The step after the calls of the threads that run; 0 when none do.
    threads_until: usize,
    shared: Vec<Shared>,
}

impl Model {
    /// The state before the first step.
    pub fn new(timeline: Timeline) -> Self {
        Self {
            slots: Slots::default(),
            timeline,
            parent: None,
            wake_alarm: true,
            timers: Vec::new(),
            threads_until: 0,
            shared: Vec::new(),
        }
    }

    /// Whether step `index`, the next one, is done by a forked child. A fork's end is noticed here,
    /// so this is to be asked before every step.
    pub fn begin_step(&mut self, index: usize) -> bool {
        // The child had a table of its own but shared the timers (`dup_fd`, fs/file.c).
        if let Some((_, table, wake_alarm)) = self.parent.take_if(|(end, ..)| *end == index) {
            self.slots = table;
            self.wake_alarm = wake_alarm;
        }
        if index >= self.threads_until {
            self.threads_until = 0;
        }
        self.parent.is_some()
    }

    /// Follows the first of these steps, which is not a call; `index` is its place in the plan, and
    /// the others are those behind it.
    pub fn follow(&mut self, index: usize, steps: &[Step]) {
        let Some(step) = steps.first() else { return };
        match *step {
            Step::Open { slot, kind } => self.slots.open(slot, kind, &mut self.timers),
            Step::SetClock => self.timers.iter_mut().for_each(timer::Timer::clock_was_set),
            Step::Fork { .. } => {
                self.parent = Some((index + 1 + step.inner(), self.slots.clone(), self.wake_alarm))
            }
            Step::WakeAlarm { allowed } => self.wake_alarm = allowed,
            // `timerfd_poll` changes nothing, silent calls have timers of their own, and no answer
            // depends on the CPU.
            Step::Wait { .. } | Step::Silent(_) | Step::Call(_) | Step::Pin { .. } => {}
            // Plans of lifecycles have a model of their own.
            Step::Lifecycle(_) => {}
            Step::Threads { .. } => {
                self.start_threads(steps);
                self.threads_until = index + 1 + step.inner();
            }
        }
    }

    /// Follows the start of threads by the first of these steps. Each thread's calls are to be
    /// followed one after the other, and the threads in any order.
    fn start_threads(&mut self, steps: &[Step]) {
        let mut setters: HashMap<usize, usize> = HashMap::new();
        for (thread, calls) in threads_of(steps).enumerate() {
            for call in calls {
                if let Slot::Timer(timer) = self.slots.get(call.slot)
                    && *setters.entry(timer).or_insert(thread) != thread
                {
                    self.share(timer);
                }
            }
        }
    }

    fn share(&mut self, timer: usize) {
        if !self.shared.iter().any(|shared| shared.timer == timer) {
            self.shared.push(Shared {
                timer,
                before: self.timers[timer].interval(),
                in_threads: true,
            });
        }
    }

    /// What the last call on this slot set is not known: it was raced, and its event is lost.
    pub fn forget(&mut self, slot: u8) {
        if let Slot::Timer(timer) = self.slots.get(slot) {
            self.share(timer);
        }
    }

    /// Follows a call that ran within `span` of `CLOCK_MONOTONIC`, nanoseconds, and says what it
    /// must have given.
    pub fn call(&mut self, call: &Call, span: Bounds) -> Outcome {
        let (timer, new) = match self.timer_or_failure(call) {
            Err(rule) => return Outcome { rule, old: None, written: 0, shared: None },
            Ok(found) => found,
        };
        let shared = self.shared.iter().copied().find(|shared| shared.timer == timer);
        let (rule, old) = self.timers[timer].settime(call.flags, &new, span, &self.timeline);
        if rule.ret() != 0 {
            return Outcome { rule, old: None, written: 0, shared: None };
        }
        let written = match call.otmr {
            Pointer::Null => 0,
            Pointer::Valid => ITIMERSPEC32_SIZE,
            _ => memory::bytes_written(call),
        };
        let whole = call.otmr == Pointer::Null || written == ITIMERSPEC32_SIZE;
        let in_threads = self.threads_until > 0;
        let shared = shared.map(|shared| Shared { in_threads, ..shared });
        if !in_threads {
            // Its setting is known again.
            self.shared.retain(|other| other.timer != timer);
        }
        Outcome {
            rule: if whole { rule } else { Rule::OldNotWritten },
            old: Some(old).filter(|_| shared.is_none()),
            written,
            shared,
        }
    }

    /// The checks before a timer is touched, in the order of `SYSCALL_DEFINE4(timerfd_settime32)`
    /// and `do_timerfd_settime`.
    fn timer_or_failure(&self, call: &Call) -> Result<(usize, OldItimerspec32), Rule> {
        let new = memory::new_setting(call).ok_or(Rule::NoNewSetting)?;
        if call.flags & !(TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET) != 0 {
            return Err(Rule::UnknownFlags);
        }
        // `itimerspec64_valid` looks at both, also when the call would only disarm.
        if !new.it_interval.is_valid() {
            return Err(Rule::InvalidInterval);
        }
        if !new.it_value.is_valid() {
            return Err(Rule::InvalidValue);
        }
        match self.slots.get(call.slot) {
            Slot::Closed => Err(Rule::NotOpen),
            Slot::Path => Err(Rule::PathOnly),
            Slot::Other => Err(Rule::NotATimer),
            Slot::Timer(timer) if self.timers[timer].is_alarm() && !self.wake_alarm => {
                Err(Rule::NotPrivileged)
            }
            Slot::Timer(timer) => Ok((timer, new)),
        }
    }
}

/// Follows a whole plan, of which call number `n` ran within `span(n)`; for those who want to know
/// what a plan reaches.
pub fn outcomes(
    plan: &Plan,
    timeline: Timeline,
    mut span: impl FnMut(usize) -> Bounds,
) -> Vec<Outcome> {
    let mut model = Model::new(timeline);
    let mut outcomes = Vec::new();
    for (index, step) in plan.steps.iter().enumerate() {
        model.begin_step(index);
        match step {
            Step::Call(call) => outcomes.push(model.call(call, span(outcomes.len()))),
            _ => model.follow(index, &plan.steps[index..]),
        }
    }
    outcomes
}

#[cfg(test)]
mod tests;
