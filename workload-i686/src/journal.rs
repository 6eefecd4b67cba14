//! The journal while it grows: records in memory that forked children append to.
//!
//! Not safe against two processes that append at once; the interpreter waits for each child.

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
