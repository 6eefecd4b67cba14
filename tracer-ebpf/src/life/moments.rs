//! What becomes of a timer by itself: it expires, it is cancelled, it is gone.

use core::ptr::read_volatile;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use settime32_abi::event::Counter;
use settime32_abi::moment::{Function, Moment, RawCancel, RawExpiry, RawRelease};

use super::layout::{Member, member};
use super::output::{name, output};
use super::{inside, timer};
use crate::maps::{count, current_tid};

/// `CLOCK_REALTIME_ALARM` and `CLOCK_BOOTTIME_ALARM`.
const ALARMS: [i32; 2] = [8, 9];
/// `HRTIMER_BASE_BOOTTIME`, and the bit that tells soft bases from hard ones (`include/linux/hrtimer_defs.h`).
const BOOTTIME: u32 = 2;
const SOFT: u32 = 4;

/// The wait queue that the handler that runs on this CPU is about to wake, and the thread that it runs in, or that it interrupted:
/// where interrupts are threads, others may come in between.
#[map]
static HANDLED: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// `timerfd_tmrproc` or `timerfd_alarmproc` is entered with the timer or alarm that lies in the `struct timerfd_ctx`.
#[inline(always)]
pub(crate) fn handler(inner: usize) {
    let timer = inner.wrapping_sub(Member::TIMER_AT.at()) as u64;
    if !timer::is_watched(timer) {
        return;
    }
    if let Some(handled) = HANDLED.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own.
        unsafe { *handled = [timer.wrapping_add(Member::WQH_AT.at() as u64), current_tid().into()] };
    }
    expired(timer, false);
}

/// `__wake_up_locked_key(wq_head, …)` is entered, which every firing and every cancellation comes to (`fs/timerfd.c`).
#[inline(always)]
pub(crate) fn wakes(wq_head: u64) {
    if let Some(handled) = HANDLED.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own.
        let [queue, thread] = unsafe { &mut *handled };
        // The verifier knows the argument for a pointer, of which it allows no arithmetic; so the two must not be compared at once.
        // SAFETY: it is a reference.
        if *queue == wq_head && unsafe { read_volatile(thread) } == current_tid().into() {
            (*queue, *thread) = (0, 0);
            return;
        }
    }
    let Some(inside) = inside::current() else { return };
    let timer = wq_head.wrapping_sub(Member::WQH_AT.at() as u64);
    if inside.function == Function::ClockWasSet as u32 {
        if timer::is_watched(timer) {
            output(&RawCancel { moment: moment(timer), cpu: cpu().into() });
        }
    } else if inside.function != Function::Poll as u32 && timer::of_file(inside.file) == timer {
        expired(timer, true);
    }
}

/// `timerfd_clock_was_set` is entered, which cancels timers.
#[inline(always)]
pub(crate) fn clock_was_set_enters() {
    inside::enter(Function::ClockWasSet, 0, 0, 0);
}

/// It returns.
#[inline(always)]
pub(crate) fn clock_was_set_returns() {
    _ = inside::leave(Function::ClockWasSet);
}

/// `timerfd_release(inode, file)` is entered. A handler may still run until it returns.
#[inline(always)]
pub(crate) fn released(file: u64) {
    let timer = timer::of_file(file);
    if timer == 0 || !timer::is_watched(timer) {
        return;
    }
    let comm = name();
    output(&RawRelease { moment: moment(timer), ids: bpf_get_current_pid_tgid(), comm, cpu: cpu().into() });
    timer::forget(timer);
}

#[inline(always)]
fn expired(timer: u64, is_inline: bool) {
    match times(timer) {
        Some((clockid, expires_ns, clock_offset_ns, suspended_ns)) => {
            let (moment, cpu, is_inline) = (moment(timer), cpu(), is_inline.into());
            output(&RawExpiry { moment, expires_ns, clock_offset_ns, suspended_ns, clockid, cpu, is_inline });
        }
        None => count(Counter::LostInFlight),
    }
}

/// The timer's clock, when it was due, and what its clock and `CLOCK_BOOTTIME` are ahead of `CLOCK_MONOTONIC`: from the same
/// base that the kernel compared with.
#[inline(always)]
fn times(timer: u64) -> Option<(i32, i64, i64, u64)> {
    let inner = timer as usize + Member::TIMER_AT.at();
    let clockid: i32 = member(timer as usize, Member::CLOCKID_AT)?;
    let (expires_ns, hrtimer) = if ALARMS.contains(&clockid) {
        (member(inner, Member::ALARM_EXPIRES_AT)?, inner + Member::ALARM_TIMER_AT.at())
    } else {
        (member(inner, Member::SOFTEXPIRES_AT)?, inner)
    };
    let base: usize = member(hrtimer, Member::BASE_AT)?;
    let index: u32 = member(base, Member::INDEX_AT)?;
    let size = Member::BASE_SIZE.at();
    let first = base.wrapping_sub(size.wrapping_mul((index & 7) as usize));
    let boottime = first.wrapping_add(size.wrapping_mul((index & SOFT | BOOTTIME) as usize));
    Some((clockid, expires_ns, member(base, Member::OFFSET_AT)?, member(boottime, Member::OFFSET_AT)?))
}

#[inline(always)]
fn moment(timer: u64) -> Moment {
    // SAFETY: the helper only reads the clock.
    Moment { ns: unsafe { bpf_ktime_get_ns() }, timer }
}

#[inline(always)]
fn cpu() -> u32 {
    // SAFETY: the helper only reads the CPU's number.
    unsafe { bpf_get_smp_processor_id() }
}
