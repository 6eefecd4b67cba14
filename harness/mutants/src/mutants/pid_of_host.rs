//! Compares the process that was asked for with ids of the initial pid namespace.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::{COMM_LEN, RawEvent};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "pid-of-host",
    error: "-p is compared in the wrong pid namespace",
    caught_by: Work::Scenario("field/pid-namespace"),
    shows: Shows::Extra,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    pids: Vec<u32>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn filters_itself(&mut self, pids: &[u32], _comms: &[[u8; COMM_LEN]]) -> bool {
        self.pids = pids.to_vec();
        !pids.is_empty()
    }

    #[cfg(not(target_arch = "bpf"))]
    fn takes(&mut self, event: &RawEvent) -> bool {
        self.pids.is_empty() || self.pids.contains(&event.with_host_ids().host_pid)
    }
}
