//! Reads `*utmr` at the return and says that the kernel used that.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::OldItimerspec32;
#[cfg(target_arch = "bpf")]
use crate::kernel::read_user;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "used-read-at-return",
    error: "the setting used is read from user memory at the return",
    caught_by: Work::Case("pointers/overlap"),
    shows: Shows::Field("utmr_used"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if let Ok(used) = read_user::<OldItimerspec32>(event.utmr.into()) {
            event.utmr_used = used;
        }
        ret
    }
}
