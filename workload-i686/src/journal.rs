//! The journal while it grows: records, and the moments of a plan of lives, in memory that forked
//! children append to.
//!
//! Not safe against two processes that append at once; the interpreter waits for each child.
//! Threads write side by side, each to its own part of what was reserved for them.

use std::io::{self, Write};
use std::slice;

use nix::errno::Errno;
use settime32_abi::journal::{Header, Moment, Record};

use crate::memory::Shared;

/// Offset of the first record; the counts of the records and of the moments come before it.
const RECORDS_OFFSET: usize = 64;
/// Where the count of the moments is.
const MOMENT_COUNT_OFFSET: usize = 4;

/// Room for a fixed number of records.
#[derive(Debug)]
pub struct Journal {
    memory: Shared,
    capacity: usize,
    moments: usize,
}

impl Journal {
    /// An empty journal for `capacity` calls.
    pub fn with_capacity(capacity: usize) -> Result<Self, Errno> {
        Self::with_room(capacity, 0)
    }

    /// An empty journal for so many calls and moments.
    pub fn with_room(capacity: usize, moments: usize) -> Result<Self, Errno> {
        let memory = Shared::map(
            RECORDS_OFFSET + capacity * size_of::<Record>() + moments * size_of::<Moment>(),
        )?;
        Ok(Self { memory, capacity, moments })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        // SAFETY: the count lies at the start of the mapping, and is written by one process at a
        // time.
        unsafe { self.memory.at::<u32>(0).read_volatile() as usize }
    }

    /// Whether no call was made.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a record.
    ///
    /// # Panics
    ///
    /// When the journal is full: it is made for all calls of a plan.
    pub fn push(&mut self, record: Record) {
        let len = self.len();
        assert!(len < self.capacity, "a plan has no more calls than were counted");
        // SAFETY: both places are inside of the mapping, and this process alone writes now.
        unsafe {
            self.memory.at::<Record>(RECORDS_OFFSET + len * size_of::<Record>()).write(record);
            self.memory.at::<u32>(0).write_volatile(len as u32 + 1);
        }
    }

    /// Appends a moment.
    ///
    /// # Panics
    ///
    /// As [`Journal::push`].
    pub fn push_moment(&mut self, moment: Moment) {
        let len = self.moments_len();
        assert!(len < self.moments, "a plan has no more moments than were counted");
        let offset = self.moments_offset() + len * size_of::<Moment>();
        // SAFETY: as in `push`.
        unsafe {
            self.memory.at::<Moment>(offset).write(moment);
            self.memory.at::<u32>(MOMENT_COUNT_OFFSET).write_volatile(len as u32 + 1);
        }
    }

    /// Number of moments.
    pub fn moments_len(&self) -> usize {
        // SAFETY: as in `len`.
        unsafe { self.memory.at::<u32>(MOMENT_COUNT_OFFSET).read_volatile() as usize }
    }

    /// The moments so far.
    pub fn moments(&self) -> &[Moment] {
        let first = self.memory.at::<[u8; 0]>(self.moments_offset()).cast::<Moment>();
        // SAFETY: as in `records`.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.moments_len()) }
    }

    fn moments_offset(&self) -> usize {
        RECORDS_OFFSET + self.capacity * size_of::<Record>()
    }

    /// Appends records that are written later, in any order.
    ///
    /// # Panics
    ///
    /// As [`Journal::push`].
    pub fn reserve(&mut self, count: usize) -> &mut [Record] {
        let first = self.len();
        assert!(first + count <= self.capacity, "a plan has no more calls than were counted");
        let places = self.memory.at::<Record>(RECORDS_OFFSET + first * size_of::<Record>());
        // SAFETY: the count and the places are inside of the mapping, this process alone uses them
        // now, and any bytes are a record.
        unsafe {
            self.memory.at::<u32>(0).write_volatile((first + count) as u32);
            slice::from_raw_parts_mut(places.as_ptr(), count)
        }
    }

    /// The records so far.
    pub fn records(&self) -> &[Record] {
        let first = self.memory.at::<[u8; 0]>(RECORDS_OFFSET).cast::<Record>();
        // SAFETY: `len` records were written there, any bytes are a record, and nothing writes
        // while `self` is borrowed, since children are waited for.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.len()) }
    }

    /// Writes header and records in the form of [`settime32_abi::journal`].
    pub fn write(&self, header: &Header, out: &mut impl Write) -> io::Result<()> {
        out.write_all(bytemuck::bytes_of(header))?;
        out.write_all(bytemuck::cast_slice(self.records()))?;
        out.write_all(bytemuck::cast_slice(self.moments()))?;
        out.flush()
    }
}
