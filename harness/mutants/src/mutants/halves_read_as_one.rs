//! Reads both halves at once, and so has none where one cannot be read.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "halves-read-as-one",
    error: "one unreadable half hides the other",
    caught_by: Work::Case("pointers/not-resident"),
    shows: Shows::Field("utmr_entry"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        let both = flag::INTERVAL_READ | flag::VALUE_READ;
        if event.flags & both != both {
            event.flags &= !both;
        }
    }
}
