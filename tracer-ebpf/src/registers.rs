//! The registers of the caller, as the wrapper is given them: `struct pt_regs` of `arch/x86/include/asm/ptrace.h`.

use core::mem::offset_of;

use aya_ebpf::helpers::bpf_probe_read_kernel;

/// The arguments as the wrapper takes them, and the caller's code segment.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    pub ufd: i32,
    pub settime_flags: i32,
    pub utmr: u32,
    pub otmr: u32,
    pub cs: u16,
}

/// The part of `struct pt_regs` from `bx` to `cs`. Reading it whole costs one helper call; the part between costs a
/// few instructions.
#[repr(C)]
struct Saved {
    bx: u64,
    r11_to_ax: [u64; 5],
    cx: u64,
    dx: u64,
    si: u64,
    di: u64,
    orig_ax: u64,
    ip: u64,
    cs: u64,
}

/// Where [`Saved`] begins in `struct pt_regs`.
const SAVED_AT: usize = 40;
const _: () = assert!(SAVED_AT + offset_of!(Saved, cx) == 88);
const _: () = assert!(SAVED_AT + offset_of!(Saved, si) == 104);
const _: () = assert!(SAVED_AT + offset_of!(Saved, cs) == 136);

impl Registers {
    /// Copies them from the kernel's address `pt_regs`; `None` when they cannot be read.
    #[inline(always)]
    pub(crate) fn copied(pt_regs: usize) -> Option<Self> {
        // SAFETY: a source that cannot be read gives an error.
        let saved = unsafe { bpf_probe_read_kernel((pt_regs + SAVED_AT) as *const Saved) }.ok()?;
        Some(Self::of(&saved))
    }

    /// Takes them from `pt_regs`, which is the kernel's own pointer to its type and may be followed.
    ///
    /// # Safety
    ///
    /// `pt_regs` is an argument that the verifier knows to point to a `struct pt_regs`.
    #[inline(always)]
    pub(crate) unsafe fn followed(pt_regs: usize) -> Self {
        // SAFETY: said by the caller.
        Self::of(unsafe { &*((pt_regs + SAVED_AT) as *const Saved) })
    }

    /// As the wrapper does it (`SC_IA32_REGS_TO_ARGS`, `arch/x86/include/asm/syscall_wrapper.h`): the upper halves
    /// stay what a 64-bit caller left there, and do not count.
    #[inline(always)]
    fn of(saved: &Saved) -> Self {
        Self { ufd: saved.bx as i32, settime_flags: saved.cx as i32, utmr: saved.dx as u32, otmr: saved.si as u32, cs: saved.cs as u16 }
    }
}
