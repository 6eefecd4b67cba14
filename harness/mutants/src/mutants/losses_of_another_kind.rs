//! Takes a full buffer for a full table of calls in flight.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::Summary;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "losses-of-another-kind",
    error: "what the buffer had no room for is counted as another loss",
    caught_by: Work::Scenario("volume/small-buffer"),
    shows: Shows::Said("are not counted as such"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn summary(&mut self, summary: &mut Summary) {
        summary.lost.in_flight += std::mem::take(&mut summary.lost.buffer);
    }
}
