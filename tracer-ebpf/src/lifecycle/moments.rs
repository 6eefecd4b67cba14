//! What becomes of a timer by itself: it expires, it is cancelled, it is gone.

use core::ptr::read_volatile;

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use bytemuck::Zeroable;
use settime32_abi::event::Counter;
use settime32_abi::moment::{
    Function, Inside, Moment, RawCancel, RawClockSet, RawExpiry, RawRelease, RawTicksSet, Record,
    Timer,
};

use super::calls::is_wanted;
use super::layout::Member;
use super::output::{moment, now_ns, who};
use super::{inside, timer};
use crate::losses::count;
use crate::maps::{current_tid, head, output};

/// `TFD_IOC_SET_TICKS` of `include/uapi/linux/timerfd.h`.
const SET_TICKS: u32 = 0x4008_5400;

/// 1 where a call that arms a timer for a time that has passed fires it itself (kernels since 7.2).
#[unsafe(no_mangle)]
static FIRES_INLINE: Global<u32> = Global::new(0);

/// The wait queue that the handler that runs on this CPU is about to wake, and the thread that it
/// runs in, or that it interrupted: where interrupts are threads, others may come in between.
#[map]
static HANDLED: PerCpuArray<[u64; 2]> = PerCpuArray::with_max_entries(1, 0);

/// `timerfd_tmrproc` or `timerfd_alarmproc` is entered with the timer or alarm that lies in the
/// `struct timerfd_ctx`.
#[inline(always)]
pub(crate) fn handler(inner: usize) {
    let address = inner.wrapping_sub(Member::TIMER_AT.at()) as u64;
    // Of any timer, so that none is taken for one that a call has fired.
    if let Some(handled) = HANDLED.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own.
        unsafe {
            *handled = [address.wrapping_add(Member::WQH_AT.at() as u64), current_tid().into()]
        };
    }
    let timer = timer::watched(address);
    if !timer.is_none() {
        expired(timer, false);
    }
}

/// `__wake_up_locked_key(wq_head, …)` is entered, which every firing and every cancellation comes
/// to (`fs/timerfd.c`).
#[inline(always)]
pub(crate) fn wakes(wq_head: u64) {
    if let Some(handled) = HANDLED.get_ptr_mut(0) {
        // SAFETY: the slot is this CPU's own.
        let [queue, thread] = unsafe { &mut *handled };
        // The verifier knows the argument for a pointer, of which it allows no arithmetic; so the
        // two must not be compared at once. SAFETY: it is a reference.
        if *queue == wq_head && unsafe { read_volatile(thread) } == current_tid().into() {
            (*queue, *thread) = (0, 0);
            return;
        }
    }
    let Some(inside) = inside::current() else { return };
    let address = wq_head.wrapping_sub(Member::WQH_AT.at() as u64);
    let fires =
        [Function::Settime, Function::Gettime, Function::Read].map(|function| function as u32);
    if inside.function == Function::ClockWasSet as u32 {
        let timer = timer::watched(address);
        if !timer.is_none() {
            output(&RawCancel { head: head(Record::Cancel), moment: moment(timer) });
        }
    } else if FIRES_INLINE.load() != 0
        && fires.contains(&inside.function)
        && timer::of_file(inside.file) == address
    {
        let timer = timer::watched(address);
        if !timer.is_none() {
            expired(timer, true);
        }
    }
}

/// `timerfd_clock_was_set` is entered, which cancels timers.
#[inline(always)]
pub(crate) fn clock_was_set_enters() {
    inside::enter(Function::ClockWasSet, Inside::zeroed());
}

/// It returns.
#[inline(always)]
pub(crate) fn clock_was_set_returns() {
    _ = inside::leave(Function::ClockWasSet);
    output(&RawClockSet { head: head(Record::ClockSet), ns: now_ns() });
}

/// `timerfd_ioctl(file, cmd, arg)` is entered.
#[inline(always)]
pub(crate) fn ioctl_enters(file: u64, command: u32) {
    if command != SET_TICKS {
        return;
    }
    let address = timer::of_file(file);
    let timer = if is_wanted() { timer::meet(address) } else { timer::known(address) };
    if !timer.is_none() {
        inside::enter(Function::Ioctl, Inside { file, timer, ..Inside::zeroed() });
    }
}

/// It returns.
#[inline(always)]
pub(crate) fn ioctl_returns(ret: i64) {
    if let Some(inside) = inside::leave(Function::Ioctl).filter(|_| ret == 0) {
        output(&RawTicksSet {
            head: head(Record::TicksSet),
            moment: moment(inside.timer),
            ids: bpf_get_current_pid_tgid(),
        });
    }
}

/// `timerfd_release(inode, file)` is entered, by whom its last descriptor was of. A handler may
/// still run until it returns.
#[inline(always)]
pub(crate) fn release_enters(file: u64) {
    let address = timer::of_file(file);
    let timer = if is_wanted() { timer::meet(address) } else { timer::known(address) };
    if !timer.is_none() {
        inside::enter(Function::Release, Inside { file, timer, ..Inside::zeroed() });
    }
}

/// It returns: nothing more comes of that timer.
#[inline(always)]
pub(crate) fn release_returns() {
    let Some(Inside { entry_ns: ns, timer, .. }) = inside::leave(Function::Release) else { return };
    output(&RawRelease { head: head(Record::Release), moment: Moment { ns, timer }, who: who() });
    timer::forget(timer);
}

#[inline(always)]
fn expired(timer: Timer, is_inline: bool) {
    let due = timer::due(timer);
    if due.is_known == 0 {
        return count(Counter::LostInFlight);
    }
    output(&RawExpiry {
        head: head(Record::Expiry),
        moment: moment(timer),
        due,
        is_inline: is_inline.into(),
    });
}
