//! The ring buffer of calls, and how a call gets into it. User space knows it by its name here.

use core::mem::offset_of;

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_get_smp_processor_id;
use aya_ebpf::macros::map;
use aya_ebpf::maps::RingBuf;
use bytemuck::Pod;
use settime32_abi::event::{Counter, RawEvent, SHORT_LEN, flag};
use settime32_abi::moment::{Head, Record};

use crate::losses::count;

/// Finished calls, on their way to user space; user space sets the size.
#[map]
pub(crate) static EVENTS: RingBuf = RingBuf::with_byte_size(1 << 24, 0);

#[inline(always)]
pub(crate) fn current_tid() -> u32 {
    bpf_get_current_pid_tgid() as u32
}

/// What the return of a call tells.
#[derive(Clone, Copy)]
pub(crate) struct Returned {
    pub exit_ns: u64,
    pub ret: i64,
}

/// Words of a record without the ids of the initial pid namespace.
const SHORT: usize = SHORT_LEN / size_of::<u64>();
/// Words of one with them.
const WHOLE: usize = size_of::<RawEvent>() / size_of::<u64>();

/// Hands a call to user space; false when the ring buffer had no room, which is then counted.
#[inline(always)]
pub(crate) fn submit(event: &RawEvent, returned: Option<Returned>) -> bool {
    if event.flags & flag::HOST_IDS == 0 {
        submit_short(event, returned)
    } else {
        submit_words::<WHOLE>(event, returned)
    }
}

/// The same of a call without the ids of the initial pid namespace.
#[inline(always)]
pub(crate) fn submit_short(event: &RawEvent, returned: Option<Returned>) -> bool {
    submit_words::<SHORT>(event, returned)
}

#[inline(always)]
fn submit_words<const WORDS: usize>(event: &RawEvent, returned: Option<Returned>) -> bool {
    // Reserving and submitting costs less than the one call that copies, which does both and calls
    // `memcpy`.
    let Some(mut entry) = EVENTS.reserve::<[u64; WORDS]>(0) else {
        count(Counter::LostBuffer);
        return false;
    };
    copy_words(entry.as_mut_ptr(), event, returned);
    entry.submit(0);
    true
}

/// Word by word. As one assignment, the compiler reads many words before it writes the first, which
/// it then has to put by on the stack. The return's facts go from the registers to where they
/// belong, and not by way of the slot.
#[inline(always)]
fn copy_words<const WORDS: usize>(
    to: *mut [u64; WORDS],
    from: &RawEvent,
    returned: Option<Returned>,
) {
    const { assert!(WORDS * size_of::<u64>() <= size_of::<RawEvent>()) };
    const EXIT_NS: usize = offset_of!(RawEvent, exit_ns) / size_of::<u64>();
    const RET: usize = offset_of!(RawEvent, ret) / size_of::<u64>();
    let from = (&raw const *from).cast::<u64>();
    for at in 0..WORDS {
        // SAFETY: it is no longer than an event, which is aligned for its first word, and any bits
        // are a word.
        let word = || unsafe { from.add(at).read_volatile() };
        let word = match (at, returned) {
            (EXIT_NS, Some(returned)) => returned.exit_ns,
            (RET, Some(returned)) => returned.ret.cast_unsigned(),
            _ => word(),
        };
        // SAFETY: it has so many words.
        unsafe { to.cast::<u64>().add(at).write_volatile(word) };
    }
}

/// Hands a record to user space; false when the ring buffer had no room, which is then counted.
#[inline(always)]
pub(crate) fn output<T: Pod>(record: &T) -> bool {
    if EVENTS.output::<T>(record, 0).is_ok() {
        return true;
    }
    count(Counter::LostBuffer);
    false
}

/// Of a record that is written here and now.
#[inline(always)]
pub(crate) fn head(record: Record) -> Head {
    // SAFETY: the helper only reads the CPU's number.
    Head { record: record as u32, cpu: unsafe { bpf_get_smp_processor_id() } }
}
