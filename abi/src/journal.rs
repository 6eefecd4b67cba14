//! The journal: what the workload really passed, and what it got, operation by operation.
//!
//! A header, then one fixed-size record for each operation, all little endian, in the order in
//! which the operations ended; those of threads stand in the order of the plan. The workload writes
//! it into memory that it shares with its children and dumps it when the plan is done; a journal
//! without [`Header::complete`] was cut short.
//!
//! Of a plan without [`crate::plan::Act`] the calls under test are operations; of one with any,
//! every call, wait, closing and copy of a descriptor, setting of the clock and forked child is.

use alloc::string::String;
use alloc::vec::Vec;

use bytemuck::{Pod, Zeroable};

use crate::event::COMM_LEN;
use crate::timespec::ITIMERSPEC32_SIZE;

/// First bytes of a journal.
pub const MAGIC: [u8; 4] = *b"S32J";
/// Version of the layout.
pub const VERSION: u32 = 6;

/// `CLOCK_MONOTONIC`, `CLOCK_REALTIME` and `CLOCK_MONOTONIC` again, read in this order,
/// nanoseconds. `CLOCK_BOOTTIME` equals `CLOCK_MONOTONIC` in a guest that is never suspended.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Pod, Zeroable)]
pub struct Clocks {
    /// `CLOCK_MONOTONIC` before the other.
    pub monotonic_before_ns: i64,
    /// `CLOCK_REALTIME`.
    pub realtime_ns: i64,
    /// `CLOCK_MONOTONIC` after the other.
    pub monotonic_after_ns: i64,
}

/// First in a journal.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Header {
    /// [`MAGIC`].
    pub magic: [u8; 4],
    /// [`VERSION`].
    pub version: u32,
    /// Process id of the workload (not of its forked children).
    pub pid: u32,
    /// 1 when every step was done.
    pub complete: u32,
    /// Operations that follow.
    pub operations: u32,
    /// Size of an operation, so that a reader built from other sources notices.
    pub operation_size: u32,
    /// Name of the process, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Clocks before the first step.
    pub start: Clocks,
    /// Clocks after the last step.
    pub end: Clocks,
}

/// [`Operation::after_ns`] of a call in which its process was killed.
pub const NEVER: i64 = i64::MAX;
/// [`Operation::cpu`] of a thread that the kernel may put anywhere.
pub const CPU_UNKNOWN: u16 = u16::MAX;
/// [`Operation::entry`] of `int 0x80`.
pub const ENTRY_INT80: u16 = 0;
/// [`Operation::entry`] of a call through the vDSO.
pub const ENTRY_VDSO: u16 = 1;
/// [`Operation::entry`] of `int 0x80` with arguments that a ptracer replaced by those that are kept.
pub const ENTRY_REWRITTEN: u16 = 2;
/// [`Operation::new_there`] of memory that can be read whole.
pub const ALL_THERE: u16 = u16::MAX;

/// What an [`Operation`] is.
pub mod what {
    /// `timerfd_create`.
    pub const CREATE: u32 = 1;
    /// `timerfd_settime32`, the call under test.
    pub const SETTIME32: u32 = 2;
    /// `timerfd_settime` with 64-bit times.
    pub const SETTIME64: u32 = 3;
    /// `timerfd_gettime` of any kind.
    pub const GETTIME: u32 = 4;
    /// `read`.
    pub const READ: u32 = 5;
    /// A wait; `ret` is the number of slots in [`super::Operation::extra`], a bit each, whose timers
    /// were readable.
    pub const WAIT: u32 = 6;
    /// A descriptor was closed.
    pub const CLOSE: u32 = 7;
    /// A descriptor was duplicated or passed; `ret` is the new one.
    pub const COPY: u32 = 8;
    /// `CLOCK_REALTIME` was set, to `args[0]` nanoseconds.
    pub const SET_CLOCK: u32 = 9;
    /// A forked child, whose process id is [`super::Operation::extra`], was made, did its steps and
    /// ended; by its parent.
    pub const CHILD: u32 = 10;
    /// `timer_create`; `out_after` begins with the timer's id.
    pub const POSIX_CREATE: u32 = 11;
    /// `timer_settime32`.
    pub const POSIX_SET: u32 = 12;
    /// `timer_gettime32`.
    pub const POSIX_GET: u32 = 13;
    /// `timer_delete`.
    pub const POSIX_DELETE: u32 = 14;
}

/// Bytes of an [`Operation`]'s memory: those of an
/// [`Itimerspec64`](crate::timespec::Itimerspec64); a smaller structure is at the begin.
pub const MEMORY_LEN: usize = 32;

/// Bytes of the call under test's structure.
type Bytes = [u8; ITIMERSPEC32_SIZE];

/// A call, or whatever else is in a plan, with its time.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Operation {
    /// `CLOCK_MONOTONIC` before it, nanoseconds. Of a call under test this is the reading that
    /// ended what its thread did before.
    pub before_ns: i64,
    /// `CLOCK_MONOTONIC` right after it; [`NEVER`] when nobody was left to read it.
    pub after_ns: i64,
    /// Index of the step in the plan.
    pub step: u32,
    /// One of [`what`].
    pub what: u32,
    /// Process that did it.
    pub pid: u32,
    /// Thread that did it.
    pub tid: u32,
    /// Number of the system call; 0 when that is of no account.
    pub nr: u32,
    /// What the kernel answered: of a system call its result, or a negative errno.
    pub ret: i32,
    /// The arguments, as they were passed.
    pub args: [u64; 4],
    /// See [`what`]; 0 where it says nothing.
    pub extra: u32,
    /// The CPU of the entry, of a thread that is pinned to it; [`CPU_UNKNOWN`] of others.
    pub cpu: u16,
    /// How a call under test entered the kernel: [`ENTRY_INT80`], [`ENTRY_VDSO`] or
    /// [`ENTRY_REWRITTEN`].
    pub entry: u16,
    /// Which bytes of [`Self::utmr_before`] the process can read, a bit each; the others are zeros.
    pub new_there: u16,
    /// Which bytes of [`Self::otmr_before`] and [`Self::otmr_after`] it can read, likewise.
    pub out_there: u16,
    /// 0.
    pub padding: u32,
    /// What was at the address of the new setting. Of a page that must not be touched before the
    /// call, what is there by how it was made; of one that is held, what it is given with.
    pub new: [u8; MEMORY_LEN],
    /// What was at the address for the kernel's answer before the call.
    pub out_before: [u8; MEMORY_LEN],
    /// What is there afterwards.
    pub out_after: [u8; MEMORY_LEN],
}

/// What the call under test was given, and what it gave.
impl Operation {
    /// The descriptor as passed.
    pub const fn ufd(&self) -> i32 {
        self.args[0] as i32
    }

    /// The flags as passed.
    pub const fn flags(&self) -> i32 {
        self.args[1] as i32
    }

    /// The pointer to the new setting as passed.
    pub const fn utmr(&self) -> u32 {
        self.args[2] as u32
    }

    /// The pointer for the old setting as passed.
    pub const fn otmr(&self) -> u32 {
        self.args[3] as u32
    }

    /// The bytes at `utmr` before the call.
    pub fn utmr_before(&self) -> Bytes {
        head(&self.new)
    }

    /// The bytes at `otmr` before the call.
    pub fn otmr_before(&self) -> Bytes {
        head(&self.out_before)
    }

    /// The bytes at `otmr` after the call.
    pub fn otmr_after(&self) -> Bytes {
        head(&self.out_after)
    }
}

fn head(memory: &[u8; MEMORY_LEN]) -> Bytes {
    bytemuck::pod_read_unaligned(&memory[..ITIMERSPEC32_SIZE])
}

const _: () = assert!(size_of::<Header>() == 88);
const _: () = assert!(size_of::<Operation>() == 184);

/// A whole journal, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The header.
    pub header: Header,
    /// The operations.
    pub operations: Vec<Operation>,
}

/// Why bytes are not a whole journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JournalError {
    /// Nothing at all, or not even a header.
    NoHeader {
        /// Bytes found.
        found: usize,
    },
    /// The header is not one of this version.
    Foreign(String),
    /// The header promises more or fewer operations than there are.
    Length {
        /// Bytes that the header promises, its own among them.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The workload stopped before the end of its plan.
    Incomplete {
        /// Operations that it wrote.
        operations: u32,
    },
}

impl core::fmt::Display for JournalError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NoHeader { found } => {
                write!(f, "journal is truncated: {found} bytes, not even a header")
            }
            Self::Foreign(what) => write!(f, "not a journal of this version: {what}"),
            Self::Length { expected, found } => {
                write!(f, "journal is truncated: {found} bytes, its header promises {expected}")
            }
            Self::Incomplete { operations } => {
                write!(
                    f,
                    "journal is incomplete: the workload stopped after {operations} operations"
                )
            }
        }
    }
}

impl core::error::Error for JournalError {}

impl Journal {
    /// Reads a journal back; anything but a whole one is an error.
    pub fn parse(bytes: &[u8]) -> Result<Self, JournalError> {
        let Some((head, body)) = bytes.split_at_checked(size_of::<Header>()) else {
            return Err(JournalError::NoHeader { found: bytes.len() });
        };
        let header: Header = bytemuck::pod_read_unaligned(head);
        let size = size_of::<Operation>();
        if (header.magic, header.version, header.operation_size) != (MAGIC, VERSION, size as u32) {
            let Header { magic, version, operation_size, .. } = header;
            return Err(JournalError::Foreign(alloc::format!(
                "magic {magic:?}, version {version}, operations of {operation_size} bytes"
            )));
        }
        let expected = (header.operations as usize).saturating_mul(size);
        if body.len() != expected {
            let expected = size_of::<Header>().saturating_add(expected);
            return Err(JournalError::Length { expected, found: bytes.len() });
        }
        if header.complete != 1 {
            return Err(JournalError::Incomplete { operations: header.operations });
        }
        let operations = body.chunks_exact(size).map(bytemuck::pod_read_unaligned).collect();
        Ok(Self { header, operations })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(operations: u32, complete: u32) -> Vec<u8> {
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            pid: 7,
            complete,
            operations,
            operation_size: size_of::<Operation>() as u32,
            ..Zeroable::zeroed()
        };
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        for step in 0..operations {
            let operation = Operation { step, before_ns: 5, ..Zeroable::zeroed() };
            bytes.extend_from_slice(bytemuck::bytes_of(&operation));
        }
        bytes
    }

    #[test]
    fn a_whole_journal_is_read() {
        let journal = Journal::parse(&bytes_of(3, 1)).unwrap();
        let read = journal.operations.iter().map(|operation| (operation.step, operation.before_ns));
        assert_eq!(read.collect::<Vec<_>>(), [(0, 5), (1, 5), (2, 5)]);
    }

    #[test]
    fn every_truncation_is_an_error() {
        let whole = bytes_of(3, 1);
        for len in 0..whole.len() {
            assert!(Journal::parse(&whole[..len]).is_err(), "{len} bytes taken as a whole journal");
        }
    }

    #[test]
    fn an_unfinished_journal_is_an_error() {
        assert_eq!(
            Journal::parse(&bytes_of(3, 0)),
            Err(JournalError::Incomplete { operations: 3 })
        );
    }
}
