//! Threads that are told of a timer: by its own read, or by a poll of it within a call that waits.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_user};
use bytemuck::Zeroable;
use settime32_abi::event::Counter;
use settime32_abi::moment::{Function, Moment, RawWakeup, wakeup_flag};

use super::calls::is_wanted;
use super::layout::{Member, at, member};
use super::output::{name, output};
use super::{inside, timer};
use crate::maps::count;

/// What a read gives that had something to give: the 8 bytes of a count.
const COUNT_LEN: i64 = 8;
/// `-ECANCELED`.
const ECANCELED: i64 = -125;
/// `EPOLLIN` of `include/uapi/linux/eventpoll.h`.
const EPOLLIN: u64 = 1;
/// `ITER_UBUF` and `ITER_IOVEC` of `include/linux/uio.h`, since 6.4 and so on all kernels that read timers by iterator (6.10).
const ITER_UBUF: u8 = 0;
const ITER_IOVEC: u8 = 1;

/// `timerfd_read(file, buf, …)` is entered.
#[inline(always)]
pub(crate) fn read_enters(file: u64, buffer: u64) {
    if is_wanted() {
        inside::enter(Function::Read, file, buffer, 0);
    }
}

/// `timerfd_read_iter(iocb, to)` is entered.
#[inline(always)]
pub(crate) fn read_iter_enters(iocb: usize, to: usize) {
    // `ki_filp` is the first member of `struct kiocb`.
    match at(iocb) {
        Some(file) => read_enters(file, buffer_of(to).unwrap_or(0)),
        None => count(Counter::LostInFlight),
    }
}

/// The reader's memory, where it is one piece of it, or the first of several.
#[inline(always)]
fn buffer_of(iter: usize) -> Option<u64> {
    let first: u64 = member(iter, Member::UBUF_AT)?;
    match member::<u8>(iter, Member::ITER_TYPE_AT)? {
        ITER_UBUF => Some(first),
        // `iov_base` is the first member of `struct iovec`.
        ITER_IOVEC => at(first as usize),
        _ => None,
    }
}

/// Either of them returns.
#[inline(always)]
pub(crate) fn read_returns(ret: i64) {
    let Some(inside) = inside::leave(Function::Read).filter(|_| ret == COUNT_LEN || ret == ECANCELED) else { return };
    let mut told = told(inside.file);
    told.entry_ns = inside.entry_ns;
    told.ret = ret;
    told.flags = wakeup_flag::READ;
    if ret == COUNT_LEN && inside.value != 0 {
        // SAFETY: a source that cannot be read gives an error.
        if let Ok(ticks) = unsafe { bpf_probe_read_user(inside.value as *const u64) } {
            told.ticks = ticks;
            told.flags |= wakeup_flag::TICKS;
        }
    }
    output(&told);
}

/// `timerfd_poll(file, wait)` is entered; `wait` says which events are asked for, as callers set it before each poll.
#[inline(always)]
pub(crate) fn poll_enters(file: u64, wait: usize) {
    if is_wanted() {
        let asked: u32 = if wait == 0 { u32::MAX } else { member(wait, Member::POLL_KEY_AT).unwrap_or(u32::MAX) };
        inside::enter(Function::Poll, file, asked.into(), 0);
    }
}

/// It returns the events that there are.
#[inline(always)]
pub(crate) fn poll_returns(events: u32) {
    let Some(inside) = inside::leave(Function::Poll) else { return };
    if u64::from(events) & inside.value & EPOLLIN == 0 {
        return;
    }
    let Some((nr, is_i386)) = system_call() else { return count(Counter::LostInFlight) };
    let mut told = told(inside.file);
    told.nr = nr;
    told.flags = if is_i386 { wakeup_flag::I386 } else { 0 };
    output(&told);
}

#[inline(always)]
fn told(file: u64) -> RawWakeup {
    let mut told = RawWakeup::zeroed();
    // SAFETY: the helper only reads the clock.
    told.moment = Moment { ns: unsafe { bpf_ktime_get_ns() }, timer: timer::of_file(file) };
    told.ids = bpf_get_current_pid_tgid();
    told.comm = name();
    // SAFETY: the helper only reads the CPU's number.
    told.cpu = unsafe { bpf_get_smp_processor_id() } as u16;
    told
}

/// The call that the current thread is in, and whether it came by the i386 table (`TS_COMPAT`).
///
/// Its registers lie at the top of the thread's stack: right there, or on kernels that are built for FRED 16 bytes below
/// (`TOP_OF_KERNEL_STACK_PADDING`, `arch/x86/include/asm/thread_info.h`). The two segments say which: no other word there looks
/// like them.
#[inline(always)]
fn system_call() -> Option<(u32, bool)> {
    const TS_COMPAT: u32 = 2;
    // SAFETY: the helper gives the current task's address.
    let task = unsafe { bpf_get_current_task() } as usize;
    let stack: usize = member(task, Member::STACK_AT)?;
    let status: u32 = member(task, Member::STATUS_AT)?;
    let nr = number(stack, 0).or_else(|| number(stack, 16))?;
    Some((nr, status & TS_COMPAT != 0))
}

/// `orig_ax`, when the registers are there.
#[inline(always)]
fn number(stack: usize, padding: usize) -> Option<u32> {
    /// `THREAD_SIZE` without KASAN.
    const STACK_LEN: usize = 16_384;
    /// `orig_ax`, `ip`, `cs`, `flags`, `sp`, `ss`: the last six words of `struct pt_regs`.
    type Last = [u64; 6];
    const USER_DS: u16 = 0x2b;
    const USER_CODE: [u16; 2] = [0x23, 0x33];
    let [orig_ax, _ip, cs, _flags, _sp, ss] = at::<Last>(stack.wrapping_add(STACK_LEN - padding - size_of::<Last>()))?;
    (ss as u16 == USER_DS && USER_CODE.contains(&(cs as u16))).then_some(orig_ax as u32)
}
