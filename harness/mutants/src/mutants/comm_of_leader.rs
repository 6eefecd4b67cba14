//! Takes the name of a process for that of each of its threads.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashMap;

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::{COMM_LEN, RawEvent};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "comm-of-leader",
    error: "the name is that of the group leader",
    caught_by: Work::Scenario("field/names"),
    shows: Shows::Said("with --comm None"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    leaders: HashMap<u32, [u8; COMM_LEN]>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        if event.pid == event.tid {
            self.leaders.insert(event.pid, event.comm);
        } else if let Some(leader) = self.leaders.get(&event.pid) {
            event.comm = *leader;
        }
    }
}
