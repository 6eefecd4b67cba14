//! Tells what nobody knows of.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "unknown-key",
    error: "there is a key that is not documented",
    caught_by: Work::Case("values/any"),
    shows: Shows::Undocumented("novelty"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        let text = String::from_utf8_lossy(line);
        *line = text.replacen(r#","pid":"#, r#","novelty":1,"pid":"#, 1).into_bytes();
    }
}
