//! One call under test: fills the memory that its pointers name, makes it, and keeps what was there.

use std::ptr::NonNull;

use nix::errno::Errno;
use settime32_abi::journal::Record;
use settime32_abi::plan::{Call, Pointer};
use settime32_abi::timespec::ITIMERSPEC32_SIZE;

use crate::kernel::Kernel;
use crate::memory::Shared;

/// The bytes of an `old_itimerspec32`.
type Bytes = [u8; ITIMERSPEC32_SIZE];

/// Two places on one page, so that a read or write that goes past one of them does not reach the other.
const UTMR_OFFSET: usize = 0x200;
const OTMR_OFFSET: usize = 0xa00;
const SCRATCH_LEN: usize = 0x1000;

/// The memory that valid pointers point to.
///
/// It is shared with forked children, since a private page would be write-protected by the fork; and it is
/// written before each call, so that it is resident in the child too when a probe reads it.
#[derive(Debug)]
pub struct Scratch {
    memory: Shared,
}

impl Scratch {
    /// Maps the memory.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { memory: Shared::map(SCRATCH_LEN)? })
    }

    fn utmr(&self) -> NonNull<Bytes> {
        self.memory.at(UTMR_OFFSET)
    }

    fn otmr(&self) -> NonNull<Bytes> {
        self.memory.at(OTMR_OFFSET)
    }
}

/// Makes the call on `ufd` and gives its record.
pub fn make<K: Kernel>(kernel: &mut K, scratch: &mut Scratch, step: u32, ufd: i32, call: &Call) -> Record {
    let (utmr, otmr) = (place(call.utmr, scratch.utmr()), place(call.otmr, scratch.otmr()));
    let utmr_before = put(utmr, bytemuck::cast(call.new));
    let otmr_before = put(otmr, pattern(step));
    let (utmr_address, otmr_address) = (address(utmr), address(otmr));
    // SAFETY: the places are null or in the scratch memory, which only pointers reach.
    let ret = unsafe { kernel.timerfd_settime32(ufd, call.flags, utmr_address, otmr_address) };
    let otmr_after = get(otmr);
    let who = kernel.identity();
    Record {
        step,
        pid: who.pid,
        tid: who.tid,
        ufd,
        flags: call.flags,
        utmr: utmr_address,
        otmr: otmr_address,
        ret,
        utmr_before,
        otmr_before,
        otmr_after,
    }
}

fn place(pointer: Pointer, valid: NonNull<Bytes>) -> Option<NonNull<Bytes>> {
    match pointer {
        Pointer::Null => None,
        Pointer::Valid => Some(valid),
    }
}

fn address(place: Option<NonNull<Bytes>>) -> u32 {
    place.map_or(0, |place| u32::try_from(place.addr().get()).expect("the memory was mapped below 4 GiB"))
}

/// Writes the bytes and reads them back, so that the record has what is there and not what was meant.
fn put(place: Option<NonNull<Bytes>>, bytes: Bytes) -> Bytes {
    if let Some(place) = place {
        // SAFETY: the place is in the scratch memory. Volatile, because the kernel reads it unseen.
        unsafe { place.write_volatile(bytes) };
    }
    get(place)
}

fn get(place: Option<NonNull<Bytes>>) -> Bytes {
    // SAFETY: as in `put`; the kernel may have written.
    place.map_or([0; ITIMERSPEC32_SIZE], |place| unsafe { place.read_volatile() })
}

/// What is at `otmr` before the call: other bytes for each step and each field, and negative in every field,
/// as no old setting is, so that whatever was not written shows.
fn pattern(step: u32) -> Bytes {
    bytemuck::cast([0, 1, 2, 3].map(|field| 0xa500_0000 | step << 2 | field))
}

#[cfg(test)]
mod tests {
    use settime32_abi::plan::MAX_STEPS;
    use settime32_abi::timespec::OldItimerspec32;

    use super::*;

    #[test]
    fn the_pattern_is_no_old_setting_and_differs_by_step() {
        for step in [0, 1, 2, 77, MAX_STEPS as u32 - 1] {
            let words: [i32; 4] = bytemuck::cast(pattern(step));
            assert!(words.iter().all(|word| *word < 0), "step {step}");
            assert!(!bytemuck::cast::<_, OldItimerspec32>(words).is_valid());
            assert_ne!(pattern(step), pattern(step + 1));
        }
    }
}
