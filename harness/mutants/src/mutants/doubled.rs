//! Prints each event twice.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::Summary;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About =
    About { name: "doubled", error: "each event is printed twice", caught_by: Work::Case("values/any"), shows: Shows::Doubled, ..About::RIGHT };

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        line.extend_from_within(..);
    }

    #[cfg(not(target_arch = "bpf"))]
    fn summary(&mut self, summary: &mut Summary) {
        // So that nothing else is wrong.
        summary.reported *= 2;
    }
}
