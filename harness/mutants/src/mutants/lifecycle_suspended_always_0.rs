//! Takes no account of a machine that sleeps.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Expiry;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-suspended-always-0",
    error: "how long the machine was suspended is always 0",
    caught_by: Work::Scenario("field/suspended"),
    shows: Shows::Said("suspended for"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        expiry.suspended_ns = 0;
        true
    }
}
