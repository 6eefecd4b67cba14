//! The journal while it grows: records in memory that forked children append to.
//!
//! Not safe against two processes that append at once; the interpreter waits for each child. Threads write side by
//! side, each to its own part of what was reserved for them.

use std::io::{self, Write};
use std::slice;

use nix::errno::Errno;
use settime32_abi::journal::{Header, Record};

use crate::memory::Shared;

/// Offset of the first record; the count of the records comes before it.
const RECORDS_OFFSET: usize = 64;

/// Room for a fixed number of records.
#[derive(Debug)]
pub struct Journal {
    memory: Shared,
    capacity: usize,
}

impl Journal {
    /// An empty journal for `capacity` calls.
    pub fn with_capacity(capacity: usize) -> Result<Self, Errno> {
        let memory = Shared::map(RECORDS_OFFSET + capacity * size_of::<Record>())?;
        Ok(Self { memory, capacity })
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        // SAFETY: the count lies at the start of the mapping, and is written by one process at a time.
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

    /// Makes room for records that are written later, in any order, by any thread.
    ///
    /// # Panics
    ///
    /// As [`Journal::push`].
    pub fn reserve(&mut self, count: usize) -> Reserved<'_> {
        let first = self.len();
        assert!(first + count <= self.capacity, "a plan has no more calls than were counted");
        // SAFETY: the count is inside of the mapping, and this thread alone writes it.
        unsafe { self.memory.at::<u32>(0).write_volatile((first + count) as u32) };
        Reserved { journal: self, first, count }
    }

    /// The records so far.
    pub fn records(&self) -> &[Record] {
        let first = self.memory.at::<[u8; 0]>(RECORDS_OFFSET).cast::<Record>();
        // SAFETY: `len` records were written there, any bytes are a record, and nothing writes while `self` is
        // borrowed, since children are waited for.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.len()) }
    }

    /// Writes header and records in the form of [`settime32_abi::journal`].
    pub fn write(&self, header: &Header, out: &mut impl Write) -> io::Result<()> {
        out.write_all(bytemuck::bytes_of(header))?;
        out.write_all(bytemuck::cast_slice(self.records()))?;
        out.flush()
    }
}

/// Room for records of threads.
#[derive(Clone, Copy, Debug)]
pub struct Reserved<'a> {
    journal: &'a Journal,
    first: usize,
    count: usize,
}

// SAFETY: the memory is shared anyway, and each record is written by the one thread that makes its call.
unsafe impl Sync for Reserved<'_> {}

impl Reserved<'_> {
    /// Writes the record at this place, from 0; no other thread may write the same.
    ///
    /// # Panics
    ///
    /// When so many were not reserved.
    pub fn put(&self, index: usize, record: Record) {
        assert!(index < self.count, "record {index} of {} that were reserved", self.count);
        let offset = RECORDS_OFFSET + (self.first + index) * size_of::<Record>();
        // SAFETY: the place is inside of the mapping, and this thread's own.
        unsafe { self.journal.memory.at::<Record>(offset).write(record) };
    }
}
