//! Swaps ids in Tracee's form.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "tracee-swapped",
    error: "the Tracee form has process and thread the other way round",
    caught_by: Work::Scenario("forms/tracee"),
    shows: Shows::Said("own ids"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        let text = String::from_utf8_lossy(line);
        let swapped = text.replace(r#""processId":"#, "\0").replace(r#""threadId":"#, r#""processId":"#);
        *line = swapped.replace('\0', r#""threadId":"#).into_bytes();
    }
}
