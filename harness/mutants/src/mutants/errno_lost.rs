//! Leaves out what the result means.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "errno-lost",
    error: "the errno's name is left out",
    caught_by: Work::Case("flags/each-bit"),
    shows: Shows::Field("errno"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        let text = String::from_utf8_lossy(line);
        let Some((before, errno)) = text.split_once(r#","errno":""#) else { return };
        let after = errno.split_once('"').map_or("", |(_, after)| after);
        *line = format!("{before}{after}").into_bytes();
    }
}
