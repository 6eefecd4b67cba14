//! Reports the ids by which the kernel's maps are keyed.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "ids-of-host",
    error: "ids are those of the initial pid namespace, wherever the tracer is",
    caught_by: Work::Scenario("field/pid-namespace"),
    shows: Shows::Said("by an id that it has not where the tracer is"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        (event.pid, event.tid) = (event.host_pid, event.host_tid);
    }
}
