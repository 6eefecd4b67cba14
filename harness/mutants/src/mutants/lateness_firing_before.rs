//! Tells of an expiry when the next one comes.

#[cfg(not(target_arch = "bpf"))]
use std::collections::HashMap;
#[cfg(not(target_arch = "bpf"))]
use std::mem::replace;

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{Expiry, TimerId};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lateness-firing-before",
    error: "lateness puts who waits on the firing before the one that woke it",
    caught_by: Work::Scenario("field/attach-midst"),
    shows: Shows::Said("waiter late by"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer {
    #[cfg(not(target_arch = "bpf"))]
    last: HashMap<TimerId, Expiry>,
}

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn expiry(&mut self, expiry: &mut Expiry) -> bool {
        match self.last.get_mut(&expiry.timer) {
            Some(last) => {
                let newest = replace(last, expiry.clone());
                *expiry = newest;
                true
            }
            None => {
                self.last.insert(expiry.timer, expiry.clone());
                false
            }
        }
    }
}
