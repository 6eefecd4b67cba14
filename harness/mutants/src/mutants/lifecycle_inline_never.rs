//! Never says that a call fired a timer itself.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Expiry;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-inline-never",
    error: "that a timer was fired by the call that set it is never reported",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Field("inline"),
    since: (7, 2),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        expiry.inline = false;
        true
    }
}
