//! The journal: what the workload really passed, and what it got, call by call.
//!
//! A header, then one fixed-size record a call in the order in which the calls were made, all little endian. The workload writes it into
//! memory that it shares with its children and dumps it when the plan is done; a journal without
//! [`Header::complete`] was cut short.

use alloc::string::String;
use alloc::vec::Vec;

use bytemuck::{Pod, Zeroable};

use crate::event::COMM_LEN;
use crate::timespec::ITIMERSPEC32_SIZE;

/// First bytes of a journal.
pub const MAGIC: [u8; 4] = *b"S32J";
/// Version of the layout.
pub const VERSION: u32 = 2;

/// `CLOCK_MONOTONIC`, `CLOCK_REALTIME` and `CLOCK_MONOTONIC` again, read in this order, nanoseconds.
/// `CLOCK_BOOTTIME` equals `CLOCK_MONOTONIC` in a guest that is never suspended.
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
    /// The bytes at `utmr` before the call. Of a page that must not be touched before it, what is there by how it was
    /// made; of one that is held, what it is given with.
    pub utmr_before: [u8; ITIMERSPEC32_SIZE],
    /// The same at `otmr`.
    pub otmr_before: [u8; ITIMERSPEC32_SIZE],
    /// The bytes at `otmr` after the call.
    pub otmr_after: [u8; ITIMERSPEC32_SIZE],
    /// Which bytes of `utmr_before` can be read by the process, a bit each; the others are zeros here.
    pub utmr_there: u16,
    /// The same of `otmr_before` and `otmr_after`.
    pub otmr_there: u16,
    /// How the kernel was entered: [`ENTRY_INT80`], [`ENTRY_VDSO`] or [`ENTRY_REWRITTEN`].
    pub entry: u32,
}

/// [`Record::entry`] of `int 0x80`.
pub const ENTRY_INT80: u32 = 0;
/// [`Record::entry`] of a call through the vDSO.
pub const ENTRY_VDSO: u32 = 1;
/// [`Record::entry`] of `int 0x80` with arguments that a ptracer replaced by those of the record.
pub const ENTRY_REWRITTEN: u32 = 2;
/// [`Record::utmr_there`] of memory that can be read whole.
pub const ALL_THERE: u16 = u16::MAX;

const _: () = assert!(size_of::<Header>() == 88);
const _: () = assert!(size_of::<Record>() == 88);

/// A whole journal, read back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// The header.
    pub header: Header,
    /// The records, in the order of the calls.
    pub records: Vec<Record>,
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
            Self::NoHeader { found } => write!(f, "journal is truncated: {found} bytes, not even a header"),
            Self::Foreign(what) => write!(f, "not a journal of this version: {what}"),
            Self::Length { expected, found } => write!(f, "journal is truncated: {found} bytes, its header promises {expected}"),
            Self::Incomplete { records } => write!(f, "journal is incomplete: the workload stopped after {records} calls"),
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
        if header.magic != MAGIC || header.version != VERSION || header.record_size as usize != size_of::<Record>() {
            let (magic, version, size) = (header.magic, header.version, header.record_size);
            return Err(JournalError::Foreign(alloc::format!("magic {magic:?}, version {version}, records of {size} bytes")));
        }
        let expected = (header.records as usize).saturating_mul(size_of::<Record>());
        if body.len() != expected {
            return Err(JournalError::Length { expected: size_of::<Header>().saturating_add(expected), found: bytes.len() });
        }
        if header.complete != 1 {
            return Err(JournalError::Incomplete { records: header.records });
        }
        let records = body.chunks_exact(size_of::<Record>()).map(bytemuck::pod_read_unaligned).collect();
        Ok(Self { header, records })
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
            ..Zeroable::zeroed()
        };
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        for step in 0..records {
            bytes.extend_from_slice(bytemuck::bytes_of(&Record { step, ..Zeroable::zeroed() }));
        }
        bytes
    }

    #[test]
    fn a_whole_journal_is_read() {
        let journal = Journal::parse(&bytes_of(3, 1)).unwrap();
        assert_eq!(journal.records.iter().map(|record| record.step).collect::<Vec<_>>(), [0, 1, 2]);
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
