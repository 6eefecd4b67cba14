//! Calls in flight: each in the place of its thread, from its entry to its return.
//!
//! The places are few and in memory that a program reaches without a lookup. The lower bits of a
//! thread's id say which is its own, and the owner that is written there whether the call in it is.
//! While another thread has it, a call is kept beside the table. Nothing is kept for threads that
//! are not inside.

use core::cell::UnsafeCell;
use core::mem::{MaybeUninit, offset_of};

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_probe_read_user;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use settime32_abi::event::{Counter, RawEvent, SLOTS as PLACES, Slot, flag};
use settime32_abi::timespec::ITIMERSPEC32_SIZE;

use crate::losses::{add_at, count};
use crate::maps::submit;

struct Table(UnsafeCell<[Slot; PLACES as usize]>);

// SAFETY: what lies in a place is written by its owner alone, and who that is is settled by
// `claims`.
unsafe impl Sync for Table {}

/// In a section of its own, which is a map of its own to user space.
#[unsafe(link_section = ".bss.slots")]
#[unsafe(no_mangle)]
static SLOTS: Table = Table(UnsafeCell::new([EMPTY; PLACES as usize]));

// SAFETY: it is of integers.
const EMPTY: Slot = unsafe { core::mem::zeroed() };

/// Calls in flight whose place another thread has. Preallocated, so that an entry costs no
/// allocation and fails only when this many threads are inside the call at once (each of them
/// sleeps in a page fault).
#[map]
static BESIDE: HashMap<u64, Slot> = HashMap::with_max_entries(8192, 0);

/// The place of a thread's calls, whoever has it now.
#[inline(always)]
fn place(thread: u64) -> &'static mut Slot {
    let at = (thread & u64::from(PLACES - 1)) as usize;
    // SAFETY: it is within the table. No program keeps it beyond its end, and none looks at more
    // than the owner before that is known to be its thread.
    unsafe { &mut *SLOTS.0.get().cast::<Slot>().add(at) }
}

#[inline(always)]
fn beside(thread: u64) -> Option<&'static mut Slot> {
    // SAFETY: the entry is this thread's own, and nobody else removes it.
    BESIDE.get_ptr_mut(thread).map(|slot| unsafe { &mut *slot })
}

/// In [`Slot::claims`].
const CLAIM: i64 = 1;
const BESIDE_ONE: i64 = 1 << 32;

#[inline(always)]
fn add(slot: &mut Slot, by: i64) {
    // SAFETY: it is the word of the claims.
    unsafe { add_at::<{ offset_of!(Slot, claims) }, _>(slot, by) };
}

#[inline(always)]
fn claims(slot: &Slot) -> u64 {
    // SAFETY: the reference is valid. Others write it meanwhile.
    unsafe { (&raw const slot.claims).read_volatile() }
}

#[inline(always)]
fn has_beside(slot: &Slot) -> bool {
    claims(slot) >= BESIDE_ONE.cast_unsigned()
}

/// A place for the next call of a thread, of which it is the owner then; `None` when there is no
/// room.
///
/// Who adds to the claims and then finds no other has the place: two that add at once find each
/// other, and neither gets it. (The addition is a locked instruction, behind which a processor does
/// not look before it.)
#[inline(always)]
pub(crate) fn claim(thread: u64) -> Option<&'static mut Slot> {
    let slot = place(thread);
    add(slot, CLAIM);
    if claims(slot) != CLAIM.cast_unsigned() {
        return claim_taken(thread);
    }
    slot.owner = thread;
    Some(slot)
}

/// What a place holds that nobody has. On the stack, of which a program and all that it calls have
/// 512 bytes, it would take a third.
static UNUSED: Slot = EMPTY;

/// A function of its own, as all that is not on the usual way through a program: in line, it would
/// have the compiler put registers by at the program's begin.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn claim_taken(thread: u64) -> Option<&'static mut Slot> {
    let slot = place(thread);
    if has_beside(slot) {
        forget_beside(thread);
    }
    if claims(slot) as u32 == 1 {
        slot.owner = thread;
        return Some(slot);
    }
    add(slot, -CLAIM);
    if slot.owner == thread {
        report_lost_result(&mut slot.event);
        return Some(slot);
    }
    let unused: &Slot = &UNUSED;
    BESIDE.insert(thread, unused, 0).ok()?;
    add(slot, BESIDE_ONE);
    let slot = beside(thread)?;
    slot.owner = thread;
    Some(slot)
}

/// The call that the current thread is in, as far as was seen.
#[inline(always)]
pub(crate) fn current() -> Option<&'static mut Slot> {
    match own_place() {
        Some(slot) => Some(slot),
        None => current_beside(),
    }
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
pub(crate) fn current_beside() -> Option<&'static mut Slot> {
    let thread = bpf_get_current_pid_tgid();
    if has_beside(place(thread)) { beside(thread) } else { None }
}

/// The current thread's place, when it has a call there.
#[inline(always)]
pub(crate) fn own_place() -> Option<&'static mut Slot> {
    let thread = bpf_get_current_pid_tgid();
    let slot = place(thread);
    (slot.owner == thread).then_some(slot)
}

/// What lies in a place stays there until the next call.
#[inline(always)]
pub(crate) fn free(slot: &mut Slot) {
    slot.owner = 0;
    add(slot, -CLAIM);
}

#[inline(always)]
fn free_beside(thread: u64) {
    if BESIDE.remove(thread).is_ok() {
        add(place(thread), -BESIDE_ONE);
    }
}

/// The current thread is in no call, or in another one than was thought: what it still has in
/// flight returned unseen. It is reported as far as it is known, and its room is free again.
#[inline(always)]
pub(crate) fn forget_stale() {
    let thread = bpf_get_current_pid_tgid();
    let slot = place(thread);
    if slot.owner == thread || has_beside(slot) {
        forget(thread);
    }
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn forget(thread: u64) {
    let slot = place(thread);
    if slot.owner == thread {
        report_lost_result(&mut slot.event);
        free(slot);
    }
    if has_beside(slot) {
        forget_beside(thread);
    }
}

#[inline(always)]
fn forget_beside(thread: u64) {
    if let Some(slot) = beside(thread) {
        report_lost_result(&mut slot.event);
        free_beside(thread);
    }
}

/// The current thread's call is not to be reported, and its room is free again.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
pub(crate) fn drop_current() {
    let thread = bpf_get_current_pid_tgid();
    let slot = place(thread);
    if slot.owner == thread { free(slot) } else { free_beside(thread) }
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn report_lost_result(earlier: &mut RawEvent) {
    if earlier.flags & flag::USED == 0 && is_readable(earlier) {
        // It was passed over on the way as well, and an event of it would look as if the kernel had
        // not come that far.
        return count(Counter::LostInFlight);
    }
    earlier.flags = earlier.flags & !flag::RETURNED | flag::RESULT_LOST;
    if submit(earlier, None) {
        count(Counter::LostResult);
    }
}

/// Whether the new setting could be read at entry or can be now, and so by the kernel in between.
/// Where another thread takes the memory away or puts it there meanwhile, a call whose facts are
/// all known may be taken for one that lacks some.
#[inline(always)]
pub(crate) fn is_readable(event: &RawEvent) -> bool {
    const BOTH: u32 = flag::INTERVAL_READ | flag::VALUE_READ;
    if event.utmr == 0 {
        return false;
    }
    let mut both = MaybeUninit::<[u64; ITIMERSPEC32_SIZE / 8]>::uninit();
    // SAFETY: the destination is as long as said, and the helper checks the source.
    let mut read = || unsafe {
        bpf_probe_read_user(
            both.as_mut_ptr().cast(),
            ITIMERSPEC32_SIZE as u32,
            event.utmr as usize as *const _,
        )
    };
    event.flags & BOTH == BOTH || read() == 0
}
