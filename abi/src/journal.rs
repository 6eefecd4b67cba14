//! The journal: what the workload really passed, and what it got, call by call.
//!
//! A header, then one fixed-size record a call in the order in which the calls were made, all
//! little endian. The workload writes it into memory that it shares with its children and dumps it
//! when the plan is done; a journal without [`Header::complete`] was cut short.
//!
//! Of a plan of whole lives ([`crate::plan::Act`]) a [`Moment`] follows for each call, the one
//! under test among them, and for each wait, closing, copy, setting of the clock and forked child,
//! in the order in which they ended.

use alloc::string::String;
use alloc::vec::Vec;

use bytemuck::{Pod, Zeroable};

use crate::event::COMM_LEN;
use crate::timespec::ITIMERSPEC32_SIZE;

/// First bytes of a journal.
pub const MAGIC: [u8; 4] = *b"S32J";
/// Version of the layout.
pub const VERSION: u32 = 5;

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
    /// Records that follow.
    pub records: u32,
    /// Size of a record, so that a reader built from other sources notices.
    pub record_size: u32,
    /// Moments that follow the records.
    pub moments: u32,
    /// Size of a moment.
    pub moment_size: u32,
    /// Name of the process, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// Clocks before the first step.
    pub start: Clocks,
    /// Clocks after the last step.
    pub end: Clocks,
}

/// One call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Record {
    /// `CLOCK_MONOTONIC` before the call, nanoseconds: the reading that ended what the thread did
    /// before.
    pub before_ns: i64,
    /// `CLOCK_MONOTONIC` right after the call; [`NEVER`] when nobody was left to read it.
    pub after_ns: i64,
    /// Index of the step in the plan.
    pub step: u32,
    /// Process that made the call.
    pub pid: u32,
    /// Thread that made the call.
    pub tid: u32,
    /// The register values that were passed.
    pub ufd: i32,
    /// Flags as passed.
    pub flags: i32,
    /// Pointer as passed.
    pub utmr: u32,
    /// Pointer as passed.
    pub otmr: u32,
    /// What the kernel answered: 0 or a negative errno.
    pub ret: i32,
    /// The bytes at `utmr` before the call. Of a page that must not be touched before it, what is
    /// there by how it was made; of one that is held, what it is given with.
    pub utmr_before: [u8; ITIMERSPEC32_SIZE],
    /// The same at `otmr`.
    pub otmr_before: [u8; ITIMERSPEC32_SIZE],
    /// The bytes at `otmr` after the call.
    pub otmr_after: [u8; ITIMERSPEC32_SIZE],
    /// Which bytes of `utmr_before` can be read by the process, a bit each; the others are zeros
    /// here.
    pub utmr_there: u16,
    /// The same of `otmr_before` and `otmr_after`.
    pub otmr_there: u16,
    /// How the kernel was entered: [`ENTRY_INT80`], [`ENTRY_VDSO`] or [`ENTRY_REWRITTEN`].
    pub entry: u16,
    /// The CPU of the entry, of a thread that is pinned to it; [`CPU_UNKNOWN`] of others.
    pub cpu: u16,
}

/// [`Record::after_ns`] of a call in which its process was killed.
pub const NEVER: i64 = i64::MAX;
/// [`Record::cpu`] and [`Moment::cpu`] of a thread that the kernel may put anywhere.
pub const CPU_UNKNOWN: u16 = u16::MAX;
/// [`Record::entry`] of `int 0x80`.
pub const ENTRY_INT80: u16 = 0;
/// [`Record::entry`] of a call through the vDSO.
pub const ENTRY_VDSO: u16 = 1;
/// [`Record::entry`] of `int 0x80` with arguments that a ptracer replaced by those of the record.
pub const ENTRY_REWRITTEN: u16 = 2;
/// [`Record::utmr_there`] of memory that can be read whole.
pub const ALL_THERE: u16 = u16::MAX;

/// What a [`Moment`] is of.
pub mod what {
    /// `timerfd_create`.
    pub const CREATE: u32 = 1;
    /// `timerfd_settime32`, of which [`super::Moment::extra`] is the index of the record.
    pub const SETTIME32: u32 = 2;
    /// `timerfd_settime` with 64-bit times.
    pub const SETTIME64: u32 = 3;
    /// `timerfd_gettime` of any kind.
    pub const GETTIME: u32 = 4;
    /// `read`.
    pub const READ: u32 = 5;
    /// A wait; `ret` is the number of slots in [`super::Moment::extra`], a bit each, whose timers
    /// were readable.
    pub const WAIT: u32 = 6;
    /// A descriptor was closed.
    pub const CLOSE: u32 = 7;
    /// A descriptor was duplicated or passed; `ret` is the new one.
    pub const COPY: u32 = 8;
    /// `CLOCK_REALTIME` was set, to `args[0]` nanoseconds.
    pub const SET_CLOCK: u32 = 9;
    /// A forked child, whose process id is [`super::Moment::extra`], was made, did its steps and
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

/// Bytes of a [`Moment`]'s memory: those of an [`Itimerspec64`](crate::timespec::Itimerspec64); a
/// smaller structure is at the begin.
pub const MEMORY_LEN: usize = 32;

/// A call or a wait in a timer's life, with its time.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Moment {
    /// `CLOCK_MONOTONIC` right before it, nanoseconds.
    pub before_ns: i64,
    /// `CLOCK_MONOTONIC` right after it.
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
    /// What the kernel answered.
    pub ret: i32,
    /// The arguments, as they were passed.
    pub args: [u64; 4],
    /// See [`what`]; 0 where it says nothing.
    pub extra: u32,
    /// As [`Record::cpu`].
    pub cpu: u16,
    /// 0.
    pub padding: u16,
    /// What was at the address of the new setting.
    pub new: [u8; MEMORY_LEN],
    /// What was at the address for the kernel's answer before the call.
    pub out_before: [u8; MEMORY_LEN],
    /// What is there afterwards.
    pub out_after: [u8; MEMORY_LEN],
}

const _: () = assert!(size_of::<Header>() == 96);
const _: () = assert!(size_of::<Record>() == 104);
const _: () = assert!(size_of::<Moment>() == 176);

/// A whole journal, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The header.
    pub header: Header,
    /// The records, in the order of the calls.
    pub records: Vec<Record>,
    /// The moments of a plan of lives.
    pub moments: Vec<Moment>,
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
    /// The header promises more or fewer records than there are.
    Length {
        /// Bytes that the header promises, its own among them.
        expected: usize,
        /// Bytes that are there.
        found: usize,
    },
    /// The workload stopped before the end of its plan.
    Incomplete {
        /// Records that it wrote.
        records: u32,
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
            Self::Incomplete { records } => {
                write!(f, "journal is incomplete: the workload stopped after {records} calls")
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
        let sizes = [header.record_size, header.moment_size];
        if header.magic != MAGIC
            || header.version != VERSION
            || sizes != [size_of::<Record>(), size_of::<Moment>()].map(|size| size as u32)
        {
            let (magic, version) = (header.magic, header.version);
            return Err(JournalError::Foreign(alloc::format!(
                "magic {magic:?}, version {version}, records and moments of {sizes:?} bytes"
            )));
        }
        let records_len = (header.records as usize).saturating_mul(size_of::<Record>());
        let expected = records_len
            .saturating_add((header.moments as usize).saturating_mul(size_of::<Moment>()));
        if body.len() != expected {
            return Err(JournalError::Length {
                expected: size_of::<Header>().saturating_add(expected),
                found: bytes.len(),
            });
        }
        if header.complete != 1 {
            return Err(JournalError::Incomplete { records: header.records });
        }
        let (records, moments) = body.split_at(records_len);
        let records =
            records.chunks_exact(size_of::<Record>()).map(bytemuck::pod_read_unaligned).collect();
        let moments =
            moments.chunks_exact(size_of::<Moment>()).map(bytemuck::pod_read_unaligned).collect();
        Ok(Self { header, records, moments })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes_of(records: u32, complete: u32) -> Vec<u8> {
        let header = Header {
            magic: MAGIC,
            version: VERSION,
            pid: 7,
            complete,
            records,
            record_size: size_of::<Record>() as u32,
            moments: 2,
            moment_size: size_of::<Moment>() as u32,
            ..Zeroable::zeroed()
        };
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        for step in 0..records {
            bytes.extend_from_slice(bytemuck::bytes_of(&Record { step, ..Zeroable::zeroed() }));
        }
        for step in 0..2 {
            bytes.extend_from_slice(bytemuck::bytes_of(&Moment {
                step,
                before_ns: 5,
                ..Zeroable::zeroed()
            }));
        }
        bytes
    }

    #[test]
    fn a_whole_journal_is_read() {
        let journal = Journal::parse(&bytes_of(3, 1)).unwrap();
        assert_eq!(journal.records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(
            journal
                .moments
                .iter()
                .map(|moment| (moment.step, moment.before_ns))
                .collect::<Vec<_>>(),
            [(0, 5), (1, 5)]
        );
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
        assert_eq!(Journal::parse(&bytes_of(3, 0)), Err(JournalError::Incomplete { records: 3 }));
    }
}
