//! Reads `struct itimerspec64` where the caller has `struct old_itimerspec32`.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::Itimerspec64;
#[cfg(target_arch = "bpf")]
use crate::kernel::read_user;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "layout-of-64-bits",
    error: "the structure is read with the 64-bit layout",
    caught_by: Work::Case("values/any"),
    shows: Shows::Field("utmr_entry"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        if let Ok(wide) = read_user::<Itimerspec64>(event.utmr.into()) {
            event.utmr_entry = wide.cut();
        }
    }
}
