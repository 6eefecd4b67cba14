//! Which timer it is, of all that are told apart, and which a descriptor leads to.
//!
//! `do_timerfd_settime` and its like look the descriptor up themselves. Looked up once before and
//! once after them, with the same outcome, it is the one that they found: unless other threads put
//! a file there and the first one back again in between.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap};
use settime32_abi::event::Counter;
use settime32_abi::moment::{Due, Timer};

use super::layout::{Member, at, member};
use super::output::now_ns;
use crate::filter;
use crate::losses::count;

/// `BPF_NOEXIST` of `include/uapi/linux/bpf.h`.
const NO_EXIST: u64 = 1;
/// `CLOCK_REALTIME_ALARM` and `CLOCK_BOOTTIME_ALARM`.
const ALARMS: [i32; 2] = [8, 9];
/// `HRTIMER_BASE_BOOTTIME`, and the bit that tells soft bases from hard ones
/// (`include/linux/hrtimer_defs.h`).
const BOOTTIME: u32 = 2;
const SOFT: u32 = 4;

/// [`Timer::met_ns`] by [`Timer::address`], from the timer's creation, or from when it was met,
/// until its release is over. Where only some threads are wanted, these are the timers that they
/// came to; user space sets the size.
#[map]
static TIMERS: HashMap<u64, u64> = HashMap::with_max_entries(1, 0);

/// Address of the kernel's `timerfd_fops`, by which the file of a timer is known; 0 until one was
/// seen.
#[map]
static TIMERFD_FOPS: Array<u64> = Array::with_max_entries(1, 0);

/// The timer at an address, if it was met.
#[inline(always)]
pub(crate) fn known(address: u64) -> Timer {
    match TIMERS.get_ptr(address) {
        // SAFETY: the kernel gives its memory to no other entry before the program has ended, and
        // not in halves.
        Some(met_ns) => Timer { address, met_ns: unsafe { *met_ns } },
        None => Timer::NONE,
    }
}

/// The timer at an address, to which somebody came who is wanted. There is none when there is no
/// address, and where there is no room for another timer, which is counted.
#[inline(always)]
pub(crate) fn meet(address: u64) -> Timer {
    if address == 0 {
        return Timer::NONE;
    }
    let timer = known(address);
    if timer.is_none() { meet_first(address) } else { timer }
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn insert_first(address: u64) -> u64 {
    let met_ns = now_ns();
    if TIMERS.insert(address, met_ns, NO_EXIST).is_ok() {
        return met_ns;
    }
    // Another CPU may have been first.
    let timer = known(address);
    if timer.is_none() {
        count(Counter::LostInFlight);
    }
    timer.met_ns
}

#[inline(always)]
fn meet_first(address: u64) -> Timer {
    match insert_first(address) {
        0 => Timer::NONE,
        met_ns => Timer { address, met_ns },
    }
}

/// The timer at an address of which the kernel tells by itself: whoever comes to it, where all are
/// wanted.
#[inline(always)]
pub(crate) fn watched(address: u64) -> Timer {
    if filter::any() { known(address) } else { meet(address) }
}

/// A timer is made, whatever was at its address before.
#[inline(always)]
pub(crate) fn made(address: u64) -> Timer {
    let met_ns = now_ns().max(known(address).met_ns.wrapping_add(1));
    if TIMERS.insert(address, met_ns, 0).is_err() {
        count(Counter::LostInFlight);
        return Timer::NONE;
    }
    Timer { address, met_ns }
}

/// A timer is made by somebody who is not wanted: what was at its address before is gone.
#[inline(always)]
pub(crate) fn made_unwanted(address: u64) {
    // Mostly there is none.
    _ = TIMERS.remove(address);
}

/// The timer is gone, and its address may be given to another one, or be already.
#[inline(always)]
pub(crate) fn forget(timer: Timer) {
    if known(timer.address) == timer {
        // It was there a moment ago.
        _ = TIMERS.remove(timer.address);
    }
}

/// Address of the `struct file` at a descriptor of the current thread; 0 when there is none.
#[inline(always)]
pub(crate) fn file_at(fd: i32) -> u64 {
    lookup(fd.cast_unsigned()).unwrap_or(0)
}

/// As `files_lookup_fd_raw` does it (`include/linux/fdtable.h`).
#[inline(always)]
fn lookup(fd: u32) -> Option<u64> {
    // SAFETY: the helper gives the current task's address.
    let task = unsafe { bpf_get_current_task() } as usize;
    let files: usize = member(task, Member::FILES_AT)?;
    let table: usize = member(files, Member::FDT_AT)?;
    let len: u32 = member(table, Member::MAX_FDS_AT)?;
    if fd >= len {
        return None;
    }
    let array: usize = member(table, Member::FD_AT)?;
    at(array.wrapping_add(fd as usize * size_of::<u64>()))
}

/// The address of a file's timer; 0 when there is none. Only of a file that is known to be a
/// timer's, by which others are known then.
#[inline(always)]
pub(crate) fn of_file(file: u64) -> u64 {
    if file == 0 {
        return 0;
    }
    if must_learn() {
        learn(member(file as usize, Member::F_OP_AT).unwrap_or(0));
    }
    inner(file)
}

/// The same of any file; 0 when it is none of a timer, or it is not known yet how those look.
#[inline(always)]
pub(crate) fn of_any_file(file: u64) -> u64 {
    if file == 0 || must_learn() || member(file as usize, Member::F_OP_AT) != Some(operations()) {
        0
    } else {
        inner(file)
    }
}

#[inline(always)]
fn inner(file: u64) -> u64 {
    member(file as usize, Member::PRIVATE_DATA_AT).unwrap_or(0)
}

/// Whether it is still to be learnt by what the files of timers are known.
#[inline(always)]
pub(crate) fn must_learn() -> bool {
    operations() == 0
}

#[inline(always)]
fn operations() -> u64 {
    // SAFETY: one word, that is written once.
    TIMERFD_FOPS.get_ptr(0).map_or(0, |operations| unsafe { *operations })
}

/// The address of `timerfd_fops`.
#[inline(always)]
pub(crate) fn learn(operations: u64) {
    if let Some(known) = TIMERFD_FOPS.get_ptr_mut(0) {
        // SAFETY: whoever else writes it writes the same.
        unsafe { *known = operations };
    }
}

/// The clock of a timer.
#[inline(always)]
pub(crate) fn clockid(timer: Timer) -> i32 {
    member(timer.address as usize, Member::CLOCKID_AT).unwrap_or(-1)
}

/// When the timer is due, by its clock as the kernel has it now.
#[inline(always)]
pub(crate) fn due(timer: Timer) -> Due {
    times(timer.address).unwrap_or(Due {
        expires_ns: 0,
        clock_offset_ns: 0,
        suspended_ns: 0,
        clockid: -1,
        is_known: 0,
    })
}

/// From the base that the kernel compares with.
#[inline(always)]
fn times(timer: u64) -> Option<Due> {
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
    let (clock_offset_ns, suspended_ns) =
        (member(base, Member::OFFSET_AT)?, member(boottime, Member::OFFSET_AT)?);
    Some(Due { expires_ns, clock_offset_ns, suspended_ns, clockid, is_known: 1 })
}
