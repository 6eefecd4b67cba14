//! The kernel's own copies of the two settings, seen on the way through `do_timerfd_settime` and
//! `put_old_itimerspec32`. Other system calls use these functions too: what a thread does outside of a wanted
//! `timerfd_settime32` is passed over.

use aya_ebpf::helpers::bpf_probe_read_kernel;
use settime32_abi::event::{Slot, flag};
use settime32_abi::timespec::Itimerspec64;

use crate::in_flight::{current, forget_stale};
use crate::registers::is_in_settime32;

/// `do_timerfd_settime` is entered with `new`, which `get_old_itimerspec32` has just filled.
#[inline(always)]
pub(crate) fn used(new: usize) {
    let Some(slot) = current() else { return };
    if !is_first(slot) {
        return;
    }
    if let Some(used) = copy(new) {
        slot.event.utmr_used = used.cut();
        slot.event.flags |= flag::USED;
    }
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
#[inline(always)]
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
/// Both are arguments that the verifier knows to point to a `struct itimerspec64`.
#[inline(always)]
pub(crate) unsafe fn used_and_old(new: usize, old: usize, ret: i32) {
    let Some(slot) = current() else { return };
    if !is_first(slot) {
        return;
    }
    let event = &mut slot.event;
    // SAFETY: said by the caller.
    event.utmr_used = unsafe { &*(new as *const Itimerspec64) }.cut();
    if ret == 0 {
        // SAFETY: said by the caller.
        event.old = unsafe { *(old as *const Itimerspec64) };
    }
    event.flags |= if ret == 0 { flag::USED | flag::OLD } else { flag::USED };
}
