//! A call returns: its result, and the whole handed to user space.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use settime32_abi::event::{Counter, RawEvent, flag};

use crate::maps::{count, in_flight, release, report_lost_result, submit};

/// `-EFAULT`.
const EFAULT: i64 = -14;

/// Adds what the return tells and reports the call. One that is not in flight was not wanted, or was lost and
/// counted at its entry.
#[inline(always)]
pub(crate) fn leave(ret: i64) {
    let tid = bpf_get_current_pid_tgid() as u32;
    let Some(event) = in_flight(tid) else { return };
    // SAFETY: the helper only reads the clock.
    event.exit_ns = unsafe { bpf_ktime_get_ns() };
    event.ret = ret;
    event.flags = event.flags & !flag::IN_FLIGHT | flag::RETURNED;
    if is_complete(event) {
        submit(event);
    } else {
        count(Counter::LostInFlight);
    }
    release(tid);
}

/// A thread is about to be gone: a call of it that is still in flight returned unseen, since a thread does not exit inside
/// of one, and no later call of it will tell.
#[inline(always)]
pub(crate) fn thread_exits() {
    let tid = bpf_get_current_pid_tgid() as u32;
    if let Some(event) = in_flight(tid) {
        report_lost_result(event);
        release(tid);
    }
}

/// Whether what must have been seen on the way was seen: a program in a trampoline is passed over while it is busy
/// with another call on the same CPU. An event that lacks a fact must not look as if there had been none.
#[inline(always)]
fn is_complete(event: &RawEvent) -> bool {
    // Only when `get_old_itimerspec32` fails, and so does the call, is `do_timerfd_settime` not reached.
    let used = event.flags & flag::USED != 0 || event.ret == EFAULT;
    let old = event.flags & flag::OLD != 0 || event.ret != 0 || event.otmr == 0;
    used && old
}
