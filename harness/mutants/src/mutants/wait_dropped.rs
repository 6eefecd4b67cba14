//! Does not know a system call that waits.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{By, Wakeup};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "wait-dropped",
    error: "a wait by pselect6 is not told",
    caught_by: Work::Scenario("field/waits-by-name"),
    shows: Shows::Said("told ["),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn wakeup(&mut self, wakeup: &mut Wakeup) -> bool {
        wakeup.by != By::Pselect6
    }
}
