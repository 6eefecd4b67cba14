//! Never forgets a timer.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Release;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lateness-dead-timers-kept",
    error: "lateness keeps what it knows of timers that are closed",
    caught_by: Work::Scenario("field/churn"),
    shows: Shows::Said("memory grew"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn release(&mut self, _release: &mut Release) -> bool {
        false
    }
}
