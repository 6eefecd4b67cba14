//! The memory of a simulated process: a few pages, each with what can be done with it. Laid out as
//! a call wants it.

use std::collections::HashMap;

use settime32_abi::plan::{Page, Pointer};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32};

type Bytes = [u8; ITIMERSPEC32_SIZE];

const PAGE: u32 = 4096;
const HALF: u32 = 8;
/// Page edges in the middle of nowhere.
const UTMR_EDGE: u32 = 0x4000_2000;
const OTMR_EDGE: u32 = 0x5000_2000;

#[derive(Default)]
pub struct Memory {
    pages: HashMap<u32, Page>,
    bytes: HashMap<u32, u8>,
}

impl Memory {
    /// Lays out both pointers and gives their addresses.
    pub fn for_call(
        utmr: Pointer,
        new: OldItimerspec32,
        otmr: Pointer,
        pattern: Bytes,
    ) -> (Self, u32, u32) {
        let mut memory = Self::default();
        let utmr = memory.map(utmr, UTMR_EDGE, 0);
        let otmr = memory.map(otmr, OTMR_EDGE, utmr);
        memory.put(otmr, pattern);
        memory.put(utmr, bytemuck::cast(new));
        (memory, utmr, otmr)
    }

    fn map(&mut self, pointer: Pointer, edge: u32, utmr: u32) -> u32 {
        let mut one = |address: u32, page| {
            self.pages.insert(address / PAGE, page);
            address
        };
        match pointer {
            Pointer::Null => 0,
            Pointer::Literal(address) => address,
            Pointer::OverUtmr(by) => utmr.wrapping_add_signed(by.into()),
            Pointer::StackLowHalf => 0x7ffd_1230,
            Pointer::Across4Gib => {
                one(0, Page::Resident);
                one(0xffff_fff8, Page::Resident)
            }
            Pointer::LastUserBytes => one(0xffff_dff0, Page::Resident),
            Pointer::Valid => one(edge + 0x100, Page::Resident),
            Pointer::Unaligned(by) => one(edge + 0x100 + u32::from(by), Page::Resident),
            Pointer::On(page) => one(edge + 0x100, page),
            Pointer::Edge { before, first, next } => {
                one(edge, next);
                one(edge - u32::from(before), first)
            }
        }
    }

    fn put(&mut self, address: u32, bytes: Bytes) {
        for (at, byte) in bytes.into_iter().enumerate() {
            let address = address.wrapping_add(at as u32);
            if self.page(address).keeps_bytes() {
                self.bytes.insert(address, byte);
            }
        }
    }

    fn page(&self, address: u32) -> Page {
        self.pages.get(&(address / PAGE)).copied().unwrap_or(Page::Unmapped)
    }

    fn read(&self, address: u32) -> Option<u8> {
        self.page(address).is_readable().then(|| self.bytes.get(&address).copied().unwrap_or(0))
    }

    /// What the process itself can read: which bytes, and those.
    pub fn look(&self, address: u32) -> (u16, Bytes) {
        let (mut there, mut bytes) = (0, [0; ITIMERSPEC32_SIZE]);
        for (at, byte) in bytes.iter_mut().enumerate() {
            if let Some(read) = self.read(address.wrapping_add(at as u32)).filter(|_| address != 0)
            {
                (*byte, there) = (read, there | 1 << at);
            }
        }
        (there, bytes)
    }

    /// `get_old_itimerspec32`.
    pub fn copy_in(&self, utmr: u32) -> Option<OldItimerspec32> {
        let (there, bytes) = self.look(utmr);
        (there == u16::MAX).then(|| bytemuck::cast(bytes))
    }

    /// `put_old_itimerspec32`; false when it faults.
    pub fn copy_out(&mut self, otmr: u32, old: OldItimerspec32) -> bool {
        let bytes: Bytes = bytemuck::cast(old);
        bytes.into_iter().enumerate().all(|(at, byte)| {
            let address = otmr.wrapping_add(at as u32);
            let writable = self.page(address).is_writable();
            if writable {
                self.bytes.insert(address, byte);
            }
            writable
        })
    }

    /// Which halves a probe can read that must not fault.
    pub fn halves_without_fault(&self, utmr: u32) -> [bool; 2] {
        [0, HALF].map(|start| {
            (start..start + HALF).all(|byte| self.page(utmr.wrapping_add(byte)).is_resident())
        })
    }
}
