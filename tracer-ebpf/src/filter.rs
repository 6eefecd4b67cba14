//! Which calls are wanted. Decided at the entry only: a call that is not in flight is passed over at its return.
//!
//! User space sets the switches before loading. They lie in a map that is then frozen, so the verifier knows
//! their values and removes what is off: no filter costs no instruction.

use aya_ebpf::Global;
use aya_ebpf::macros::map;
use aya_ebpf::maps::HashMap;
use settime32_abi::event::COMM_LEN;

use crate::follow;

/// 1 when any of the others is. With one look at it, a tracer without filters is spared a look at each.
#[unsafe(no_mangle)]
static FILTER_ANY: Global<u32> = Global::new(0);

/// 1 when only the processes of [`PIDS`] are wanted (and those of a followed command, if any).
#[unsafe(no_mangle)]
static FILTER_PIDS: Global<u32> = Global::new(0);

/// 1 when only threads with a name in [`COMMS`] are wanted.
#[unsafe(no_mangle)]
static FILTER_COMMS: Global<u32> = Global::new(0);

/// Wanted thread group ids; user space sets the size.
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

/// Whether calls of this thread are wanted, as far as its ids (`bpf_get_current_pid_tgid`) tell.
#[inline(always)]
pub(crate) fn wants_thread(ids: u64) -> bool {
    let (pid, tid) = ((ids >> 32) as u32, ids as u32);
    let by_pid = FILTER_PIDS.load() != 0;
    let by_command = follow::enabled();
    if !by_pid && !by_command {
        return true;
    }
    (by_pid && PIDS.get_ptr(pid).is_some()) || (by_command && follow::is_followed(tid))
}

/// Whether calls of a thread with this name are wanted.
#[inline(always)]
pub(crate) fn wants_comm(comm: &[u8; COMM_LEN]) -> bool {
    FILTER_COMMS.load() == 0 || COMMS.get_ptr(comm).is_some()
}
