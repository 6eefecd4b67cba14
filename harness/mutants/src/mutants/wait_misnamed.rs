//! Has one word for two system calls.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::lifecycle::{By, Wakeup};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "wait-misnamed",
    error: "a wait by epoll_pwait2 is called epoll_pwait",
    caught_by: Work::Scenario("field/waits-by-name"),
    shows: Shows::Said("told ["),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn wakeup(&mut self, wakeup: &mut Wakeup) -> bool {
        if wakeup.by == By::EpollPwait2 {
            wakeup.by = By::EpollPwait;
        }
        true
    }
}
