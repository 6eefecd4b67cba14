//! Keeps a call in flight under its CPU, where the next thread's overwrites it while the first one
//! sleeps.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::{Itimerspec64, Timespec64};

#[cfg(target_arch = "bpf")]
use crate::kernel::{keep, recall};
use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "in-flight-by-cpu",
    error: "a call in flight is kept by CPU, not by thread",
    caught_by: Work::Case("pointers/held-by-many"),
    shows: Shows::Field("utmr"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        let utmr = Timespec64 { tv_sec: event.utmr.into(), tv_nsec: 0 };
        keep(event.cpu.into(), &Itimerspec64 { it_interval: utmr, it_value: utmr });
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if let Some(last) = recall(event.cpu.into()) {
            event.utmr = last.it_value.tv_sec as u32;
        }
        ret
    }
}
