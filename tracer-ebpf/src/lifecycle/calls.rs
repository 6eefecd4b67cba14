//! Related calls: taken in as they enter, filled on the way, reported as they return.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use bytemuck::Zeroable;
use settime32_abi::event::Counter;
use settime32_abi::moment::{
    Call, Function, Inside, Moment, RawArming, RawCall, Record, Timer, call_flag,
};
use settime32_abi::timespec::Itimerspec64;

use super::layout::at;
use super::output::{now_ns, who};
use super::{inside, timer};
use crate::filter;
use crate::losses::count;
use crate::maps::{current_tid, head, output};

/// `__USER_CS` of `arch/x86/include/asm/segment.h`.
const USER_CS: u16 = 0x33;
/// `-ECANCELED`: the timer was armed all the same (`timerfd_setup`, `fs/timerfd.c`).
const ECANCELED: i32 = -125;
/// `-EFAULT`.
const EFAULT: i64 = -14;
/// Instead of the place that a setting is copied to: that was seen to be done, or to fail.
const WAS_COPIED: u64 = 1;

/// Related calls in flight by thread id; user space sets the size.
#[map]
static CALLS: HashMap<u32, RawCall> = HashMap::with_max_entries(1, 0);

/// `struct pt_regs` from `bx` to `cs` (`arch/x86/include/asm/ptrace.h`).
type Saved = [u64; 13];
/// Where [`Saved`] begins.
const SAVED_AT: usize = 40;

/// The first four arguments, as the wrappers of x86-64 take them, or those of i386
/// (`arch/x86/include/asm/syscall_wrapper.h`).
#[inline(always)]
fn arguments(saved: &Saved, is_i386: bool) -> [u64; 4] {
    let [bx, _, r10, _, _, _, cx, dx, si, di, ..] = *saved;
    if is_i386 {
        [bx, cx, dx, si].map(|register| register as u32 as u64)
    } else {
        [di, si, dx, r10]
    }
}

const fn is_i386(call: Call) -> bool {
    !matches!(call, Call::CreateX64 | Call::SettimeX64 | Call::GettimeX64)
}

/// A wrapper is entered with `pt_regs`.
#[inline(always)]
pub(crate) fn enter(call: Call, pt_regs: Option<usize>) {
    let ids = bpf_get_current_pid_tgid();
    if filter::any() && !filter::wants(ids) {
        return;
    }
    report_lost_result();
    let saved = pt_regs.and_then(|pt_regs| at::<Saved>(pt_regs + SAVED_AT));
    let Some(saved) = saved else { return count(Counter::LostInFlight) };
    let mut raw = RawCall::zeroed();
    raw.head = head(Record::Call);
    raw.who = who();
    raw.call = call as u32;
    raw.args = arguments(&saved, is_i386(call));
    raw.flags = if saved[12] as u16 == USER_CS { call_flag::CALLER_64BIT } else { 0 };
    raw.entry_ns = now_ns();
    if CALLS.insert(ids as u32, raw, 0).is_err() {
        count(Counter::LostInFlight);
    }
}

/// A wrapper returns.
#[inline(always)]
pub(crate) fn leave(ret: i64) {
    let Some(call) = current() else { return };
    if !is_complete(call, ret) {
        count(Counter::LostInFlight);
        return remove();
    }
    if creates(call) && ret < 0 {
        // One for which there was no descriptor.
        timer::forget(call.timer);
        call.timer = Timer::NONE;
    }
    call.exit_ns = now_ns();
    call.ret = ret;
    call.flags |= call_flag::RETURNED;
    output(call);
    remove();
}

/// Whether what functions tell that others call, too, was seen: the kernel may have passed a
/// program over, and counts all alike. An event that lacks a fact must not look as if there had
/// been none.
#[inline(always)]
fn is_complete(call: &RawCall, ret: i64) -> bool {
    let has = |bit: u32| call.flags & bit != 0;
    let is = |of: Call| call.call == of as u32;
    if creates(call) {
        return ret < 0 || !call.timer.is_none();
    }
    let (sets, gets) = (is(Call::PosixSettime32), is(Call::PosixGettime32));
    // Without a new setting there is nothing to copy, and what fails later had it copied
    // (`timer_settime32`, `kernel/time/posix-timers.c`).
    let used = !sets || call.args[2] == 0 || call.filled == WAS_COPIED;
    // It is handed over once all else is done, which may fail itself, but does not where the new
    // one could not be copied.
    let hands_over = gets || sets && call.args[3] != 0 && has(call_flag::USED);
    let old = has(call_flag::OLD) || !hands_over || ret != 0 && ret != EFAULT;
    used && old
}

#[inline(always)]
fn creates(call: &RawCall) -> bool {
    call.call == Call::CreateX64 as u32 || call.call == Call::CreateI386 as u32
}

/// A thread is in one call at a time, and exits from none: one that is there returned unseen.
#[inline(always)]
pub(crate) fn report_lost_result() {
    let Some(call) = current() else { return };
    call.flags |= call_flag::RESULT_LOST;
    if output(call) {
        count(Counter::LostResult);
    }
    remove();
}

#[inline(always)]
fn remove() {
    // It was there a moment ago.
    _ = CALLS.remove(current_tid());
}

/// The related call that the current thread is in.
#[inline(always)]
fn current() -> Option<&'static mut RawCall> {
    // SAFETY: the entry is this thread's own.
    CALLS.get_ptr_mut(current_tid()).map(|call| unsafe { &mut *call })
}

/// The same, if it is one of two.
#[inline(always)]
fn current_of(one: Call, other: Call) -> Option<&'static mut RawCall> {
    current().filter(|call| call.call == one as u32 || call.call == other as u32)
}

/// `do_timerfd_settime(ufd, flags, new, old)` is entered; `new` is what was copied. The timer is
/// told from others before it can fire.
#[inline(always)]
pub(crate) fn settime_enters(ufd: i32, new: usize, old: usize) {
    let is_wanted = is_wanted();
    if !is_wanted && !timer::must_learn() {
        return;
    }
    let file = timer::file_at(ufd);
    let timer = if is_wanted { timer::meet(timer::of_any_file(file)) } else { Timer::NONE };
    inside::enter(
        Function::Settime,
        Inside { file, timer, value: is_wanted.into(), fd: ufd, ..Inside::zeroed() },
    );
    if let Some(call) = current_of(Call::SettimeX64, Call::SettimeI386) {
        if let Some(used) = at(new) {
            call.used = used;
            call.flags |= call_flag::USED;
        }
        call.filled = old as u64;
    }
}

/// It returns.
#[inline(always)]
pub(crate) fn settime_returns(ret: i32) {
    let Some(inside) = inside::leave(Function::Settime) else { return };
    let has_set = ret == 0 || ret == ECANCELED;
    if inside.value == 0 {
        if has_set && timer::file_at(inside.fd) == inside.file {
            timer::of_file(inside.file);
        }
        return;
    }
    let timer = if has_set { timer_found(&inside) } else { Timer::NONE };
    let (ns, due) = (now_ns(), timer::due(timer));
    if let Some(call) = current_of(Call::SettimeX64, Call::SettimeI386) {
        if due.is_known != 0 {
            (call.timer, call.due, call.armed_ns) = (timer, due, ns);
        }
        if ret == 0 {
            keep_old(call, call.filled as usize);
        }
    } else if due.is_known != 0 {
        let ids = bpf_get_current_pid_tgid();
        output(&RawArming { head: head(Record::Arming), moment: Moment { ns, timer }, ids, due });
    }
}

/// `do_timerfd_gettime(ufd, t)` is entered.
#[inline(always)]
pub(crate) fn gettime_enters(ufd: i32, t: usize) {
    if is_wanted() {
        let file = timer::file_at(ufd);
        let timer = timer::meet(timer::of_any_file(file));
        inside::enter(
            Function::Gettime,
            Inside { file, timer, value: t as u64, fd: ufd, ..Inside::zeroed() },
        );
    }
}

/// It returns, and has filled `t` if it could.
#[inline(always)]
pub(crate) fn gettime_returns(ret: i32) {
    let Some(inside) = inside::leave(Function::Gettime).filter(|_| ret == 0) else { return };
    let timer = timer_found(&inside);
    let Some(call) = current() else { return };
    found(call, timer);
    keep_old(call, inside.value as usize);
}

/// A file is about to be made that has a name, operations, and something of its own, which for
/// timers is the new `struct timerfd_ctx`.
#[inline(always)]
pub(crate) fn makes(name: usize, operations: u64, private: u64) {
    if at::<[u8; 8]>(name) != Some(*b"[timerfd") {
        return;
    }
    timer::learn(operations);
    if !is_wanted() {
        return timer::made_unwanted(private);
    }
    let timer = timer::made(private);
    if let Some(call) = current_of(Call::CreateX64, Call::CreateI386) {
        found(call, timer);
    }
}

/// `get_old_itimerspec32(its, uits)` is entered.
#[inline(always)]
pub(crate) fn get_old_enters(its: usize) {
    if let Some(call) = current_of(Call::PosixSettime32, Call::PosixSettime32) {
        call.filled = its as u64;
    }
}

/// It returns, and has filled `its` if it could.
#[inline(always)]
pub(crate) fn get_old_returns(ret: i32) {
    let Some(call) = current_of(Call::PosixSettime32, Call::PosixSettime32) else { return };
    if ret == 0 {
        let Some(used) = at(call.filled as usize) else { return };
        call.used = used;
        call.flags |= call_flag::USED;
    }
    call.filled = WAS_COPIED;
}

/// `put_old_itimerspec32(its, uits)` is entered.
#[inline(always)]
pub(crate) fn put_old(its: usize) {
    if let Some(call) = current_of(Call::PosixSettime32, Call::PosixGettime32) {
        keep_old(call, its);
    }
}

/// Whether what the current thread does is.
#[inline(always)]
pub(crate) fn is_wanted() -> bool {
    !filter::any() || filter::wants(bpf_get_current_pid_tgid())
}

/// The timer that a descriptor led to before and leads to still, where the function has said that
/// it is one's; none when it is not certain.
#[inline(always)]
fn timer_found(inside: &Inside) -> Timer {
    if timer::file_at(inside.fd) != inside.file {
        return Timer::NONE;
    }
    if inside.timer.is_none() { timer::meet(timer::of_file(inside.file)) } else { inside.timer }
}

#[inline(always)]
fn found(call: &mut RawCall, timer: Timer) {
    if !timer.is_none() {
        call.timer = timer;
        call.due.clockid = timer::clockid(timer);
    }
}

#[inline(always)]
fn keep_old(call: &mut RawCall, from: usize) {
    if let Some(old) = at::<Itimerspec64>(from) {
        call.old = old;
        call.flags |= call_flag::OLD;
    }
}
