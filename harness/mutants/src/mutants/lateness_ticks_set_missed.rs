//! Takes ticks that were put there for expiries.

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lateness-ticks-set-missed",
    error: "lateness does not know of TFD_IOC_SET_TICKS",
    caught_by: Work::Scenario("field/set-ticks"),
    shows: Shows::Said("lateness has"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn ticks_set(&mut self) -> bool {
        false
    }
}
