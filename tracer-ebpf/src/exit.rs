//! A call returns: its result, and the whole handed to user space.

use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use settime32_abi::event::{Counter, RawEvent, flag};

use crate::maps::{Returned, count, current_shared_slot, current_slot, current_tid, own_slot, release, report_lost_result, submit};

/// `-EFAULT`.
const EFAULT: i64 = -14;

/// Adds what the return tells and reports the call. One that is not in flight was not wanted, or was lost and
/// counted at its entry.
#[inline(always)]
pub(crate) fn leave(ret: i64) {
    match own_slot(current_tid()) {
        Some(event) => finish(event, ret),
        None => leave_shared(ret),
    }
}

/// Apart, since only room of this kind has to be given back.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn leave_shared(ret: i64) {
    let Some(event) = current_shared_slot() else { return };
    finish(event, ret);
    release(current_tid());
}

#[inline(always)]
fn finish(event: &mut RawEvent, ret: i64) {
    let flags = event.flags;
    // The usual case first, by one look at the flags.
    let usual = flag::IN_FLIGHT | flag::USED | flag::OLD;
    if ret != 0 || flags & usual != usual {
        if flags & flag::IN_FLIGHT == 0 {
            return;
        }
        if !is_complete(event, flags, ret) {
            event.flags = flags & !flag::IN_FLIGHT;
            return count(Counter::LostInFlight);
        }
    }
    // The one is set and the other is not.
    event.flags = flags ^ (flag::IN_FLIGHT | flag::RETURNED);
    // SAFETY: the helper only reads the clock.
    let exit_ns = unsafe { bpf_ktime_get_ns() };
    submit(event, Some(Returned { exit_ns, ret }));
}

/// A thread is about to be gone: a call of it that is still in flight returned unseen, since a thread does not exit inside
/// of one, and no later call of it will tell.
#[inline(always)]
pub(crate) fn thread_exits() {
    if let Some(event) = current_slot().filter(|event| event.flags & flag::IN_FLIGHT != 0) {
        report_lost_result(event);
        release(current_tid());
    }
}

/// Whether what must have been seen on the way was seen: a program in a trampoline is passed over while it is busy
/// with another call on the same CPU. An event that lacks a fact must not look as if there had been none.
#[inline(always)]
fn is_complete(event: &RawEvent, flags: u32, ret: i64) -> bool {
    // Only when `get_old_itimerspec32` fails, and so does the call, is `do_timerfd_settime` not reached.
    let used = flags & flag::USED != 0 || ret == EFAULT;
    let old = flags & flag::OLD != 0 || ret != 0 || event.otmr == 0;
    used && old
}
