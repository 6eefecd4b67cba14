//! POSIX timers that give no signal, after `common_timer_set` and `common_timer_get`
//! (`kernel/time/posix-timers.c`).

use settime32_abi::plan::Clock;
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32};

use super::timer::{Answer, Now, to_ktime, to_timespec};
use super::{Wrong, wrong};
use crate::model::timer::{Bounds, SLACK_NS};

/// `TIMER_ABSTIME` (`include/uapi/linux/time.h`).
const TIMER_ABSTIME: i32 = 1;

/// `struct k_itimer`.
#[derive(Clone, Debug)]
pub(super) struct Posix {
    pub id: i32,
    clock: Clock,
    interval: i64,
    /// `node.expires`; `None` is 0.
    node: Option<Bounds>,
    /// What is left of its last arming is told of a timer that gives no signal, though it was
    /// disarmed since; 6.18 and older kernels do so, and 7.3 tells nothing.
    disarmed: bool,
    realtime: bool,
}

impl Posix {
    /// `timer_create`.
    pub(super) fn new(id: i32, clock: Clock) -> Self {
        Self {
            id,
            clock,
            interval: 0,
            node: None,
            disarmed: false,
            realtime: clock == Clock::Realtime,
        }
    }

    /// `common_timer_get`; gives what was handed out before it was cut.
    pub(super) fn get(
        &mut self,
        found: OldItimerspec32,
        now: &Now,
        out: &mut Vec<Wrong>,
    ) -> Option<Itimerspec64> {
        let Bounds { low, high } = if self.realtime { now.realtime } else { now.monotonic };
        let now = Bounds::new(low.saturating_sub(SLACK_NS), high.saturating_add(SLACK_NS));
        let whole = to_timespec(self.interval);
        let interval = whole.cut();
        if found.it_interval != interval {
            out.push(wrong(
                "out_after",
                format!("an interval of {interval:?}"),
                format!("{found:?}"),
            ));
        }
        let guess = self.node.map_or(0, |node| node.high.saturating_sub(now.low)).max(0);
        let fits = Answer::Cut(found)
            .lefts([guess, self.interval])
            .into_iter()
            .find(|left| self.take_left(*left, now));
        if fits.is_none() {
            let (node, interval) = (self.node, self.interval);
            out.push(wrong(
                "out_after",
                format!("what is left at {now:?} of one due at {node:?}, each {interval}"),
                format!("{found:?}"),
            ));
        }
        fits.map(|left| Itimerspec64 { it_interval: whole, it_value: to_timespec(left) })
    }

    /// Whether so much may be left; the node is then where that says.
    fn take_left(&mut self, left: i64, now: Bounds) -> bool {
        let Some(node) = self.node else { return left == 0 };
        if self.disarmed && left == 0 {
            return true;
        }
        let range =
            Bounds::new(node.low.saturating_sub(now.high), node.high.saturating_sub(now.low));
        if self.interval == 0 {
            return (left == 0 && range.low <= 0)
                || (left > 0 && range.low <= left && left <= range.high);
        }
        if left > 0 && range.low <= left && left <= range.high {
            return true;
        }
        // It is forwarded to behind the one time that is read.
        let due = node.low <= now.high && left > 0 && left <= self.interval;
        if due {
            let (next, interval) = (
                Bounds::new(now.low.saturating_add(left), now.high.saturating_add(left)),
                i128::from(self.interval),
            );
            // A multiple of the interval away from where it was.
            let away = |from: i64, to: i64| i128::from(to) - i128::from(from);
            let (least, most) = (away(node.high, next.low), away(node.low, next.high));
            let periods = most.div_euclid(interval);
            if periods < 1 || periods * interval < least {
                return false;
            }
            self.node = Some(next);
        }
        due
    }

    /// `common_timer_set` and `common_hrtimer_arm`.
    pub(super) fn set(&mut self, flags: i32, new: &Itimerspec64, now: &Now) {
        let value = to_ktime(new.it_value);
        self.interval = 0;
        self.disarmed = value == 0;
        if self.disarmed {
            return;
        }
        self.interval = to_ktime(new.it_interval);
        let absolute = flags & TIMER_ABSTIME != 0;
        self.realtime = self.clock == Clock::Realtime && absolute;
        let from = if self.realtime { now.realtime } else { now.monotonic };
        self.node = Some(match absolute {
            true => Bounds::exactly(value),
            false => Bounds::new(
                from.low.saturating_add(value - SLACK_NS),
                from.high.saturating_add(value).saturating_add(SLACK_NS),
            ),
        });
    }
}
