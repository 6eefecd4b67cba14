//! Takes each wait for one by epoll.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{By, Wakeup};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "lifecycle-polls-as-epoll",
    error: "poll and select are told as epoll_wait",
    caught_by: Work::Lifecycle { timers: 200 },
    shows: Shows::Field("by"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn wakeup(&mut self, wakeup: &mut Wakeup) -> bool {
        if wakeup.by != By::Read {
            wakeup.by = By::EpollWait;
        }
        true
    }
}
