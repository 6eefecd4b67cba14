//! The journal while it grows: operations in memory that forked children append to.
//!
//! Not safe against two processes that append at once; the interpreter waits for each child.
//! Threads write side by side, each to its own part of what was reserved for them.

use std::io::{self, Write};
use std::slice;

use nix::errno::Errno;
use settime32_abi::journal::{Header, Operation};

use crate::memory::Shared;

/// Offset of the first operation; their count comes before it.
const OPERATIONS_OFFSET: usize = 64;

/// Room for a fixed number of operations.
#[derive(Debug)]
pub struct Journal {
    memory: Shared,
    capacity: usize,
}

impl Journal {
    /// An empty journal for `capacity` operations.
    pub fn with_capacity(capacity: usize) -> Result<Self, Errno> {
        let memory = Shared::map(OPERATIONS_OFFSET + capacity * size_of::<Operation>())?;
        Ok(Self { memory, capacity })
    }

    /// Number of operations.
    pub fn len(&self) -> usize {
        // SAFETY: the count lies at the start of the mapping, and is written by one process at a
        // time.
        unsafe { self.memory.at::<u32>(0).read_volatile() as usize }
    }

    /// Whether nothing was done.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends an operation.
    ///
    /// # Panics
    ///
    /// When the journal is full: it is made for all operations of a plan.
    pub fn push(&mut self, operation: Operation) {
        self.reserve(1)[0] = operation;
    }

    /// Appends operations that are written later, in any order.
    ///
    /// # Panics
    ///
    /// As [`Journal::push`].
    pub fn reserve(&mut self, count: usize) -> &mut [Operation] {
        let first = self.len();
        assert!(first + count <= self.capacity, "a plan has no more operations than were counted");
        let offset = OPERATIONS_OFFSET + first * size_of::<Operation>();
        let places = self.memory.at::<Operation>(offset);
        // SAFETY: the count and the places are inside of the mapping, this process alone uses them
        // now, and any bytes are an operation.
        unsafe {
            self.memory.at::<u32>(0).write_volatile((first + count) as u32);
            slice::from_raw_parts_mut(places.as_ptr(), count)
        }
    }

    /// The operations so far.
    pub fn operations(&self) -> &[Operation] {
        let first = self.memory.at::<[u8; 0]>(OPERATIONS_OFFSET).cast::<Operation>();
        // SAFETY: `len` operations were written there, any bytes are one, and nothing writes while
        // `self` is borrowed, since children are waited for.
        unsafe { slice::from_raw_parts(first.as_ptr(), self.len()) }
    }

    /// Writes header and operations in the form of [`settime32_abi::journal`].
    pub fn write(&self, header: &Header, out: &mut impl Write) -> io::Result<()> {
        out.write_all(bytemuck::bytes_of(header))?;
        out.write_all(bytemuck::cast_slice(self.operations()))?;
        out.flush()
    }
}
