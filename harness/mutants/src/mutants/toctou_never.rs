//! Never compares what was read at entry with what the kernel used.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "toctou-never",
    error: "memory never changes between the entry and the kernel's copy",
    caught_by: Work::Case("threads/toctou-on-purpose"),
    shows: Shows::Field("toctou"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        let text = String::from_utf8_lossy(line);
        *line = text.replace(r#""toctou":true"#, r#""toctou":false"#).into_bytes();
    }
}
