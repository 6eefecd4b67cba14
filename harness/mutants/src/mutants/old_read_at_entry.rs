//! Reads the old setting from `*otmr` before the kernel has written it.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::OldItimerspec32;
#[cfg(target_arch = "bpf")]
use crate::kernel::{forget, keep, read_user, recall};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "old-read-at-entry",
    error: "the old setting is read at entry",
    caught_by: Work::Case("values/disarm-with-interval"),
    shows: Shows::Field("old"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        match read_user::<OldItimerspec32>(event.otmr.into()) {
            Ok(old) => keep(event.tid, &old.into()),
            Err(_) => forget(event.tid),
        }
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if let Some(old) = recall(event.tid).filter(|_| event.flags & flag::OLD != 0) {
            event.old = old;
        }
        ret
    }
}
