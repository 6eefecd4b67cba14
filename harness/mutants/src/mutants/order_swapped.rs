//! Prints every hundredth event after the one that follows it.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "order-swapped",
    error: "events of a thread are printed out of order",
    caught_by: Work::Case("values/any"),
    shows: Shows::OutOfOrder,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    printed: u64,
    #[cfg(not(target_arch = "bpf"))]
    held: Vec<u8>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn line(&mut self, line: &mut Vec<u8>, _event: &RawEvent) {
        self.printed += 1;
        if self.printed % 100 == 50 {
            self.held = std::mem::take(line);
        } else {
            line.append(&mut self.held);
        }
    }
}
