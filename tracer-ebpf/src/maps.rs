//! The maps, and what is written to them from more than one program. User space knows each by its name here.

use core::mem::offset_of;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, HashMap, PerCpuArray, RingBuf};
use bytemuck::Zeroable;
use settime32_abi::event::{COUNTERS, Counter, RawEvent, SLOTS as SLOTS_LEN, flag};

/// `BPF_F_MMAPABLE` of `include/uapi/linux/bpf.h`: user space looks at all entries at once.
const MMAPABLE: u32 = 1 << 10;
/// `BPF_ANY` of the same: insert or replace.
const ANY: u64 = 0;

/// Finished calls, on their way to user space; user space sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

/// The last call of each thread, at the index of its id, which is in flight while [`flag::IN_FLIGHT`] is set. An
/// array, because the verifier turns its lookup into a few instructions, and a call needs several. An entry of a
/// thread that is gone is used again by the next thread with its id.
#[map]
static SLOTS: Array<RawEvent> = Array::with_max_entries(SLOTS_LEN, MMAPABLE);

/// The same by thread id, for ids beyond the array. What is in here stays, so that a thread pays for inserting once
/// and never for removing.
#[map]
static THREADS: HashMap<u32, RawEvent> = HashMap::with_max_entries(8192, 0);

/// Calls in flight of threads that found [`THREADS`] full, removed as they return. Preallocated as well, so that an
/// entry costs no allocation and fails only when this many threads are inside the call at once (each of them sleeps
/// in a page fault).
#[map]
static OVERFLOW: HashMap<u32, RawEvent> = HashMap::with_max_entries(8192, 0);

/// Counts of [`Counter`].
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// The slot of a thread, for its next call; `None` when there is no room for another thread.
#[inline(always)]
pub(crate) fn claim(tid: u32) -> Option<&'static mut RawEvent> {
    if let Some(slot) = own_slot(tid) {
        return Some(slot);
    }
    if !make_shared_slot(tid) {
        return None;
    }
    shared_slot(tid)
}

/// Sees to it that there is a [`shared_slot`]. A function of its own, as all that is not on the usual way through a
/// program: in line, it would have the compiler put registers by at the program's begin.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn make_shared_slot(tid: u32) -> bool {
    if shared_slot(tid).is_some() {
        return true;
    }
    let empty = RawEvent::zeroed();
    THREADS.insert(tid, empty, ANY).is_ok() || OVERFLOW.insert(tid, empty, ANY).is_ok()
}

/// The current thread's last call, which may be in flight.
#[inline(always)]
pub(crate) fn current_slot() -> Option<&'static mut RawEvent> {
    own_slot(current_tid()).or_else(current_shared_slot)
}

/// A [`shared_slot`] of the current thread. Its id is asked for once more, so that none has to be kept for this.
#[inline(always)]
pub(crate) fn current_shared_slot() -> Option<&'static mut RawEvent> {
    shared_slot(current_tid())
}

#[inline(always)]
pub(crate) fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// A thread's entry in the array; `None` for ids beyond it.
#[inline(always)]
pub(crate) fn own_slot(tid: u32) -> Option<&'static mut RawEvent> {
    // SAFETY: the entry is this thread's own: no other one writes it. No program keeps it beyond its end, and none looks
    // it up again while it holds it.
    SLOTS.get_ptr_mut(tid).map(|slot| unsafe { &mut *slot })
}

/// The entry of a thread whose id is beyond the array.
#[inline(always)]
pub(crate) fn shared_slot(tid: u32) -> Option<&'static mut RawEvent> {
    let slot = match THREADS.get_ptr_mut(tid) {
        Some(slot) => slot,
        None => OVERFLOW.get_ptr_mut(tid)?,
    };
    // SAFETY: as above, and nothing else removes it while the thread is here.
    Some(unsafe { &mut *slot })
}

/// Gives the room of a finished call back that was a [`shared_slot`], where it is scarce.
#[inline(always)]
pub(crate) fn release(tid: u32) {
    if THREADS.get_ptr(tid).is_none() {
        // The entry was there a moment ago.
        _ = OVERFLOW.remove(tid);
    }
}

/// A thread is in one call at a time, so an earlier one that is still in flight returned unseen: it is reported as
/// far as it is known.
#[inline(always)]
pub(crate) fn report_lost_result(earlier: &mut RawEvent) {
    if earlier.flags & flag::IN_FLIGHT != 0 {
        report_in_flight(earlier);
    }
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn report_in_flight(earlier: &mut RawEvent) {
    earlier.flags = earlier.flags & !flag::IN_FLIGHT | flag::RESULT_LOST;
    if submit(earlier, None) {
        count(Counter::LostResult);
    }
}

/// What the return of a call tells.
#[derive(Clone, Copy)]
pub(crate) struct Returned {
    pub exit_ns: u64,
    pub ret: i64,
}

/// Hands a call to user space; false when the ring buffer had no room, which is then counted.
#[inline(always)]
pub(crate) fn submit(event: &RawEvent, returned: Option<Returned>) -> bool {
    // Reserving and submitting costs less than the one call that copies, which does both and calls `memcpy`.
    let Some(mut entry) = EVENTS.reserve::<RawEvent>(0) else {
        count(Counter::LostBuffer);
        return false;
    };
    copy_words(entry.as_mut_ptr(), event, returned);
    entry.submit(0);
    true
}

/// Word by word. As one assignment, the compiler reads many words before it writes the first, which it then has to
/// put by on the stack. The return's facts go from the registers to where they belong, and not by way of the slot.
#[inline(always)]
fn copy_words(to: *mut RawEvent, from: &RawEvent, returned: Option<Returned>) {
    const WORDS: usize = size_of::<RawEvent>() / size_of::<u64>();
    const _: () = assert!(size_of::<RawEvent>().is_multiple_of(size_of::<u64>()));
    const EXIT_NS: usize = offset_of!(RawEvent, exit_ns) / size_of::<u64>();
    const RET: usize = offset_of!(RawEvent, ret) / size_of::<u64>();
    let from = (&raw const *from).cast::<u64>();
    for at in 0..WORDS {
        // SAFETY: it is as long as an event, aligned for its first word, and any bits are a word.
        let word = || unsafe { from.add(at).read_volatile() };
        let word = match (at, returned) {
            (EXIT_NS, Some(returned)) => returned.exit_ns,
            (RET, Some(returned)) => returned.ret.cast_unsigned(),
            _ => word(),
        };
        // SAFETY: as above.
        unsafe { to.cast::<u64>().add(at).write_volatile(word) };
    }
}

/// Adds one. Nothing else writes this CPU's slot meanwhile: kprobes and tracepoints run with preemption off, and
/// what is counted from a trampoline is counted by a program that the kernel keeps on its CPU (`migrate_disable`),
/// where another thread's count could be lost in between only on a preemptible kernel.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
pub(crate) fn count(counter: Counter) {
    if let Some(slot) = LOSSES.get_ptr_mut(counter as u32) {
        // SAFETY: the kernel checked the index, and the slot is this CPU's own.
        unsafe { *slot += 1 };
    }
}
