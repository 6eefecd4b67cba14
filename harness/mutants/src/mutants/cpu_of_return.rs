//! Asks for the CPU when a call returns.

#[cfg(target_arch = "bpf")]
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "cpu-of-return",
    error: "the CPU is that of the return",
    caught_by: Work::Case("cpus/moved"),
    shows: Shows::Field("cpu"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        // SAFETY: the helper only reads the CPU's number.
        event.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
        ret
    }
}
