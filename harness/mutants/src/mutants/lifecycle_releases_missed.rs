//! Does not hook `timerfd_release`.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Release;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-releases-missed",
    error: "the end of a timer has no event",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Missing,
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
