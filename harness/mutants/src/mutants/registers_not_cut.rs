//! Follows the whole register that holds `utmr`, which a 64-bit process leaves dirty.

#[cfg(target_arch = "bpf")]
use settime32_abi::event::{RawEvent, flag};
#[cfg(target_arch = "bpf")]
use settime32_abi::timespec::OldItimerspec32;
#[cfg(target_arch = "bpf")]
use crate::kernel::{at, read_user, register};

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "registers-not-cut",
    error: "registers are not cut to 32 bits",
    caught_by: Work::Case("entry/int80-from-64bit"),
    shows: Shows::Field("utmr_entry"),
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn entered(event: &mut RawEvent, pt_regs: usize) {
        let Some(utmr) = register(pt_regs, at::DX) else { return };
        event.flags &= !(flag::INTERVAL_READ | flag::VALUE_READ);
        match read_user::<OldItimerspec32>(utmr) {
            Ok(read) => {
                event.utmr_entry = read;
                event.flags |= flag::INTERVAL_READ | flag::VALUE_READ;
            }
            Err(error) => event.utmr_entry_err = error as i16,
        }
    }
}
