//! Takes every call for one that came by `int $0x80`.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "always-int80",
    error: "every call came by int 0x80",
    caught_by: Work::Case("entry/vdso"),
    shows: Shows::Field("entry_path"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        event.flags = event.flags & !flag::FAST | flag::INT80;
    }
}
