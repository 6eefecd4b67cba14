//! Takes every caller of the i386 entry for an i386 process.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "abi-always-i386",
    error: "every caller is an i386 process",
    caught_by: Work::Case("entry/int80-from-64bit"),
    shows: Shows::Field("abi"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        event.flags &= !flag::CALLER_64BIT;
    }
}
