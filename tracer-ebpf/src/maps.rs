//! The maps, and what is written to them from more than one program. User space knows each by its name here.

use aya_ebpf::macros::map;
use aya_ebpf::maps::{HashMap, PerCpuArray, RingBuf};
use settime32_abi::event::{COUNTERS, Counter, RawEvent, flag};

/// Finished calls, on their way to user space; user space sets the size.
#[map]
static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

/// The last call of each thread, by thread id, which is in flight until [`flag::RETURNED`] is set. What is in here
/// stays, so that a thread pays for inserting once and never for removing; an entry of a thread that is gone is
/// used again by the next thread with its id.
#[map]
pub(crate) static THREADS: HashMap<u32, RawEvent> = HashMap::with_max_entries(8192, 0);

/// Calls in flight of threads that found [`THREADS`] full, removed as they return. Preallocated as well, so that an
/// entry costs no allocation and fails only when this many threads are inside the call at once (each of them sleeps
/// in a page fault).
#[map]
pub(crate) static OVERFLOW: HashMap<u32, RawEvent> = HashMap::with_max_entries(8192, 0);

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

/// Whether the call has not returned yet, as far as was seen.
#[inline(always)]
pub(crate) fn is_in_flight(event: &RawEvent) -> bool {
    event.flags & flag::RETURNED == 0
}
