//! Takes each call for one of a 64-bit program.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::RelatedCall;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::Abi;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-i386-as-native",
    error: "calls of 32-bit programs are told as native",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Field("abi"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn related(&mut self, call: &mut RelatedCall) -> bool {
        call.abi = Abi::X86_64;
        true
    }
}
