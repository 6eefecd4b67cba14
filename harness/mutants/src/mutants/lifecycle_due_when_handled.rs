//! Tells the time of the handler as that for which the timer was set.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Expiry;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-due-when-handled",
    error: "a timer was due when its handler ran",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Field("expires_ns"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        expiry.expires_ns += expiry.late_ns;
        expiry.late_ns = 0;
        true
    }
}
