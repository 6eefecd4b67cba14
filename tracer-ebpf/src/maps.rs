//! The maps, and what is written to them from more than one program. User space knows each by its name here.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray, RingBuf};
use settime32_abi::event::{COUNTERS, Counter, RawEvent};

/// Finished calls, on their way to user space; user space sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

/// Calls between their entry and their return, by thread id. Preallocated, so that an entry costs no allocation
/// and fails only when this many threads are inside the call at once (each of them sleeps in a page fault).
#[map]
pub(crate) static IN_FLIGHT: HashMap<u32, RawEvent> = HashMap::with_max_entries(8192, 0);

/// Counts of [`Counter`].
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Hands a call to user space; false when the ring buffer had no room, which is then counted.
#[inline(always)]
pub(crate) fn submit(event: &RawEvent) -> bool {
    // One helper call that copies costs less than reserving and submitting, two calls and the same copy.
    let submitted = EVENTS.output::<RawEvent>(event, 0).is_ok();
    if !submitted {
        count(Counter::LostBuffer);
    }
    submitted
}

/// Adds one. Nothing else writes this CPU's slot meanwhile: probes and tracepoints run with preemption off.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(slot) = LOSSES.get_ptr_mut(counter as u32) {
        // SAFETY: the kernel checked the index, and the slot is this CPU's own.
        unsafe { *slot += 1 };
    }
}
