//! Prints what is known, and no key of what is not.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "nulls-left-out",
    error: "keys whose value is null are left out",
    caught_by: Work::Case("pointers/nowhere"),
    shows: Shows::Undocumented("utmr_used"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        let text = String::from_utf8_lossy(line);
        *line = text.replace(r#","utmr_used":null"#, "").into_bytes();
    }
}
