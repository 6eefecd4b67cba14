//! Says that the kernel used what the probe read at entry, where it could read it.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "entry-as-used",
    error: "the setting read at entry is reported as the one used",
    caught_by: Work::Case("threads/toctou-on-purpose"),
    shows: Shows::Field("utmr_used"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if event.flags & flag::INTERVAL_READ != 0 {
            event.utmr_used.it_interval = event.utmr_entry.it_interval;
        }
        if event.flags & flag::VALUE_READ != 0 {
            event.utmr_used.it_value = event.utmr_entry.it_value;
        }
        ret
    }
}
