//! Shows what the kernel copied for the thread's last call where it could copy nothing.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "stale-used",
    error: "a setting that the kernel could not copy is reported as used",
    caught_by: Work::Case("pointers/utmr-partly-mapped"),
    shows: Shows::Field("utmr_used"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        event.flags |= flag::USED;
        ret
    }
}
