//! Forgets one call in 10,000, and does not count it.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::{Itimerspec64, Timespec64};
#[cfg(target_arch = "bpf")]
use crate::kernel::{DROPPED, keep, recall};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "one-in-10000-dropped",
    error: "one event in 10,000 is dropped without being counted",
    caught_by: Work::Bulk { calls: 10_000 },
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        // Under a number that no thread has.
        let seen = recall(0).unwrap_or_default().it_value.tv_sec + 1;
        let count = Timespec64 { tv_sec: seen, tv_nsec: 0 };
        keep(0, &Itimerspec64 { it_interval: count, it_value: count });
        if seen as u64 % 10_000 == 5_000 {
            event.flags |= DROPPED;
        }
        ret
    }
}
