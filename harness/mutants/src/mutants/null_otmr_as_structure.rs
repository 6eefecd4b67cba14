//! Shows zeros as the old setting of a call that did not want it.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "null-otmr-as-structure",
    error: "a null otmr is shown as a structure",
    caught_by: Work::Case("pointers/null"),
    shows: Shows::Field("old"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, event: &RawEvent) {
        if event.otmr == 0 {
            let zeros = r#","old":{"it_interval":{"tv_sec":0,"tv_nsec":0},"it_value":{"tv_sec":0,"tv_nsec":0}}"#;
            *line = String::from_utf8_lossy(line).replace(r#","old":null"#, zeros).into_bytes();
        }
    }
}
