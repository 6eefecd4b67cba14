//! Memory for pointers that point to something else than plain memory: lays it out right before a
//! call, and takes it away right after it.
//!
//! A page that must not be resident is not touched between its making and the call, so what is in
//! it is known by how it was made. Nothing here allocates between the two, since a hole must stay
//! one.

use std::cell::Cell;
use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::Arc;

use nix::errno::Errno;
use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::mman::{
    MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, mprotect, munmap,
};
use nix::sys::uio::pwrite;
use nix::unistd::ftruncate;
use settime32_abi::plan::{Call, Page, Pointer};
use settime32_abi::pointer::FARTHEST;
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32};

use crate::keeper::{Held, Keeper, PAGE};

type Bytes = [u8; ITIMERSPEC32_SIZE];

/// Pages of a region: one that nothing uses, the two around an edge, and another that nothing uses.
const REGION_LEN: usize = 4 * PAGE;
/// Where the page behind the edge begins in its region.
const NEXT_PAGE: usize = 2 * PAGE;
/// Where on that page something lies that lies inside of a page.
const INSIDE: usize = 0x200;
/// `IA32_PAGE_OFFSET`: an i386 process has nothing from here on.
const USER_END: usize = 0xffff_e000;

/// The address of [`Pointer::Across4Gib`].
const ACROSS_4_GIB: usize = 0xffff_fff8;

/// Bytes around a pointer that may be of interest: another structure overlaps by a byte at least.
const IMAGE_LEN: usize = ITIMERSPEC32_SIZE + 2 * FARTHEST as usize;
/// What is around the structures.
const FILLER: u8 = 0x5a;

/// The bytes around a pointer, from [`FARTHEST`] before it on.
type Image = [u8; IMAGE_LEN];

/// One pointer as it will be passed, and what is behind it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The address.
    pub address: u32,
    /// Which bytes can be read, a bit each.
    pub there: u16,
    /// Those bytes; zeros elsewhere.
    pub bytes: Bytes,
}

/// Both pointers of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places {
    /// The new setting's.
    pub utmr: Place,
    /// The old setting's.
    pub otmr: Place,
}

/// Address space for both pointers.
#[derive(Debug)]
pub struct Stage {
    utmr: Region,
    otmr: Region,
    file: OwnedFd,
    /// Whom held pages are left to.
    pub(crate) keeper: Option<Arc<Keeper>>,
}

/// What is around a pointer: before the call, and once the kernel has waited for a held page.
struct Contents<'a> {
    before: &'a Image,
    held: &'a Image,
    /// What is written then where there is memory already.
    rewrite: Option<OldItimerspec32>,
}

/// What the pages of a call are made from.
struct Means<'a> {
    file: &'a OwnedFd,
    keeper: Option<&'a Keeper>,
}

/// Four pages of address space that are this region's own, and its place in the file.
#[derive(Debug)]
struct Region {
    start: usize,
    file_offset: usize,
    /// The pages around 4 GiB are mapped.
    across_4_gib: Cell<bool>,
}

impl Stage {
    /// Reserves the address space.
    pub fn new() -> Result<Self, Errno> {
        let file = memfd_create("settime32-stage", MFdFlags::MFD_CLOEXEC)?;
        ftruncate(&file, 2 * REGION_LEN as libc::off_t)?;
        Ok(Self {
            utmr: Region::reserve(0)?,
            otmr: Region::reserve(REGION_LEN)?,
            file,
            keeper: None,
        })
    }

    /// Lays out the memory of a call; `pattern` is put at `otmr`.
    pub fn lay_out(&self, call: &Call, pattern: Bytes) -> Result<Places, Errno> {
        let means = Means { file: &self.file, keeper: self.keeper.as_deref() };
        let mut image = [FILLER; IMAGE_LEN];
        if let Pointer::OverUtmr(by) = call.otmr {
            put(&mut image, by, pattern);
        }
        put(&mut image, 0, bytemuck::cast(call.new));
        let mut held = image;
        if let Some(meanwhile) = call.meanwhile {
            put(&mut held, 0, bytemuck::cast(meanwhile));
        }
        let contents = Contents { before: &image, held: &held, rewrite: call.meanwhile };
        let utmr_address = self.utmr.lay_out(call.utmr, &contents, &means)?;
        let utmr = place(utmr_address, |byte| call.utmr_page(byte), &contents, 0);
        let otmr = if let Pointer::OverUtmr(by) = call.otmr {
            place(
                utmr_address.wrapping_add_signed(by.into()),
                |byte| call.otmr_page(byte),
                &contents,
                by,
            )
        } else {
            let mut image = [FILLER; IMAGE_LEN];
            put(&mut image, 0, pattern);
            let contents = Contents { before: &image, held: &image, rewrite: None };
            place(
                self.otmr.lay_out(call.otmr, &contents, &means)?,
                |byte| call.otmr_page(byte),
                &contents,
                0,
            )
        };
        Ok(Places { utmr, otmr })
    }

    /// The bytes that are at a place now.
    ///
    /// # Safety
    ///
    /// This stage must have laid the place out, and nothing else since.
    pub unsafe fn read(&self, place: &Place) -> Bytes {
        let mut bytes = [0; ITIMERSPEC32_SIZE];
        for (at, byte) in bytes.iter_mut().enumerate().filter(|(at, _)| place.there >> at & 1 == 1)
        {
            let address = (place.address as usize + at) as *const u8;
            // SAFETY: by the contract, the byte is on a page that is mapped for reading. Volatile,
            // since the kernel writes it.
            *byte = unsafe { address.read_volatile() };
        }
        bytes
    }

    /// Takes everything away again.
    pub fn clear(&self) -> Result<(), Errno> {
        self.utmr.clear()?;
        self.otmr.clear()
    }
}

fn put(image: &mut Image, by: i8, bytes: Bytes) {
    let start = (i16::from(FARTHEST) + i16::from(by)) as usize;
    image[start..start + ITIMERSPEC32_SIZE].copy_from_slice(&bytes);
}

/// What can be read at an address, given the pages and what was put there.
fn place(address: u32, page: impl Fn(usize) -> Page, contents: &Contents<'_>, by: i8) -> Place {
    let mut place = Place { address, ..Place::default() };
    for byte in 0..ITIMERSPEC32_SIZE {
        let page = page(byte);
        place.there |= u16::from(page.is_readable()) << byte;
        if page.keeps_bytes() {
            let image = if page == Page::Held { contents.held } else { contents.before };
            place.bytes[byte] = image[(i16::from(FARTHEST) + i16::from(by)) as usize + byte];
        }
    }
    place
}

impl Region {
    fn reserve(file_offset: usize) -> Result<Self, Errno> {
        let len = NonZeroUsize::new(REGION_LEN).ok_or(Errno::EINVAL)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE;
        // On a 64-bit host the tests need addresses that fit a register of the i386 ABI.
        #[cfg(target_arch = "x86_64")]
        let flags = flags | MapFlags::MAP_32BIT;
        // SAFETY: the kernel picks an address where nothing is mapped.
        let start = unsafe { mmap_anonymous(None, len, ProtFlags::PROT_NONE, flags) }?;
        Ok(Self { start: start.addr().get(), file_offset, across_4_gib: Cell::new(false) })
    }

    /// Makes the pages that the pointer needs and gives its address.
    fn lay_out(
        &self,
        pointer: Pointer,
        contents: &Contents<'_>,
        means: &Means<'_>,
    ) -> Result<u32, Errno> {
        let image = contents.before;
        let next_page = self.start + NEXT_PAGE;
        let address = match pointer {
            Pointer::Null => return Ok(0),
            Pointer::Literal(address) => return nothing_at(address).map(|()| address),
            Pointer::OverUtmr(_) => unreachable!("laid out with utmr, as Plan::validate sees to"),
            Pointer::LastUserBytes => {
                map_last_page()?;
                let address = USER_END - ITIMERSPEC32_SIZE;
                write(address, &image[FARTHEST.into()..FARTHEST as usize + ITIMERSPEC32_SIZE]);
                return Ok(address as u32);
            }
            Pointer::Across4Gib => {
                self.map_across_4_gib()?;
                write(ACROSS_4_GIB, &image[FARTHEST.into()..FARTHEST as usize + ITIMERSPEC32_SIZE]);
                return Ok(ACROSS_4_GIB as u32);
            }
            Pointer::StackLowHalf => {
                let address = (&raw const next_page).addr() as u32;
                return nothing_at(address).map(|()| address);
            }
            Pointer::Valid | Pointer::On(_) => next_page + INSIDE,
            Pointer::Unaligned(by) => next_page + INSIDE + usize::from(by),
            Pointer::Edge { before, .. } => next_page - usize::from(before),
        };
        let first_byte = address - usize::from(FARTHEST);
        let on_first = next_page.saturating_sub(first_byte).min(IMAGE_LEN);
        let [first, last] = [pointer.page_at(0), pointer.page_at(ITIMERSPEC32_SIZE as i32 - 1)];
        let rewrite =
            contents.rewrite.and_then(|new| half_that_is_there(address, [first, last], new));
        let make = |page, kind, bytes: std::ops::Range<usize>| {
            let image = if kind == Page::Held { contents.held } else { contents.before };
            self.make_page(page, kind, first_byte + bytes.start, &image[bytes], rewrite, means)
        };
        if on_first > 0 {
            make(next_page - PAGE, first, 0..on_first)?;
        }
        make(next_page, last, on_first..IMAGE_LEN)?;
        Ok(u32::try_from(address).expect("the memory was mapped below 4 GiB"))
    }

    /// Maps the pages on both sides of 4 GiB, which are taken away with the region's others.
    fn map_across_4_gib(&self) -> Result<(), Errno> {
        let first = ACROSS_4_GIB & !(PAGE - 1);
        for page in [first, first.checked_add(PAGE).ok_or(Errno::EOVERFLOW)?] {
            map_anonymous(
                page,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_FIXED_NOREPLACE,
            )?;
        }
        self.across_4_gib.set(true);
        Ok(())
    }

    /// Makes one page that holds these bytes at this address, as far as such a page holds any.
    fn make_page(
        &self,
        page: usize,
        kind: Page,
        address: usize,
        bytes: &[u8],
        rewrite: Option<(usize, [u8; 8])>,
        means: &Means<'_>,
    ) -> Result<(), Errno> {
        let read_write = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        match kind {
            // SAFETY: the page is this region's own, and nothing points into it between calls.
            Page::Unmapped => return unsafe { munmap(pointer_to(page), PAGE) },
            Page::FileBacked => {
                let offset = (self.file_offset + page - self.start) as libc::off_t;
                pwrite(means.file, bytes, offset + (address - page) as libc::off_t)?;
                let flags = MapFlags::MAP_SHARED | MapFlags::MAP_FIXED;
                // SAFETY: as above.
                return unsafe {
                    mmap(NonZeroUsize::new(page), PAGE_LEN, read_write, flags, means.file, offset)
                }
                .map(drop);
            }
            _ => map_anonymous(page, read_write, MapFlags::MAP_FIXED)?,
        }
        match kind {
            Page::Untouched => return Ok(()),
            Page::Held => return keep(page, Some((address, bytes)), rewrite, means),
            Page::Withheld => return keep(page, None, None, means),
            _ => {}
        }
        write(address, bytes);
        let protection = match kind {
            Page::GivenUp => {
                // SAFETY: the page is private and anonymous, and its bytes are no Rust value.
                return unsafe { madvise(pointer_to(page), PAGE, MmapAdvise::MADV_DONTNEED) };
            }
            Page::NoAccess => ProtFlags::PROT_NONE,
            Page::ReadOnly => ProtFlags::PROT_READ,
            Page::WriteOnly => ProtFlags::PROT_WRITE,
            _ => return Ok(()),
        };
        // SAFETY: as above; only the kernel looks at the page until it is taken away.
        unsafe { mprotect(pointer_to(page), PAGE, protection) }
    }

    fn clear(&self) -> Result<(), Errno> {
        if self.across_4_gib.take() {
            // SAFETY: both pages were mapped by `map_across_4_gib`, where nothing was.
            unsafe { munmap(pointer_to(ACROSS_4_GIB & !(PAGE - 1)), 2 * PAGE) }?;
        }
        let len = NonZeroUsize::new(REGION_LEN).ok_or(Errno::EINVAL)?;
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE | MapFlags::MAP_FIXED;
        // SAFETY: the address space is this region's own.
        unsafe { mmap_anonymous(NonZeroUsize::new(self.start), len, ProtFlags::PROT_NONE, flags) }
            .map(drop)
    }
}

/// Leaves a page to the keeper, to be given with these bytes, or to nobody.
fn keep(
    page: usize,
    bytes: Option<(usize, &[u8])>,
    before: Option<(usize, [u8; 8])>,
    means: &Means<'_>,
) -> Result<(), Errno> {
    let held = match bytes {
        None => Held::Withheld,
        Some((address, bytes)) => {
            let mut content = Box::new([FILLER; PAGE]);
            content[address - page..][..bytes.len()].copy_from_slice(bytes);
            Held::Given { content, before }
        }
    };
    means.keeper.ok_or(Errno::ENOSYS)?.hold(page, held)
}

/// Address and new bytes of the half that lies on a resident page, where the other is held.
fn half_that_is_there(
    address: usize,
    pages: [Page; 2],
    new: OldItimerspec32,
) -> Option<(usize, [u8; 8])> {
    let halves = [new.it_interval, new.it_value].map(bytemuck::cast);
    match pages {
        [Page::Held, Page::Resident] => Some((address + size_of_val(&halves[0]), halves[1])),
        [Page::Resident, Page::Held] => Some((address, halves[0])),
        _ => None,
    }
}

const PAGE_LEN: NonZeroUsize = NonZeroUsize::new(PAGE).expect("a page is not empty");

fn map_anonymous(page: usize, protection: ProtFlags, how: MapFlags) -> Result<(), Errno> {
    // SAFETY: the page is a region's own, or the flags say that nothing must be replaced.
    unsafe {
        mmap_anonymous(NonZeroUsize::new(page), PAGE_LEN, protection, MapFlags::MAP_PRIVATE | how)
    }
    .map(drop)
}

/// Maps the last page that a process can have, unless its stack is there already: then the last
/// bytes are those of the program's name, which nobody reads any more.
fn map_last_page() -> Result<(), Errno> {
    match map_anonymous(
        USER_END - PAGE,
        ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
        MapFlags::MAP_FIXED_NOREPLACE,
    ) {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// Sees to it that a literal address is one of nothing: `mincore` tells of pages that are not
/// mapped.
fn nothing_at(address: u32) -> Result<(), Errno> {
    let mut residency = 0_u8;
    let page = address as usize & !(PAGE - 1);
    // SAFETY: the call writes one byte for one page, and only looks at the page's state.
    match Errno::result(unsafe { libc::mincore(page as *mut c_void, PAGE, &raw mut residency) }) {
        Err(Errno::ENOMEM) => Ok(()),
        Err(errno) => Err(errno),
        Ok(_) => Err(Errno::EEXIST),
    }
}

fn pointer_to(address: usize) -> NonNull<c_void> {
    NonNull::new(address as *mut c_void).expect("no region begins at null")
}

fn write(address: usize, bytes: &[u8]) {
    for (at, byte) in bytes.iter().enumerate() {
        // SAFETY: the caller has mapped the memory for writing. Volatile, because the kernel reads
        // it unseen.
        unsafe { ((address + at) as *mut u8).write_volatile(*byte) };
    }
}

#[cfg(test)]
mod tests;
