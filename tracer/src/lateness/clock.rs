//! Why a timer may be late though the kernel was not: its clock was set, or the machine slept. Both
//! are told by how far the timer's clock is ahead of `CLOCK_MONOTONIC`, which nothing else changes.

use std::collections::VecDeque;

/// The kernel tells other timers of a clock that is set (`timerfd_clock_was_set`) once it has made
/// the timers fire that have become due (`clock_was_set`, `kernel/time/hrtimer.c`), or after that
/// (`clock_was_set_delayed`, `timerfd_resume`).
const MOST_UNTIL_TOLD_NS: u64 = 1_000_000_000;
/// The same where an earlier setting explains the clock as well.
const FEW_UNTIL_TOLD_NS: u64 = 20_000_000;
/// Settings of clocks that are kept in mind.
const MOST_SETTINGS: usize = 64;

/// A timer's clock at some time, as the kernel had it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ns: u64,
    /// How far the timer's clock is ahead of it.
    pub offset_ns: i64,
    /// What the machine had slept.
    pub suspended_ns: u64,
}

/// What made a timer due, beside time going by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Nothing.
    None,
    /// The machine slept so long, and the timer came due meanwhile.
    Slept(u64),
    /// The clock was set by so much, and the timer was due before that by what the clock is now.
    Set(i64),
    /// Its clock jumped, and it is not known whether it came of that.
    Unknown,
}

/// When clocks were set, or the machine woke.
#[derive(Debug, Default)]
pub struct Settings {
    /// The last of them in ascending order, as the kernel had told timers.
    told_ns: VecDeque<u64>,
}

impl Settings {
    /// A clock was set.
    pub fn add(&mut self, ns: u64) {
        let at = self.told_ns.partition_point(|before| *before < ns);
        self.told_ns.insert(at, ns);
        if self.told_ns.len() > MOST_SETTINGS {
            self.told_ns.pop_front();
        }
    }

    /// Why a timer that was due then fired at `fired`, when its clock was last read at `before`.
    /// `None` while that may still come out: until `now_ns`, which is the end of the tracing when
    /// it is `None`.
    pub fn cause(
        &self,
        due_ns: i64,
        fired: Reading,
        before: Option<Reading>,
        now_ns: Option<u64>,
    ) -> Option<Cause> {
        let late_since = due_ns.saturating_sub(fired.offset_ns);
        let may_come =
            |longest: u64| now_ns.is_some_and(|now| now <= fired.ns.saturating_add(longest));
        let comes = |longest: u64| {
            self.told_ns
                .iter()
                .any(|told| (fired.ns..=fired.ns.saturating_add(longest)).contains(told))
        };
        let Some(before) = before else {
            let is_suspect = |told: &u64| late_since <= told.cast_signed() && *told <= fired.ns;
            return match () {
                () if fired.offset_ns == 0 => Some(Cause::None),
                () if self.told_ns.iter().any(is_suspect) || comes(FEW_UNTIL_TOLD_NS) => {
                    Some(Cause::Unknown)
                }
                () => (!may_come(FEW_UNTIL_TOLD_NS)).then_some(Cause::None),
            };
        };
        let moved = fired.offset_ns.wrapping_sub(before.offset_ns);
        if moved == 0 {
            return Some(Cause::None);
        }
        let slept = fired.suspended_ns.saturating_sub(before.suspended_ns);
        let step = moved.wrapping_sub(slept.cast_signed());
        let last = self.told_ns.iter().copied().rfind(|told| (before.ns..=fired.ns).contains(told));
        let longest = if last.is_some() { FEW_UNTIL_TOLD_NS } else { MOST_UNTIL_TOLD_NS };
        let jumped = if late_since <= last.unwrap_or(before.ns).cast_signed() {
            last.or(Some(before.ns))
        } else {
            None
        };
        // It fired while the clock was being set, which is to be told yet; or when it had just been
        // set back.
        let jumped = jumped.or_else(|| comes(longest).then_some(fired.ns));
        match jumped {
            Some(at_ns) => {
                let by_sleep = slept > 0 && late_since.saturating_add(step) <= at_ns.cast_signed();
                Some(if by_sleep || step == 0 { Cause::Slept(slept) } else { Cause::Set(step) })
            }
            None if may_come(longest) => None,
            None => Some(if last.is_some() { Cause::None } else { Cause::Unknown }),
        }
    }
}

#[cfg(test)]
mod tests;
