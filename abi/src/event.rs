//! What the eBPF program hands to the tracer through maps: layouts fixed by `repr(C)`, sizes
//! asserted.

use core::mem::offset_of;

use bytemuck::{Pod, Zeroable};

use crate::timespec::{Itimerspec64, OldItimerspec32};

/// Bytes of `task_struct.comm` (`TASK_COMM_LEN` in `include/linux/sched.h`).
pub const COMM_LEN: usize = 16;

/// Places of calls in flight, at the index of the lower bits of the thread's id; a power of two.
/// Where two threads that are inside at once come to the same one, the second pays for being looked
/// up. The kernel takes all of them in one piece of memory to hand them out, so they are not more
/// than is likely to be found.
pub const SLOTS: u32 = 1024;

/// One call, written to the ring buffer when it returned; the same layout holds a call in flight
/// between its entry and its return.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawEvent {
    /// `CLOCK_MONOTONIC` in nanoseconds when the entry probe ran (`bpf_ktime_get_ns`).
    pub entry_ns: u64,
    /// The same when the return probe ran; meaningless until
    /// [`flag::RETURNED`].
    pub exit_ns: u64,
    /// The wrapper's return value; meaningless until [`flag::RETURNED`].
    pub ret: i64,
    /// Thread id that is reported; 0 when the thread has none in the tracer's pid namespace. Before
    /// the other, as `bpf_get_current_pid_tgid` has them.
    pub tid: u32,
    /// Thread group id that is reported, the pid that user space knows; 0 as above.
    pub pid: u32,
    /// CPU of the entry; the kernel knows of 8,192 at most (`CONFIG_NR_CPUS`).
    pub cpu: u16,
    /// Negative errno of the entry probe's failed read of a half of `*utmr`; meaningless where
    /// `utmr` is null or both halves were read.
    pub utmr_entry_err: i16,
    /// Facts about the fields; see [`flag`].
    pub flags: u32,
    /// Low 32 bits of `bx`.
    pub ufd: i32,
    /// Low 32 bits of `cx`.
    pub settime_flags: i32,
    /// Low 32 bits of `dx`; 0 is null.
    pub utmr: u32,
    /// Low 32 bits of `si`; 0 is null.
    pub otmr: u32,
    /// `*utmr` as the entry probe read it; meaningless where [`flag::INTERVAL_READ`] or
    /// [`flag::VALUE_READ`] is missing.
    pub utmr_entry: OldItimerspec32,
    /// `*new` as `do_timerfd_settime` was given it, cut to what it was made from; meaningless
    /// unless [`flag::USED`].
    pub utmr_used: OldItimerspec32,
    /// `*its` as `put_old_itimerspec32` is given it; meaningless unless [`flag::OLD`]. Where the
    /// call returned 0, this was written to `*otmr`, cut to 32 bits.
    pub old: Itimerspec64,
    /// Name of the thread at entry. Kernels leave what they like behind its NUL.
    pub comm: [u8; COMM_LEN],
    /// `tid` in the initial pid namespace. This and the next are in a record only with
    /// [`flag::HOST_IDS`]; without, they are what is reported.
    pub host_tid: u32,
    /// `pid` in the initial pid namespace.
    pub host_pid: u32,
}

/// Length of a record without the ids of the initial namespace, which are the ones that are
/// reported.
pub const SHORT_LEN: usize = offset_of!(RawEvent, host_tid);

const _: () = assert!(size_of::<RawEvent>() == 144 && SHORT_LEN == 136);
const _: () = assert!(offset_of!(RawEvent, comm).is_multiple_of(8));
const _: () = assert!(
    offset_of!(RawEvent, tid).is_multiple_of(8)
        && offset_of!(RawEvent, pid) == offset_of!(RawEvent, tid) + 4
);
const _: () = assert!(offset_of!(RawEvent, host_pid) == SHORT_LEN + 4);

impl RawEvent {
    /// The call that a record tells of; `None` when it is none of a call.
    pub fn from_record(record: &[u8]) -> Option<Self> {
        if record.len() != SHORT_LEN {
            return bytemuck::try_pod_read_unaligned(record).ok();
        }
        let mut event = Self::zeroed();
        bytemuck::bytes_of_mut(&mut event)[..SHORT_LEN].copy_from_slice(record);
        Some(event.with_host_ids())
    }

    /// The same with the ids of the initial pid namespace where they are the ones that are
    /// reported.
    pub const fn with_host_ids(mut self) -> Self {
        if self.flags & flag::HOST_IDS == 0 {
            (self.host_tid, self.host_pid) = (self.tid, self.pid);
        }
        self
    }

    /// Takes both ids from what `bpf_get_current_pid_tgid` gives, in one word.
    #[inline(always)]
    pub fn set_ids(&mut self, pid_tgid: u64) {
        // SAFETY: the two fields are the two halves of an aligned word, which is asserted above.
        unsafe { (&raw mut *self).byte_add(offset_of!(Self, tid)).cast::<u64>().write(pid_tgid) };
    }

    /// The same of the initial namespace.
    #[inline(always)]
    pub fn set_host_ids(&mut self, pid_tgid: u64) {
        // SAFETY: as above.
        unsafe { (&raw mut *self).byte_add(SHORT_LEN).cast::<u64>().write(pid_tgid) };
    }

    /// The name in words.
    #[inline(always)]
    pub fn comm_words(&mut self) -> &mut [u64; COMM_LEN / size_of::<u64>()] {
        // SAFETY: it lies in an event at a multiple of 8, which is asserted above, and any bytes
        // are a word.
        unsafe { &mut *(&raw mut self.comm).cast() }
    }
}

/// Where a call in flight is kept.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Slot {
    /// What is known of it so far.
    pub event: RawEvent,
    /// The kernel's address of its registers, where the kernel has no other way to get at them.
    pub pt_regs: u64,
    /// Its thread, as `bpf_get_current_pid_tgid` has it; 0 when there is no call in flight here.
    pub owner: u64,
    /// The program's own: how many threads have it or are about to find out that another one has;
    /// and in the upper half, how many calls of threads whose place this is are kept beside the
    /// table.
    pub claims: u64,
}

const _: () = assert!(size_of::<Slot>() == 168);

/// Bits of [`RawEvent::flags`].
pub mod flag {
    /// The return probe ran: `ret` and `exit_ns` hold. In flight it is set already, so that a
    /// return need not set it.
    pub const RETURNED: u32 = 1 << 0;
    /// The interval of `utmr_entry` holds what was read.
    pub const INTERVAL_READ: u32 = 1 << 1;
    /// `utmr_used` holds what the kernel copied.
    pub const USED: u32 = 1 << 2;
    /// `cs` was `__USER_CS` (0x33): a 64-bit process used the i386 entry.
    pub const CALLER_64BIT: u32 = 1 << 3;
    /// The return of this call was never seen (the kernel skipped the return probe): a later call
    /// of the same thread found this one still in flight.
    pub const RESULT_LOST: u32 = 1 << 4;
    /// The value of `utmr_entry` holds what was read.
    pub const VALUE_READ: u32 = 1 << 5;
    /// `old` holds what the kernel was about to write, unless `otmr` is null.
    pub const OLD: u32 = 1 << 6;
    /// The call came by `int $0x80`.
    pub const INT80: u32 = 1 << 7;
    /// The call came by `sysenter` or a compat `syscall`.
    pub const FAST: u32 = 1 << 8;
    /// `host_tid` and `host_pid` hold, and are in the record.
    pub const HOST_IDS: u32 = 1 << 9;
    /// One above the highest bit in use.
    pub const END: u32 = 1 << 10;
}

/// Per-CPU counters of what could not be reported; index of each in the counter map.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// Finished calls for which the ring buffer had no room.
    LostBuffer = 0,
    /// Calls of which a part was not seen, since there was no room to keep them or the kernel
    /// passed a program over.
    LostInFlight = 1,
    /// Calls reported without their result, since the kernel skipped the return probe.
    LostResult = 2,
    /// New processes of a followed command that could not be followed, since the filter map was
    /// full.
    LostFollow = 3,
}

/// Number of [`Counter`]s.
pub const COUNTERS: u32 = 4;
