//! What records of a timer's life have in common: the way to user space, and the name of who it was.

use bytemuck::Pod;
use settime32_abi::event::{COMM_LEN, Counter};

use crate::comm;
use crate::maps::{EVENTS, count};

/// Hands a record to user space; false when the ring buffer had no room, which is then counted.
#[inline(always)]
pub(crate) fn output<T: Pod>(record: &T) -> bool {
    if EVENTS.output::<T>(record, 0).is_ok() {
        return true;
    }
    count(Counter::LostBuffer);
    false
}

/// The current thread's name.
#[inline(always)]
pub(crate) fn name() -> [u8; COMM_LEN] {
    let mut name = [0; COMM_LEN / size_of::<u64>()];
    comm::read(&mut name);
    bytemuck::cast(name)
}
