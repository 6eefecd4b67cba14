//! The kernel's own copies of the two settings, seen on the way through `do_timerfd_settime` and
//! `put_old_itimerspec32`. Other system calls use these functions too: what a thread does outside
//! of a wanted `timerfd_settime32` is passed over.

use aya_ebpf::helpers::{bpf_probe_read_kernel, generated};
use aya_ebpf::programs::FExitContext;
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

/// Whether the call that is in flight comes here for the first time, with what it was seen to be
/// given. Then it needs no further proof that the thread is in it: one that was given this and
/// returned unseen was here.
#[inline(always)]
fn is_as_read(slot: &Slot, used: Words) -> bool {
    slot.event.flags & (flag::USED | READ) == READ
        && bytemuck::cast::<_, Words>(slot.event.utmr_entry) == used
}

/// A setting as it was before the kernel widened it, in words, which are fewer than fields.
#[inline(always)]
fn words(wide: &Itimerspec64) -> Words {
    [wide.it_interval, wide.it_value]
        .map(|time| (time.tv_sec as u32 as u64) | (time.tv_nsec as u64) << 32)
}

/// `put_old_itimerspec32` is entered with `its`.
#[inline(always)]
pub(crate) fn old(its: usize) {
    let Some(slot) = current() else { return };
    if slot.event.flags & (flag::USED | flag::OLD) != flag::USED || !is_in_settime32(slot) {
        return;
    }
    // Where it belongs, and not by way of the stack.
    let to = (&raw mut slot.event.old).cast();
    // SAFETY: the destination is as long as said, and a source that cannot be read gives an error.
    if unsafe {
        generated::bpf_probe_read_kernel(to, size_of::<Itimerspec64>() as u32, its as *const _)
    } == 0
    {
        slot.event.flags |= flag::OLD;
    }
}

/// Whether the thread is in the call that is in flight, and comes here for the first time. One that
/// was here before returned unseen, and the kernel passed over the entry of the one that is here
/// now, which must not be taken for it; one that is in another system call has returned unseen,
/// too.
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

/// `do_timerfd_settime(ufd, flags, new, old)` returned. `old` is what it says that it replaced,
/// which the wrapper hands to `put_old_itimerspec32` as it is, when there was no error and there is
/// an `otmr`.
///
/// # Safety
///
/// It is this function's context. Its result lies behind the four arguments, of which the verifier
/// knows that the last two point to a `struct itimerspec64`.
#[inline(always)]
pub(crate) unsafe fn used_and_old(ctx: &FExitContext) {
    let Some(slot) = current() else { return };
    // SAFETY: said by the caller.
    let used = words(unsafe { &*ctx.arg::<*const Itimerspec64>(2) });
    if !is_as_read(slot, used) && !is_first(slot) {
        return;
    }
    let event = &mut slot.event;
    event.utmr_used = bytemuck::cast(used);
    if ctx.arg::<i32>(4) == 0 {
        // SAFETY: said by the caller.
        event.old = unsafe { *ctx.arg::<*const Itimerspec64>(3) };
        event.flags |= flag::USED | flag::OLD;
    } else {
        event.flags |= flag::USED;
    }
}
