//! Gives a number to the next timer as soon as its own is gone, as descriptors are given.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashMap;
#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{Expiry, RelatedCall, Release, TimerId, Wakeup};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-numbers-reused",
    error: "a timer has the number of one that was there before it",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Identity,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    numbers: HashMap<TimerId, TimerId>,
}

#[cfg(not(target_arch = "bpf"))]
impl Tracer {
    fn number(&mut self, timer: TimerId) -> TimerId {
        let free = (1..).find(|number| !self.numbers.values().any(|taken| taken == number)).unwrap_or_default();
        *self.numbers.entry(timer).or_insert(free)
    }
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn related(&mut self, call: &mut RelatedCall) -> bool {
        call.timer = call.timer.map(|timer| self.number(timer));
        true
    }

    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        expiry.timer = self.number(expiry.timer);
        true
    }

    #[cfg(not(target_arch = "bpf"))]
    fn wakeup(&mut self, wakeup: &mut Wakeup) -> bool {
        wakeup.timer = self.number(wakeup.timer);
        true
    }

    #[cfg(not(target_arch = "bpf"))]
    fn release(&mut self, release: &mut Release) -> bool {
        let number = self.number(release.timer);
        self.numbers.remove(&release.timer);
        release.timer = number;
        true
    }
}
