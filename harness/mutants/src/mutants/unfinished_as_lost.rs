//! Takes a call that is inside the kernel when tracing ends for one whose return was passed over.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::{RawEvent, flag};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "unfinished-as-lost",
    error: "a call that is still inside at the end is reported as one whose result was lost",
    caught_by: Work::Scenario("field/inside-at-end"),
    shows: Shows::Said("unfinished"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        if event.flags & flag::RETURNED == 0 {
            event.flags |= flag::RESULT_LOST;
        }
    }
}
