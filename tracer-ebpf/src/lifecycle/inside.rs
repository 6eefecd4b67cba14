//! What each thread is doing with a timer, kept from a function's entry to its return. A thread is
//! in one of these functions at a time; one that is found in there at its next entry returned
//! unseen, which is counted.

use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use settime32_abi::event::Counter;
use settime32_abi::moment::{Function, Inside};

use super::output::now_ns;
use crate::ids;
use crate::losses::count;
use crate::maps::current_tid;

/// By thread id; user space sets the size.
#[map]
static INSIDE: HashMap<u32, Inside> = HashMap::with_max_entries(1, 0);

/// The current thread enters.
#[inline(always)]
pub(crate) fn enter(function: Function, inside: Inside) {
    let tid = current_tid();
    if INSIDE.get_ptr(tid).is_some() {
        count(Counter::LostInFlight);
    }
    let inside =
        Inside { entry_ns: now_ns(), own_ids: ids::own(), function: function as u32, ..inside };
    if INSIDE.insert(tid, inside, 0).is_err() {
        count(Counter::LostInFlight);
    }
}

/// The current thread returns. `None` when its entry was not wanted, or not seen.
#[inline(always)]
pub(crate) fn leave(function: Function) -> Option<Inside> {
    let inside = current()?;
    if inside.function != function as u32 {
        return None;
    }
    // It was there a moment ago.
    _ = INSIDE.remove(current_tid());
    Some(inside)
}

/// What the current thread is in.
#[inline(always)]
pub(crate) fn current() -> Option<Inside> {
    // SAFETY: the entry is this thread's own.
    INSIDE.get_ptr(current_tid()).map(|inside| unsafe { *inside })
}

/// The current thread is about to be gone, and exits from none of the functions.
#[inline(always)]
pub(crate) fn thread_exits() {
    if INSIDE.get_ptr(current_tid()).is_some() {
        count(Counter::LostInFlight);
        // It was there a moment ago.
        _ = INSIDE.remove(current_tid());
    }
}
