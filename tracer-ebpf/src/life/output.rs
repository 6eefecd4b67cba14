//! What records of a timer's life have in common: the way to user space, and by whom, when and where it was.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use bytemuck::Pod;
use settime32_abi::event::Counter;
use settime32_abi::moment::{Head, Moment, Record, Timer, Who};

use crate::losses::count;
use crate::maps::EVENTS;
use crate::{comm, ids};

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

#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper only reads the clock.
    unsafe { bpf_ktime_get_ns() }
}

/// Something happens to the timer now.
#[inline(always)]
pub(crate) fn moment(timer: Timer) -> Moment {
    Moment { ns: now_ns(), timer }
}

/// The current thread.
#[inline(always)]
pub(crate) fn who() -> Who {
    let mut name = comm::Words::default();
    comm::read(&mut name);
    Who { ids: bpf_get_current_pid_tgid(), own_ids: ids::own(), comm: bytemuck::cast(name) }
}
