//! Which calls are wanted. Decided at the entry only: a call that is not in flight is passed over
//! at its return.
//!
//! User space sets the switches before loading. They lie in a map that is then frozen, so the
//! verifier knows their values and removes what is off: no filter costs no instruction.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use settime32_abi::event::COMM_LEN;

use crate::{comm, follow, ids};

/// 1 when any of the others is.
#[unsafe(no_mangle)]
static FILTER_ANY: Global<u32> = Global::new(0);

/// 1 when only the processes of [`PIDS`] are wanted (and those of a followed command, if any).
#[unsafe(no_mangle)]
static FILTER_PIDS: Global<u32> = Global::new(0);

/// 1 when only threads with a name in [`COMMS`] are wanted.
#[unsafe(no_mangle)]
static FILTER_COMMS: Global<u32> = Global::new(0);

/// Wanted thread group ids, in the tracer's pid namespace; user space sets the size.
#[map]
static PIDS: HashMap<u32, u8> = HashMap::with_max_entries(1, 0);

/// Wanted thread names, NUL-padded; user space sets the size.
#[map]
static COMMS: HashMap<[u8; COMM_LEN], u8> = HashMap::with_max_entries(1, 0);

/// Whether there is any filter; without one, everything is wanted.
#[inline(always)]
pub(crate) fn any() -> bool {
    FILTER_ANY.load() != 0
}

/// Whether calls of the current thread are wanted; `host` is what `bpf_get_current_pid_tgid` gives.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
pub(crate) fn wants(host: u64) -> bool {
    wants_thread(host) && wants_comm()
}

#[inline(always)]
fn wants_thread(host: u64) -> bool {
    let by_pid = FILTER_PIDS.load() != 0;
    let by_command = follow::enabled();
    if !by_pid && !by_command {
        return true;
    }
    (by_pid && is_wanted(host)) || (by_command && follow::is_followed(host as u32))
}

#[inline(always)]
fn is_wanted(host: u64) -> bool {
    PIDS.get_ptr((ids::of_tracer(host) >> 32) as u32).is_some()
}

#[inline(always)]
fn wants_comm() -> bool {
    if FILTER_COMMS.load() == 0 {
        return true;
    }
    let mut name = [0_u64; COMM_LEN / size_of::<u64>()];
    comm::read(&mut name);
    COMMS.get_ptr(bytemuck::cast::<_, [u8; COMM_LEN]>(comm::ended(name))).is_some()
}
