//! Forgets what a timer did before its setting call returned.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashSet;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{Expiry, TimerId};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lateness-short-dropped",
    error: "lateness drops an expiry that comes before its arming",
    caught_by: Work::Scenario("field/short"),
    shows: Shows::Said("armed, fired"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    armed: HashSet<TimerId>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn armed(&mut self, _event: &RawEvent, timer: TimerId, _expires_ns: &mut i64) {
        self.armed.insert(timer);
    }

    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        self.armed.remove(&expiry.timer)
    }
}
