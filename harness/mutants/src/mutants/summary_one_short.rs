//! Does not count the first event.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::Summary;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "summary-one-short",
    error: "the summary says one event less than there was",
    caught_by: Work::Case("values/edges"),
    shows: Shows::Summary("reported"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn summary(&mut self, summary: &mut Summary) {
        summary.reported -= 1;
    }
}
