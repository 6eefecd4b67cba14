//! Memory that is resident, writable and shared with forked children, at addresses of 32 bits.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ptr::NonNull;

use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// An anonymous mapping, zeroed, given back when dropped.
#[derive(Debug)]
pub(crate) struct Shared {
    start: NonNull<c_void>,
    len: usize,
}

impl Shared {
    /// Maps `len` bytes and faults them in.
    pub(crate) fn map(len: usize) -> Result<Self, Errno> {
        let len = NonZeroUsize::new(len).ok_or(Errno::EINVAL)?;
        let flags = MapFlags::MAP_SHARED | MapFlags::MAP_POPULATE;
        // On a 64-bit host the tests need addresses that fit a register of the i386 ABI.
        #[cfg(target_arch = "x86_64")]
        let flags = flags | MapFlags::MAP_32BIT;
        // SAFETY: the kernel picks an address where nothing is mapped.
        let start = unsafe {
            mmap_anonymous(None, len, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags)
        }?;
        Ok(Self { start, len: len.get() })
    }

    /// Where the byte at `offset` lies, aligned as the offset is.
    ///
    /// # Panics
    ///
    /// When `T` does not fit in there.
    pub(crate) fn at<T>(&self, offset: usize) -> NonNull<T> {
        assert!(
            offset + size_of::<T>() <= self.len,
            "offset {offset} is outside of a mapping of {} bytes",
            self.len
        );
        // SAFETY: the offset is inside of the mapping.
        unsafe { self.start.byte_add(offset) }.cast()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own, and no pointer into it is kept by any other.
        let unmapped = unsafe { munmap(self.start, self.len) };
        debug_assert_eq!(unmapped, Ok(()), "a mapping that was made can be unmapped");
    }
}
