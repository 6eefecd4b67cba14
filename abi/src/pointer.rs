//! Where the pointers of a call point, and what is there: the contract between plans, the workload
//! that lays the memory out, and the model that says what the kernel can do with it.

use serde::{Deserialize, Serialize};

use crate::timespec::ITIMERSPEC32_SIZE;

/// The farthest that a pointer is from where it would be if it were aligned, or from the page edge
/// before which it lies, or from the other pointer, bytes.
pub const FARTHEST: u8 = ITIMERSPEC32_SIZE as u8 - 1;

/// Where a pointer argument points.
///
/// All memory but [`Pointer::Valid`]'s is laid out anew right before the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Pointer {
    /// Null.
    Null,
    /// Memory of the workload that is mapped, resident, aligned and writable, used by this argument
    /// alone.
    Valid,
    /// This address, at and behind which nothing is mapped.
    Literal(u32),
    /// The last 16 bytes that an i386 process can have: those before `IA32_PAGE_OFFSET`
    /// (`arch/x86/include/asm/page_64_types.h` and `processor.h`).
    LastUserBytes,
    /// Only in a 64-bit process: 0xfffffff8, with resident memory on both sides of 4 GiB.
    Across4Gib,
    /// Only in a 64-bit process: the low half of the address of something on its stack, where
    /// nothing is mapped; the upper half is no more looked at than those of the other registers.
    StackLowHalf,
    /// Resident memory, this many bytes behind an address that is a multiple of 16.
    Unaligned(u8),
    /// Inside of a page.
    On(Page),
    /// The first bytes at the end of one page, the others on the next one.
    Edge {
        /// Bytes on the first page, 1 to [`FARTHEST`].
        before: u8,
        /// The first page.
        first: Page,
        /// The next page.
        next: Page,
    },
    /// Only as `otmr`: this many bytes behind `utmr`, at most [`FARTHEST`] either way.
    OverUtmr(i8),
}

/// What a page is when the call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Page {
    /// Mapped, readable, writable, with an entry in the page table.
    Resident,
    /// Nothing is mapped.
    Unmapped,
    /// Mapped with `PROT_NONE`, having been written.
    NoAccess,
    /// Mapped with `PROT_READ`, having been written.
    ReadOnly,
    /// Mapped with `PROT_WRITE` alone, having been written. The page tables of x86 know no such
    /// thing, so that it can be read.
    WriteOnly,
    /// Anonymous memory that was mapped just now and never touched: zeros, once somebody looks.
    Untouched,
    /// A shared mapping, just now made and never touched, of a file that holds the bytes.
    FileBacked,
    /// Anonymous memory that was written and then given up with `MADV_DONTNEED`: zeros, once
    /// somebody looks.
    GivenUp,
    /// Anonymous memory that was never touched, registered with `userfaultfd(2)`: who touches it
    /// waits until another thread of the process has put the bytes there.
    Held,
    /// The same, but nobody puts anything there: who touches it waits until it is killed.
    Withheld,
}

impl Page {
    /// Those that need nobody else.
    pub const UNATTENDED: [Self; 8] = [
        Self::Resident,
        Self::Unmapped,
        Self::NoAccess,
        Self::ReadOnly,
        Self::WriteOnly,
        Self::Untouched,
        Self::FileBacked,
        Self::GivenUp,
    ];

    /// Whether the kernel can read it on the process's behalf.
    pub const fn is_readable(self) -> bool {
        !matches!(self, Self::Unmapped | Self::NoAccess | Self::Withheld)
    }

    /// Whether the kernel can write it on the process's behalf.
    pub const fn is_writable(self) -> bool {
        !matches!(self, Self::Unmapped | Self::NoAccess | Self::Withheld | Self::ReadOnly)
    }

    /// Whether it can be read without a page fault, which a probe cannot take.
    pub const fn is_resident(self) -> bool {
        matches!(self, Self::Resident | Self::ReadOnly | Self::WriteOnly)
    }

    /// Whether what was put there is there; the other readable pages hold zeros.
    pub const fn keeps_bytes(self) -> bool {
        self.is_readable() && !matches!(self, Self::Untouched | Self::GivenUp)
    }
}

impl Pointer {
    /// The page of the byte at this offset from where the pointer points; `Unmapped` where nothing
    /// is. Of [`Pointer::OverUtmr`] only `utmr` can tell.
    pub const fn page_at(self, offset: i32) -> Page {
        match self {
            Self::Null | Self::Literal(_) | Self::StackLowHalf | Self::OverUtmr(_) => {
                Page::Unmapped
            }
            Self::LastUserBytes if offset >= ITIMERSPEC32_SIZE as i32 => Page::Unmapped,
            Self::Valid | Self::LastUserBytes | Self::Across4Gib | Self::Unaligned(_) => {
                Page::Resident
            }
            Self::On(page) => page,
            Self::Edge { before, first, .. } if offset < before as i32 => first,
            Self::Edge { next, .. } => next,
        }
    }

    /// What is wrong with it as one of the two pointers, if anything.
    pub(crate) fn fault(self, utmr: Option<Self>) -> Option<&'static str> {
        let distance_is_fine = |distance: u8| (1..=FARTHEST).contains(&distance);
        match (self, utmr) {
            (Self::Unaligned(by), _) if !distance_is_fine(by) => {
                Some("a pointer that is too far from being aligned")
            }
            (Self::Edge { before, .. }, _) if !distance_is_fine(before) => {
                Some("a pointer that is not across a page edge")
            }
            (Self::OverUtmr(_), None) => Some("utmr over itself"),
            (Self::OverUtmr(by), _) if by.unsigned_abs() > FARTHEST => {
                Some("an otmr that is too far from utmr")
            }
            (Self::OverUtmr(_), Some(Self::Null | Self::Literal(_) | Self::StackLowHalf)) => {
                Some("an otmr over a utmr without memory")
            }
            (Self::LastUserBytes, Some(Self::LastUserBytes))
            | (Self::Across4Gib, Some(Self::Across4Gib)) => Some("the last bytes twice"),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edge_divides_the_bytes() {
        let pointer = Pointer::Edge { before: 5, first: Page::ReadOnly, next: Page::Untouched };
        assert_eq!([-15, 0, 4].map(|offset| pointer.page_at(offset)), [Page::ReadOnly; 3]);
        assert_eq!([5, 15, 30].map(|offset| pointer.page_at(offset)), [Page::Untouched; 3]);
        assert_eq!(Pointer::LastUserBytes.page_at(15), Page::Resident);
        assert_eq!(Pointer::LastUserBytes.page_at(16), Page::Unmapped);
    }

    #[test]
    fn what_can_be_done_with_each_page() {
        let all =
            |can: fn(Page) -> bool| Page::UNATTENDED.iter().filter(|page| can(**page)).count();
        assert_eq!(
            [
                all(Page::is_readable),
                all(Page::is_writable),
                all(Page::is_resident),
                all(Page::keeps_bytes)
            ],
            [6, 5, 3, 4]
        );
        // Who waits for a held page gets it in the end.
        let of = |page: Page| {
            [page.is_readable(), page.is_writable(), page.is_resident(), page.keeps_bytes()]
        };
        assert_eq!([of(Page::Held), of(Page::Withheld)], [[true, true, false, true], [false; 4]]);
    }
}
