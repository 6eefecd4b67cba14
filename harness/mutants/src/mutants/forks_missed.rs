//! Follows the first process that calls, and not its children.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::{Itimerspec64, Timespec64};
#[cfg(target_arch = "bpf")]
use crate::kernel::{DROPPED, keep, recall};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "forks-missed",
    error: "calls of forked children are not reported",
    caught_by: Work::Case("fds/after-fork"),
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        // Under a number that no process has.
        let first = recall(0).map_or(0, |first| first.it_interval.tv_sec as u32);
        if first == 0 {
            let pid = Timespec64 { tv_sec: event.pid.into(), tv_nsec: 0 };
            keep(0, &Itimerspec64 { it_interval: pid, it_value: pid });
        } else if first != event.pid {
            event.flags |= DROPPED;
        }
    }
}
