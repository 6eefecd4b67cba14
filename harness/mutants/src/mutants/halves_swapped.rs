//! Takes the value for the interval and the interval for the value.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::OldItimerspec32;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "halves-swapped",
    error: "interval and value change places",
    caught_by: Work::Case("values/edges"),
    shows: Shows::Field("utmr_entry"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        let OldItimerspec32 { it_interval, it_value } = event.utmr_entry;
        event.utmr_entry = OldItimerspec32 { it_interval: it_value, it_value: it_interval };
    }
}
