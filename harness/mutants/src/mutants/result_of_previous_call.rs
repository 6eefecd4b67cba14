//! Reports the result of the thread's previous call.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashMap;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "result-of-previous-call",
    error: "the result is that of the previous call",
    caught_by: Work::Case("flags/each-bit"),
    shows: Shows::Field("ret"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    /// By thread.
    #[cfg(not(target_arch = "bpf"))]
    results: HashMap<u32, i64>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        let previous = self.results.insert(event.tid, event.ret);
        event.ret = previous.unwrap_or(event.ret);
    }
}
