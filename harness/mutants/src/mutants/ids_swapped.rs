//! Takes the halves of `bpf_get_current_pid_tgid` the wrong way round.

#[cfg(not(target_arch = "bpf"))]
use settime32_abi::event::RawEvent;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "ids-swapped",
    error: "thread and process id change places",
    caught_by: Work::Case("threads/many"),
    shows: Shows::Field("tid"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(not(target_arch = "bpf"))]
    fn event(&mut self, event: &mut RawEvent) {
        std::mem::swap(&mut event.pid, &mut event.tid);
    }
}
