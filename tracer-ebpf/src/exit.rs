//! A call returns: its result, and the whole handed to user space.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use settime32_abi::event::{Counter, RawEvent, flag};

use crate::maps::{Returned, count, own_slot, release, shared_slot, submit};

/// `-EFAULT`.
const EFAULT: i64 = -14;

/// Adds what the return tells and reports the call. One that is not in flight was not wanted, or was lost and
/// counted at its entry.
#[inline(always)]
pub(crate) fn leave(ret: i64) {
    let tid = bpf_get_current_pid_tgid() as u32;
    // Apart, since only room of the other kind has to be given back.
    if let Some(slot) = own_slot(tid) {
        return finish(slot, ret);
    }
    let Some(slot) = shared_slot(tid) else { return };
    finish(slot, ret);
    release(tid);
}

#[inline(always)]
fn finish(event: &mut RawEvent, ret: i64) {
    let flags = event.flags;
    if flags & flag::IN_FLIGHT == 0 {
        return;
    }
    // The one is set and the other is not.
    event.flags = flags ^ (flag::IN_FLIGHT | flag::RETURNED);
    if !is_complete(event, flags, ret) {
        return count(Counter::LostInFlight);
    }
    // SAFETY: the helper only reads the clock.
    let exit_ns = unsafe { bpf_ktime_get_ns() };
    submit(event, Some(Returned { exit_ns, ret }));
}

/// Whether what must have been seen on the way was seen: a program in a trampoline is passed over while it is busy
/// with another call on the same CPU. An event that lacks a fact must not look as if there had been none.
#[inline(always)]
fn is_complete(event: &RawEvent, flags: u32, ret: i64) -> bool {
    if ret == 0 {
        let seen = flag::USED | flag::OLD;
        return flags & seen == seen || flags & flag::USED != 0 && event.otmr == 0;
    }
    // Only when `get_old_itimerspec32` fails, and so does the call, is `do_timerfd_settime` not reached.
    flags & flag::USED != 0 || ret == EFAULT
}
