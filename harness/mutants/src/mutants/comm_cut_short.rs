//! Makes room for a NUL that the kernel does not count among the 15 bytes of a name.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{COMM_LEN, RawEvent};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "comm-cut-short",
    error: "the thread's name lacks its last byte",
    caught_by: Work::Case("values/edges"),
    shows: Shows::Field("comm"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        event.comm[COMM_LEN - 2] = 0;
    }
}
