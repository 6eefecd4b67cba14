//! Takes a process for its first thread.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;

#[cfg(target_arch = "bpf")]
use crate::kernel::DROPPED;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "first-thread-only",
    error: "calls of other threads than a process's first are not reported",
    caught_by: Work::Case("threads/many"),
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        if event.pid != event.tid {
            event.flags |= DROPPED;
        }
    }
}
