//! Prints the flags as C's `unsigned int`.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "flags-unsigned",
    error: "flags are printed without their sign",
    caught_by: Work::Case("flags/each-bit"),
    shows: Shows::Unparseable("expected i32"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, event: &RawEvent) {
        let (right, wrong) = (event.settime_flags, event.settime_flags.cast_unsigned());
        let text = String::from_utf8_lossy(line);
        *line = text.replace(&format!(r#","flags":{right},"#), &format!(r#","flags":{wrong},"#)).into_bytes();
    }
}
