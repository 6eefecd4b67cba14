//! Knows of waits by system calls alone.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{By, Wakeup};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "uring-missed",
    error: "what io_uring waits for is not told",
    caught_by: Work::Scenario("field/uring"),
    shows: Shows::Said("wake-ups ["),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn wakeup(&mut self, wakeup: &mut Wakeup) -> bool {
        wakeup.by != By::IoUring
    }
}
