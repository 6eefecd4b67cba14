//! Has the two members of `struct itimerspec64` the wrong way round.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::RelatedCall;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-halves-swapped",
    error: "interval and value of what a call gave back change places",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Field("old"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn related(&mut self, call: &mut RelatedCall) -> bool {
        if let Some(old) = &mut call.old {
            std::mem::swap(&mut old.it_interval, &mut old.it_value);
        }
        true
    }
}
