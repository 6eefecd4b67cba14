//! Says nothing of calls that found the buffer full.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::output::{Lost, Summary};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "losses-not-counted",
    error: "losses are not reported",
    caught_by: Work::Starved { calls: 10_000 },
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn summary(&mut self, summary: &mut Summary) {
        summary.lost = Lost::default();
    }
}
