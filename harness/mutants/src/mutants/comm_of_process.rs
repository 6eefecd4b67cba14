//! Knows a process by the name that it had first.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashMap;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::{COMM_LEN, RawEvent};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "comm-of-process",
    error: "the name is cached per process",
    caught_by: Work::Scenario("field/names"),
    shows: Shows::Said("with --comm None"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    names: HashMap<u32, [u8; COMM_LEN]>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        event.comm = *self.names.entry(event.pid).or_insert(event.comm);
    }
}
