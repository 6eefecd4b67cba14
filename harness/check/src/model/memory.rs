//! What the kernel finds behind a call's pointers, and how far it gets when it writes there
//! (`kernel/time/time.c`, and `copy_from_user` and `copy_to_user` of x86).

use settime32_abi::plan::{Call, Page, Pointer};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32, OldTimespec32};

const HALF: usize = size_of::<OldTimespec32>();

/// What `get_old_itimerspec32` copies; `None` when it faults, no matter where: nothing else was
/// looked at yet. Of a call that is raced for it is what would be copied if the other thread wrote
/// nothing.
pub fn new_setting(call: &Call) -> Option<OldItimerspec32> {
    if call.utmr == Pointer::Valid {
        return Some(call.new);
    }
    if !(0..ITIMERSPEC32_SIZE).all(|byte| call.utmr_page(byte).is_readable()) {
        return None;
    }
    let mut copied = at_utmr(call);
    // The halves are copied one after the other: from the first that has to wait on, what was
    // written meanwhile counts.
    if let Some(meanwhile) = call.meanwhile
        && let Some(first_held) =
            (0..ITIMERSPEC32_SIZE).find(|byte| call.utmr_page(*byte) == Page::Held)
    {
        if first_held < HALF {
            copied.it_interval = meanwhile.it_interval;
        }
        copied.it_value = meanwhile.it_value;
    }
    Some(copied)
}

/// What is at `utmr` before the call, and what a held page there is given with; zeros where nothing
/// is.
pub fn at_utmr(call: &Call) -> OldItimerspec32 {
    if call.utmr == Pointer::Valid {
        return call.new;
    }
    let mut bytes: [u8; ITIMERSPEC32_SIZE] = bytemuck::cast(call.new);
    let held: [u8; ITIMERSPEC32_SIZE] = bytemuck::cast(call.meanwhile.unwrap_or(call.new));
    for (at, byte) in bytes.iter_mut().enumerate() {
        match call.utmr_page(at) {
            Page::Held => *byte = held[at],
            page if !page.keeps_bytes() => *byte = 0,
            _ => {}
        }
    }
    bytemuck::cast(bytes)
}

/// How many bytes `put_old_itimerspec32` writes to `otmr`, which is not null, from the first one
/// on; fewer than all is a fault. It copies the interval and then the value, and a copy that faults
/// is repeated byte by byte up to the byte that cannot be written.
pub fn bytes_written(call: &Call) -> usize {
    (0..ITIMERSPEC32_SIZE).take_while(|byte| call.otmr_page(*byte).is_writable()).count()
}

/// Which bytes of `utmr` the process can read, a bit each.
pub fn utmr_there(call: &Call) -> u16 {
    bits(|byte| call.utmr_page(byte).is_readable())
}

/// The same of `otmr`.
pub fn otmr_there(call: &Call) -> u16 {
    bits(|byte| call.otmr_page(byte).is_readable())
}

/// Whether a probe at entry, which can take no page fault, can read the interval and the value at
/// `utmr`: the whole halves, since it reads each at once.
pub fn halves_resident(call: &Call) -> [bool; 2] {
    if call.utmr == Pointer::Valid {
        return [true; 2];
    }
    [0, HALF].map(|start| (start..start + HALF).all(|byte| call.utmr_page(byte).is_resident()))
}

fn bits(of: impl Fn(usize) -> bool) -> u16 {
    (0..ITIMERSPEC32_SIZE).fold(0, |bits, byte| bits | u16::from(of(byte)) << byte)
}
