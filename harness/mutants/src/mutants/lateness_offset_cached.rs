//! Asks once how far a clock is from the monotonic one.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashMap;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Expiry;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lateness-offset-cached",
    error: "lateness keeps a timer's clock as it was at its first expiry",
    caught_by: Work::Scenario("field/clock-set"),
    shows: Shows::Said("early"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    offsets: HashMap<i32, i64>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        let offset = *self.offsets.entry(expiry.clockid).or_insert(expiry.clock_offset_ns);
        expiry.late_ns += offset - expiry.clock_offset_ns;
        expiry.clock_offset_ns = offset;
        true
    }
}
