//! Tells of a timer once that fires again and again.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashSet;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{Expiry, RelatedCall, TimerId};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-periods-missed",
    error: "of a periodic timer only the first expiry is told",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Missing,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fired: HashSet<TimerId>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn related(&mut self, call: &mut RelatedCall) -> bool {
        if let Some(timer) = call.timer.filter(|_| call.utmr.is_some()) {
            self.fired.remove(&timer);
        }
        true
    }

    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        self.fired.insert(expiry.timer)
    }
}
