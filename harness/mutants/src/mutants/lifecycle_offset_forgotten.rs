//! Takes all clocks for CLOCK_MONOTONIC.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Expiry;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-offset-forgotten",
    error: "times of other clocks are compared with CLOCK_MONOTONIC",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Early,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        expiry.late_ns -= expiry.clock_offset_ns;
        expiry.clock_offset_ns = 0;
        true
    }
}
