//! Reads the old setting back from `*otmr` at the return, instead of taking the kernel's own.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::OldItimerspec32;
#[cfg(target_arch = "bpf")]
use crate::kernel::read_user;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "old-read-back",
    error: "the old setting is read back from user memory",
    caught_by: Work::Case("pointers/otmr-partly-mapped"),
    shows: Shows::Field("old"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if event.flags & flag::OLD == 0 {
            return ret;
        }
        match read_user::<OldItimerspec32>(event.otmr.into()) {
            Ok(old) => event.old = old.into(),
            Err(_) => event.flags &= !flag::OLD,
        }
        ret
    }
}
