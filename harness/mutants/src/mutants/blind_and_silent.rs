//! Attaches, and takes that for seeing.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::Summary;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "blind-and-silent",
    error: "that the probes do not see is neither looked for nor told",
    caught_by: Work::Scenario("field/blind-from-begin"),
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn looks(&self) -> bool {
        false
    }

    #[cfg(not(target_arch = "bpf"))]
    fn summary(&mut self, summary: &mut Summary) {
        summary.blind.clear();
    }
}
