//! Widens the result without its sign, so that no error is one.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "result-zero-extended",
    error: "the result is zero-extended",
    caught_by: Work::Case("flags/each-bit"),
    shows: Shows::Field("ret"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        event.ret = i64::from(event.ret as u32);
    }
}
