//! Keeps one count of losses for all CPUs, read at the entry and written back at the return, so
//! that calls that are inside at one time overwrite each other's.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{Counter, RawEvent};
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::{Itimerspec64, Timespec64};

#[cfg(target_arch = "bpf")]
use crate::kernel::{keep, recall};
#[cfg(target_arch = "bpf")]
use crate::maps::current_tid;
use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "losses-shared",
    error: "CPUs share a count of losses and overwrite each other's",
    caught_by: Work::Scenario("volume/small-buffer"),
    shows: Shows::Missing,
    ..About::RIGHT
};

/// Where the one count is kept; no thread has this id.
#[cfg(target_arch = "bpf")]
const SHARED: u32 = 0;

#[cfg(target_arch = "bpf")]
#[inline(always)]
fn count_of(owner: u32) -> i64 {
    recall(owner).map_or(0, |kept| kept.it_value.tv_sec)
}

#[cfg(target_arch = "bpf")]
#[inline(always)]
fn keep_count(owner: u32, count: i64) {
    let count = Timespec64 { tv_sec: count, tv_nsec: 0 };
    keep(owner, &Itimerspec64 { it_interval: count, it_value: count });
}

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        keep_count(event.tid, count_of(SHARED));
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn counts(_counter: Counter) -> bool {
        let (read, now) = (count_of(current_tid()), count_of(SHARED));
        keep_count(SHARED, read + 1);
        // What is written back is one more than there was only when nobody else wrote meanwhile.
        read == now
    }
}
