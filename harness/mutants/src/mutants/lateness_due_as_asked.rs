//! Forgets that a time namespace has clocks of its own.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::TimerId;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lateness-due-as-asked",
    error: "lateness takes for due what an absolute setting asked for",
    caught_by: Work::Scenario("field/time-namespace"),
    shows: Shows::Said("ns after it was requested"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn armed(&mut self, event: &RawEvent, _timer: TimerId, expires_ns: &mut i64) {
        const TFD_TIMER_ABSTIME: i32 = 1;
        if event.settime_flags & TFD_TIMER_ABSTIME != 0 {
            let value = event.utmr_used.it_value;
            *expires_ns = i64::from(value.tv_sec) * 1_000_000_000 + i64::from(value.tv_nsec);
        }
    }
}
