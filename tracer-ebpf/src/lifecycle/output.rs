//! What records of a timer's life have in common: by whom and when it was.

use aya_ebpf::helpers::bpf_get_current_pid_tgid;
use aya_ebpf::helpers::generated::bpf_ktime_get_ns;
use settime32_abi::moment::{Moment, Timer, Who};

use crate::{comm, ids};

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
