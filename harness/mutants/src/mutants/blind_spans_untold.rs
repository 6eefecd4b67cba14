//! Notices that it is blind, and keeps it to itself.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::Summary;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "blind-spans-untold",
    error: "spans in which it was blind are not in the summary",
    caught_by: Work::Scenario("field/switch-thrown"),
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn summary(&mut self, summary: &mut Summary) {
        summary.blind.clear();
    }
}
