//! Takes the descriptor for the timer, as if there were no dup and no close.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::RelatedCall;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-descriptor-as-timer",
    error: "a timer is named by the descriptor that a call came by",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Identity,
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn related(&mut self, call: &mut RelatedCall) -> bool {
        let created = call.ret.and_then(|ret| i32::try_from(ret).ok());
        if call.timer.is_some() {
            call.timer = call.ufd.or(created).map(|fd| fd as u64);
        }
        true
    }
}
