//! The kernel's own copies of the two settings, seen on the way through `do_timerfd_settime` and
//! `put_old_itimerspec32`. Other system calls use these functions too: what a thread does outside of a wanted
//! `timerfd_settime32` is passed over.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use settime32_abi::event::{Slot, flag};
use settime32_abi::timespec::Itimerspec64;

use crate::in_flight::{current, forget_stale};
use crate::registers::is_in_settime32;

/// A setting of 32 bits.
type Words = [u64; 2];
/// Both halves of the new setting were read at entry.
const READ: u32 = flag::INTERVAL_READ | flag::VALUE_READ;

/// `do_timerfd_settime` is entered with `new`, which `get_old_itimerspec32` has just filled.
#[inline(always)]
pub(crate) fn used(new: usize) {
    let Some(slot) = current() else { return };
    let Some(used) = copy(new).map(|new| words(&new)) else { return };
    if !is_as_read(slot, used) && !is_first(slot) {
        return;
    }
    slot.event.utmr_used = bytemuck::cast(used);
    slot.event.flags |= flag::USED;
}

/// Whether the call that is in flight comes here for the first time, with what it was seen to be given. Then it needs no further
/// proof that the thread is in it: one that was given this and returned unseen was here.
#[inline(always)]
fn is_as_read(slot: &Slot, used: Words) -> bool {
    slot.event.flags & (flag::USED | READ) == READ && bytemuck::cast::<_, Words>(slot.event.utmr_entry) == used
}

/// A setting as it was before the kernel widened it, in words, which are fewer than fields.
#[inline(always)]
fn words(wide: &Itimerspec64) -> Words {
    [wide.it_interval, wide.it_value].map(|time| (time.tv_sec as u32 as u64) | (time.tv_nsec as u64) << 32)
}

/// `put_old_itimerspec32` is entered with `its`.
#[inline(always)]
pub(crate) fn old(its: usize) {
    let Some(slot) = current() else { return };
    if slot.event.flags & (flag::USED | flag::OLD) != flag::USED || !is_in_settime32(slot) {
        return;
    }
    if let Some(old) = copy(its) {
        slot.event.old = old;
        slot.event.flags |= flag::OLD;
    }
}

/// Whether the thread is in the call that is in flight, and comes here for the first time. One that was here before returned
/// unseen, and the kernel passed over the entry of the one that is here now, which must not be taken for it; one that is in
/// another system call has returned unseen, too.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn is_first(slot: &Slot) -> bool {
    if slot.event.flags & flag::USED == 0 && is_in_settime32(slot) {
        return true;
    }
    forget_stale();
    false
}

#[inline(always)]
fn copy(from: usize) -> Option<Itimerspec64> {
    // SAFETY: a source that cannot be read gives an error.
    unsafe { bpf_probe_read_kernel(from as *const Itimerspec64) }.ok()
}

/// `do_timerfd_settime` returned `ret`: `new` is what it was given, and `old` what it says that it replaced, which
/// the wrapper hands to `put_old_itimerspec32` as it is, when there was no error and there is an `otmr`.
///
/// # Safety
///
/// `new` and `old` are arguments that the verifier knows to point to a `struct itimerspec64`.
#[inline(always)]
pub(crate) unsafe fn used_and_old(new: usize, old: usize, ret: i32) {
    let Some(slot) = current() else { return };
    // SAFETY: said by the caller.
    let used = words(unsafe { &*(new as *const Itimerspec64) });
    if !is_as_read(slot, used) && !is_first(slot) {
        return;
    }
    let event = &mut slot.event;
    event.utmr_used = bytemuck::cast(used);
    if ret == 0 {
        // SAFETY: said by the caller.
        event.old = unsafe { *(old as *const Itimerspec64) };
    }
    event.flags |= if ret == 0 { flag::USED | flag::OLD } else { flag::USED };
}
