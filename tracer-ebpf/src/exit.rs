//! A call returns: its result, what reached `otmr`, and the whole handed to user space.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_ktime_get_ns, bpf_probe_read_user};
use aya_ebpf::programs::RetProbeContext;
use settime32_abi::event::{RawEvent, flag};
use settime32_abi::timespec::ITIMERSPEC32_SIZE;

use crate::maps::{OVERFLOW, THREADS, is_in_flight, submit};

#[inline(always)]
pub(crate) fn leave(ctx: &RetProbeContext) {
    let tid = bpf_get_current_pid_tgid() as u32;
    if let Some(event) = THREADS.get_ptr_mut(tid) {
        // SAFETY: the entry is this thread's own: no other one writes it, and nothing removes it.
        finish(ctx, unsafe { &mut *event });
    } else if let Some(event) = OVERFLOW.get_ptr_mut(tid) {
        // SAFETY: the entry is this thread's own, and nothing else removes it while the thread is here.
        finish(ctx, unsafe { &mut *event });
        // The entry was there a moment ago.
        _ = OVERFLOW.remove(tid);
    }
}

/// Adds what the return tells and reports the call. One that is not in flight was not wanted, or was lost and
/// counted at its entry.
#[inline(always)]
fn finish(ctx: &RetProbeContext, event: &mut RawEvent) {
    if !is_in_flight(event) {
        return;
    }
    // SAFETY: the helper only reads the clock.
    event.exit_ns = unsafe { bpf_ktime_get_ns() };
    event.ret = ctx.ret::<i64>();
    event.flags |= flag::RETURNED;
    // Only then has the kernel written it (`timerfd_settime32`, `fs/timerfd.c`).
    if event.ret == 0 && event.otmr != 0 {
        read_old_setting(event);
    }
    submit(event);
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
