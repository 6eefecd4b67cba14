//! Takes the time of the return when the event is printed.

#[cfg(not(target_arch = "bpf"))]
use std::time::Duration;
#[cfg(not(target_arch = "bpf"))]
use nix::time::{ClockId, clock_gettime};
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "stamped-when-printed",
    error: "the time of return is that of printing",
    caught_by: Work::Case("values/any"),
    shows: Shows::BadTimestamp,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        if let Ok(now) = clock_gettime(ClockId::CLOCK_MONOTONIC) {
            event.exit_ns = Duration::from(now).as_nanos() as u64;
        }
    }
}
