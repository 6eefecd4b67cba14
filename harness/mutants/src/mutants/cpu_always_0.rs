//! Never asks on which CPU a call is.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "cpu-always-0",
    error: "the CPU is always 0",
    caught_by: Work::Bulk { calls: 20_000 },
    shows: Shows::Field("cpu"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        event.cpu = 0;
    }
}
