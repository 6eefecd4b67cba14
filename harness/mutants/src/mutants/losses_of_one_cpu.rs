//! Counts the losses of the first CPU only.

#[cfg(target_arch = "bpf")]
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
#[cfg(target_arch = "bpf")]
use settime32_abi::event::Counter;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "losses-of-one-cpu",
    error: "losses of one CPU only are counted",
    caught_by: Work::Starved { calls: 10_000 },
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn counts(_counter: Counter) -> bool {
        // SAFETY: the helper only reads the CPU's number.
        unsafe { bpf_get_smp_processor_id() == 0 }
    }
}
