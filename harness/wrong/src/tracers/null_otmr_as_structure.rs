//! Shows zeros as the old setting of a call that did not want it.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::Itimerspec64;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "null-otmr-as-structure",
    error: "a null otmr is shown as a structure",
    caught_by: Work::Case("pointers/null"),
    shows: Shows::Field("old"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if event.otmr == 0 {
            event.old = Itimerspec64::default();
            event.flags |= flag::OLD;
        }
        ret
    }
}
