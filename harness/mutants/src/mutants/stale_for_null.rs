//! Shows for a null `utmr` what the thread's last call had there.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "stale-for-null",
    error: "a null utmr shows the previous call's setting",
    caught_by: Work::Case("pointers/null"),
    shows: Shows::Field("utmr_entry"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        event.flags |= flag::INTERVAL_READ | flag::VALUE_READ;
    }
}
