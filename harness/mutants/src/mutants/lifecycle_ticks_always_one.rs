//! Takes each read for one of one expiry.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Wakeup;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-ticks-always-one",
    error: "a read of several expiries is told as one of one",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Field("ticks"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn wakeup(&mut self, wakeup: &mut Wakeup) -> bool {
        wakeup.ticks = wakeup.ticks.map(|_| Some(1));
        true
    }
}
