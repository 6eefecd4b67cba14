//! Does not hook `timerfd_clock_was_set`.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::Cancel;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-cancels-missed",
    error: "timers that are cancelled as the clock is set have no event",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn cancel(&mut self, _cancel: &mut Cancel) -> bool {
        false
    }
}
