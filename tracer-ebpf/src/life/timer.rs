//! Which timer a descriptor leads to, and which timers are of interest.
//!
//! `do_timerfd_settime` and its like look the descriptor up themselves. Looked up once before and once after them, with the same
//! outcome, it is the one that they found: unless other threads put a file there and the first one back again in between.

use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use settime32_abi::event::Counter;

use super::layout::{Member, at, member};
use crate::filter;
use crate::maps::count;

/// Timers that wanted threads came to, where only some are wanted; user space sets the size.
#[map]
static WATCHED: HashMap<u64, u8> = HashMap::with_max_entries(1, 0);

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

/// The timer of a file; 0 when there is none. Only of a file that is known to be a timer's.
#[inline(always)]
pub(crate) fn of_file(file: u64) -> u64 {
    if file == 0 {
        return 0;
    }
    member(file as usize, Member::PRIVATE_DATA_AT).unwrap_or(0)
}

/// The clock of a timer.
#[inline(always)]
pub(crate) fn clockid(timer: u64) -> i32 {
    member(timer as usize, Member::CLOCKID_AT).unwrap_or(-1)
}

/// A wanted thread came to the timer.
#[inline(always)]
pub(crate) fn watch(timer: u64) {
    if filter::any() && WATCHED.insert(timer, 0, 0).is_err() {
        count(Counter::LostFollow);
    }
}

/// Whether what becomes of the timer is wanted.
#[inline(always)]
pub(crate) fn is_watched(timer: u64) -> bool {
    !filter::any() || WATCHED.get_ptr(timer).is_some()
}

/// The timer is gone, and its address may be given to another one.
#[inline(always)]
pub(crate) fn forget(timer: u64) {
    if filter::any() {
        // It is there, since it is watched.
        _ = WATCHED.remove(timer);
    }
}
