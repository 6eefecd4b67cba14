//! Keeps a call in flight under the low bits of its thread's id, whoever else has the same.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::RawEvent;
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::{Itimerspec64, Timespec64};

#[cfg(target_arch = "bpf")]
use crate::kernel::{keep, recall};
use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "in-flight-by-low-bits",
    error: "a call in flight is kept by the low bits of the thread's id, which are not compared",
    caught_by: Work::Scenario("field/ids-large"),
    shows: Shows::Field("pid"),
    ..About::RIGHT
};

#[cfg(target_arch = "bpf")]
const MASK: u32 = 0x7fff;

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, _pt_regs: usize) {
        let pid = Timespec64 { tv_sec: event.pid.into(), tv_nsec: event.tid.into() };
        keep(event.tid & MASK, &Itimerspec64 { it_interval: pid, it_value: pid });
    }

    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn leaving(event: &mut RawEvent, ret: i64) -> i64 {
        if let Some(last) = recall(event.tid & MASK) {
            event.pid = last.it_value.tv_sec as u32;
        }
        ret
    }
}
