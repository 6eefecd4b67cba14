//! Takes a timer that was set off for one that is late.

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lateness-clock-set-missed",
    error: "lateness does not know that a clock was set",
    caught_by: Work::Scenario("field/clock-set"),
    shows: Shows::Said("came of setting the clock"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn clock_set(&mut self) -> bool {
        false
    }
}
