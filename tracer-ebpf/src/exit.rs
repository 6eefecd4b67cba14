//! A call returns: its result, what reached `otmr`, and the whole handed to user space.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_user};
use settime32_abi::event::{RawEvent, flag};
use settime32_abi::timespec::ITIMERSPEC32_SIZE;

use crate::maps::{in_flight, release, submit};

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
    // Only then has the kernel written it (`timerfd_settime32`, `fs/timerfd.c`).
    if ret == 0 && event.otmr != 0 {
        read_old_setting(event);
    }
    submit(event);
    release(tid);
}

#[inline(always)]
fn read_old_setting(event: &mut RawEvent) {
    let to = (&raw mut event.otmr_written).cast();
    // SAFETY: the destination is as long as said, and the helper checks the source.
    match unsafe { bpf_probe_read_user(to, ITIMERSPEC32_SIZE as u32, event.otmr as usize as *const _) } {
        0 => event.flags |= flag::OTMR_READ,
        error => event.otmr_err = error as i32,
    }
}
