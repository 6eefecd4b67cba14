//! Widens `tv_nsec` without its sign.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "nsec-zero-extended",
    error: "tv_nsec is zero-extended",
    caught_by: Work::Case("values/edges"),
    shows: Shows::Unparseable("`4294967295`, expected i32"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        const KEY: &str = r#""tv_nsec":"#;
        let text = String::from_utf8_lossy(line);
        let mut parts = text.split(KEY);
        let mut wrong = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (number, rest) = part.split_at(part.find('}').unwrap_or(part.len()));
            let number = number.parse().map_or_else(|_| number.to_owned(), |number: i32| number.cast_unsigned().to_string());
            wrong += &format!("{KEY}{number}{rest}");
        }
        *line = wrong.into_bytes();
    }
}
