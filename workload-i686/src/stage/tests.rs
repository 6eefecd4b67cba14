//! What the kernel finds on each kind of page, asked of this host's kernel by `write` and
//! `pagemap`.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;

use nix::sys::uio::pread;
use settime32_abi::plan::Entry;
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::*;

const NEW: OldItimerspec32 = OldItimerspec32 {
    it_interval: OldTimespec32 { tv_sec: 1, tv_nsec: 2 },
    it_value: OldTimespec32 { tv_sec: 3, tv_nsec: 4 },
};
const PATTERN: Bytes = [0xa5; 16];

fn call(utmr: Pointer, otmr: Pointer) -> Call {
    Call { slot: 0, flags: 0, utmr, otmr, new: NEW, meanwhile: None, entry: Entry::Int80 }
}

/// Reads byte by byte as the kernel does for a process, `write` to a file: those that can be read,
/// and which those are.
fn as_the_kernel(address: u32) -> (u16, Bytes) {
    let file = memfd_create("copies", MFdFlags::empty()).unwrap();
    let (mut there, mut bytes) = (0, [0; 16]);
    for (at, byte) in bytes.iter_mut().enumerate() {
        let from = (address as usize + at) as *const c_void;
        // SAFETY: the kernel reads what it can, and this process does nothing else with it.
        let copied = Errno::result(unsafe { libc::pwrite(file.as_raw_fd(), from, 1, 0) });
        assert!(matches!(copied, Ok(1) | Err(Errno::EFAULT)), "{copied:?}");
        if copied.is_ok() {
            there |= 1 << at;
            pread(&file, std::slice::from_mut(byte), 0).unwrap();
        }
    }
    (there, bytes)
}

/// Whether the page of this address has an entry in the page table, without giving it one.
fn is_resident(address: u32) -> bool {
    let mut entry = [0; 8];
    let mut pagemap = File::open("/proc/self/pagemap").unwrap();
    pagemap.seek(SeekFrom::Start(u64::from(address) / PAGE as u64 * 8)).unwrap();
    pagemap.read_exact(&mut entry).unwrap();
    u64::from_le_bytes(entry) >> 63 == 1
}

fn pointers() -> Vec<Pointer> {
    let on = Page::UNATTENDED.into_iter().map(Pointer::On);
    let edges = [1, 8, 15].into_iter().flat_map(|before| {
        Page::UNATTENDED.into_iter().flat_map(move |first| {
            Page::UNATTENDED.into_iter().map(move |next| Pointer::Edge { before, first, next })
        })
    });
    on.chain(edges)
        .chain([
            Pointer::Valid,
            Pointer::Unaligned(1),
            Pointer::Unaligned(15),
            Pointer::LastUserBytes,
        ])
        .collect()
}

#[test]
fn what_is_said_to_be_there_is_there_and_nothing_else() {
    let stage = Stage::new().unwrap();
    // Two stages of one process would be in each other's way there, so that no other test asks for
    // it.
    for pointer in pointers().into_iter().chain([Pointer::Across4Gib]) {
        let places = stage.lay_out(&call(pointer, Pointer::Valid), PATTERN).unwrap();
        assert_eq!(
            (places.utmr.there, places.utmr.bytes),
            as_the_kernel(places.utmr.address),
            "{pointer:?}"
        );
        // SAFETY: it was laid out just now.
        assert_eq!(unsafe { stage.read(&places.utmr) }, places.utmr.bytes, "{pointer:?}");
        stage.clear().unwrap();
        if pointer == Pointer::LastUserBytes {
            continue;
        }
        let places = stage.lay_out(&call(Pointer::Valid, pointer), PATTERN).unwrap();
        assert_eq!(
            (places.otmr.there, places.otmr.bytes),
            as_the_kernel(places.otmr.address),
            "{pointer:?}"
        );
        stage.clear().unwrap();
    }
}

#[test]
fn only_resident_pages_are_resident() {
    let stage = Stage::new().unwrap();
    for pointer in pointers() {
        let places = stage.lay_out(&call(pointer, Pointer::Null), PATTERN).unwrap();
        for byte in [0, 15] {
            let page = pointer.page_at(byte);
            // A page without access keeps its entry, which is no use to a reader.
            let resident = page.is_resident() || page == Page::NoAccess;
            assert_eq!(
                is_resident(places.utmr.address + byte as u32),
                resident,
                "byte {byte} of {pointer:?}"
            );
        }
        stage.clear().unwrap();
    }
}

#[test]
fn structures_overlap_as_they_are_told_to() {
    let stage = Stage::new().unwrap();
    for by in -15..=15_i8 {
        let places = stage.lay_out(&call(Pointer::Valid, Pointer::OverUtmr(by)), PATTERN).unwrap();
        assert_eq!(places.otmr.address, places.utmr.address.wrapping_add_signed(by.into()));
        assert_eq!(places.utmr.bytes, bytemuck::cast::<_, Bytes>(NEW));
        let (there, bytes) = as_the_kernel(places.otmr.address);
        assert_eq!((places.otmr.there, places.otmr.bytes), (there, bytes));
        let common = (16 - by.unsigned_abs()) as usize;
        let rest = if by < 0 { &bytes[..16 - common] } else { &bytes[common..] };
        assert!(rest.iter().all(|byte| *byte == 0xa5), "by {by}: {bytes:x?}");
        stage.clear().unwrap();
    }
}

#[test]
fn a_literal_address_is_one_of_nothing() {
    let stage = Stage::new().unwrap();
    let places = stage.lay_out(&call(Pointer::Literal(1), Pointer::Null), PATTERN).unwrap();
    let stack = stage.lay_out(&call(Pointer::Valid, Pointer::StackLowHalf), PATTERN).unwrap().otmr;
    assert!(stack.address != 0 && stack.there == 0);
    assert_eq!(
        (places.utmr, places.otmr),
        (Place { address: 1, ..Place::default() }, Place::default())
    );
    let taken = stage.lay_out(&call(Pointer::Valid, Pointer::Null), PATTERN).unwrap().utmr.address;
    assert_eq!(
        stage.lay_out(&call(Pointer::Literal(taken), Pointer::Null), PATTERN),
        Err(Errno::EEXIST)
    );
}
