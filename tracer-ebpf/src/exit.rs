//! A call returns: its result, and the whole handed to user space.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use settime32_abi::event::{Counter, RawEvent, flag};

use crate::in_flight::{current_beside, drop_current, forget_stale, free, is_readable, own_place};
use crate::losses::count;
use crate::maps::{Returned, submit, submit_short};

/// `-EFAULT`.
const EFAULT: i64 = -14;

/// Adds what the return tells and reports the call. One that is not in flight was not wanted, or
/// was lost and counted at its entry.
#[inline(always)]
pub(crate) fn leave(ret: i64) {
    if let Some(slot) = own_place() {
        finish(&mut slot.event, ret);
        free(slot);
    } else {
        leave_beside(ret);
    }
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn leave_beside(ret: i64) {
    if let Some(slot) = current_beside() {
        finish_other(&mut slot.event, ret);
        drop_current();
    }
}

#[inline(always)]
fn finish(event: &mut RawEvent, ret: i64) {
    const USUAL: u32 = flag::USED | flag::OLD;
    if ret != 0 || event.flags & (USUAL | flag::HOST_IDS) != USUAL {
        return finish_other(event, ret);
    }
    submit_short(event, returned(ret));
}

/// Apart, as all that is not the usual case.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn finish_other(event: &mut RawEvent, ret: i64) {
    if !is_complete(event, ret) {
        return count(Counter::LostInFlight);
    }
    submit(event, returned(ret));
}

#[inline(always)]
fn returned(ret: i64) -> Option<Returned> {
    // SAFETY: the helper only reads the clock.
    Some(Returned { exit_ns: unsafe { bpf_ktime_get_ns() }, ret })
}

/// A thread is about to be gone: a call of it that is still in flight returned unseen, since a
/// thread does not exit inside of one, and no later call of it will tell.
#[inline(always)]
pub(crate) fn thread_exits() {
    forget_stale();
}

/// Whether what must have been seen on the way was seen: a program in a trampoline is passed over
/// while it is busy with another call on the same CPU. An event that lacks a fact must not look as
/// if there had been none.
#[inline(always)]
fn is_complete(event: &RawEvent, ret: i64) -> bool {
    let has = |bit: u32| event.flags & bit != 0;
    let old = has(flag::OLD) || event.otmr == 0;
    match (ret, has(flag::USED)) {
        // Nothing but the writing of the old setting fails like this once the new one was copied.
        (EFAULT, true) | (0, true) => old,
        (_, true) => true,
        // Only when `get_old_itimerspec32` fails, and so does the call, is `do_timerfd_settime` not
        // reached.
        (EFAULT, false) => !is_readable(event),
        (_, false) => false,
    }
}
