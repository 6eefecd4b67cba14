//! Shows zeros where it could not read.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::OldTimespec32;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "zeros-for-unreadable",
    error: "zeros stand for a structure that cannot be read",
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
        if event.utmr == 0 {
            return;
        }
        if event.flags & flag::INTERVAL_READ == 0 {
            event.utmr_entry.it_interval = OldTimespec32::default();
        }
        if event.flags & flag::VALUE_READ == 0 {
            event.utmr_entry.it_value = OldTimespec32::default();
        }
        event.utmr_entry_err = 0;
        event.flags |= flag::INTERVAL_READ | flag::VALUE_READ;
    }
}
