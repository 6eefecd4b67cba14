//! Takes what the kernel was about to write to `*otmr` for written, also when the write failed.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "written-in-spite-of-fault",
    error: "an old setting that could not be written is reported as written",
    caught_by: Work::Case("pointers/otmr-partly-mapped"),
    shows: Shows::Field("otmr_written"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, event: &RawEvent) {
        const WRITTEN: &str = r#","otmr_written":"#;
        let text = String::from_utf8_lossy(line);
        if let (Some(old), true) = (between(&text, r#","old":"#, WRITTEN), event.ret < 0) {
            *line = text.replace(&format!("{WRITTEN}null"), &format!("{WRITTEN}{old}")).into_bytes();
        }
    }
}

#[cfg(not(target_arch = "bpf"))]
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}
