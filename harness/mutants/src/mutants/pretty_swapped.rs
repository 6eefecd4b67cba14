//! Swaps ids in the form for people.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "pretty-swapped",
    error: "the pretty form has process and thread the other way round",
    caught_by: Work::Scenario("forms/pretty"),
    shows: Shows::Field("tid"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, event: &RawEvent) {
        let text = String::from_utf8_lossy(line);
        let ids = |pid: u32, tid: u32| format!("[pid {pid:>7} tid {tid:>7}]");
        *line = text.replacen(&ids(event.pid, event.tid), &ids(event.tid, event.pid), 1).into_bytes();
    }
}
