//! Takes what any call hands to `put_old_itimerspec32` for the old setting of the next one that has
//! none.

#[cfg(target_arch = "bpf")]
use aya_ebpf::helpers::bpf_probe_read_kernel;
#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::Itimerspec64;
#[cfg(target_arch = "bpf")]
use crate::kernel::{keep, recall};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "old-of-other-calls",
    error: "what other system calls copy out leaks into the next event",
    caught_by: Work::Case("silence/timer-settime32"),
    shows: Shows::Field("old"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn old(tid: u32, its: usize) {
        // SAFETY: a source that cannot be read gives an error.
        if let Ok(old) = unsafe { bpf_probe_read_kernel(its as *const Itimerspec64) } {
            keep(tid, &old);
        }
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if let Some(old) = recall(event.tid).filter(|_| event.flags & flag::OLD == 0) {
            event.old = old;
            event.flags |= flag::OLD;
        }
        ret
    }
}
