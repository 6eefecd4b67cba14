//! The registers of the caller, as the wrapper is given them: `struct pt_regs` of
//! `arch/x86/include/asm/ptrace.h`.

use core::mem::offset_of;

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;
use aya_ebpf::helpers::generated::{bpf_get_current_task_btf, bpf_task_pt_regs};
use settime32_abi::NR_TIMERFD_SETTIME32;
use settime32_abi::event::Slot;

use crate::entry_path;

/// 1 when the kernel has a helper that gives a task's registers (5.15).
#[unsafe(no_mangle)]
static HAS_TASK_PT_REGS: Global<u32> = Global::new(0);

/// The arguments as the wrapper takes them, and the caller's code segment.
#[derive(Clone, Copy)]
pub(crate) struct Registers {
    pub ufd: i32,
    pub settime_flags: i32,
    pub utmr: u32,
    pub otmr: u32,
    pub cs: u16,
    /// The flag of the entry path; none when it is not known.
    pub entry_path: u32,
}

/// The part of `struct pt_regs` from `bx` to `cs`.
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

/// The same with what is before it. Reading it whole costs one helper call; the parts between cost
/// a few instructions.
#[repr(C)]
struct SavedAndReturn {
    returns_to: u64,
    r15_to_bp: [u64; 5],
    saved: Saved,
}

/// Where [`Saved`] begins in `struct pt_regs`.
const SAVED_AT: usize = 40;
/// Where `struct pt_regs` begins in [`SavedAndReturn`].
const PT_REGS_AT: usize = 8;
const _: () = assert!(offset_of!(SavedAndReturn, saved) == PT_REGS_AT + SAVED_AT);
const _: () = assert!(SAVED_AT + offset_of!(Saved, cx) == 88);
const _: () = assert!(SAVED_AT + offset_of!(Saved, si) == 104);
const _: () = assert!(SAVED_AT + offset_of!(Saved, cs) == 136);

/// Where `dx` lies in `struct pt_regs`, the third argument.
pub(crate) const DX_AT: usize = SAVED_AT + offset_of!(Saved, dx);
const _: () = assert!(DX_AT == 96);

/// Where `orig_ax` lies in `struct pt_regs`.
const ORIG_AX_AT: usize = SAVED_AT + offset_of!(Saved, orig_ax);
const _: () = assert!(ORIG_AX_AT == 120);

/// Whether the current thread, which is in a function of timers by one system call or another, is
/// in this one. No other that comes to those functions has its number in any table.
#[inline(always)]
pub(crate) fn is_in_settime32(slot: &Slot) -> bool {
    if HAS_TASK_PT_REGS.load() == 0 {
        return was_settime32(slot.pt_regs);
    }
    // SAFETY: it is the current task's own, which the verifier lets one follow.
    let orig_ax = unsafe {
        ((bpf_task_pt_regs(bpf_get_current_task_btf()) as usize + ORIG_AX_AT) as *const u64)
            .read_volatile()
    };
    orig_ax as u32 == NR_TIMERFD_SETTIME32
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn was_settime32(pt_regs: u64) -> bool {
    // SAFETY: a source that cannot be read gives an error.
    let orig_ax = unsafe { bpf_probe_read_kernel((pt_regs as usize + ORIG_AX_AT) as *const u64) };
    orig_ax.is_ok_and(|orig_ax| orig_ax as u32 == NR_TIMERFD_SETTIME32)
}

impl Registers {
    /// Copies them from the kernel's address `pt_regs`; `None` when they cannot be read.
    #[inline(always)]
    pub(crate) fn copied(pt_regs: usize) -> Option<Self> {
        // SAFETY: a source that cannot be read gives an error.
        let copy =
            unsafe { bpf_probe_read_kernel((pt_regs - PT_REGS_AT) as *const SavedAndReturn) }
                .ok()?;
        Some(Self::of(&copy.saved, entry_path::of(copy.returns_to)))
    }

    /// Takes them from `pt_regs`, which is the kernel's own pointer to its type and may be
    /// followed, but not to what lies before it, so that the entry path stays unknown: to read it
    /// by a helper would cost 95 instructions.
    ///
    /// # Safety
    ///
    /// `pt_regs` is an argument that the verifier knows to point to a `struct pt_regs`.
    #[inline(always)]
    pub(crate) unsafe fn followed(pt_regs: usize) -> Self {
        // SAFETY: said by the caller.
        Self::of(unsafe { &*((pt_regs + SAVED_AT) as *const Saved) }, 0)
    }

    /// As the wrapper does it (`SC_IA32_REGS_TO_ARGS`, `arch/x86/include/asm/syscall_wrapper.h`):
    /// the upper halves stay what a 64-bit caller left there, and do not count.
    #[inline(always)]
    fn of(saved: &Saved, entry_path: u32) -> Self {
        Self {
            ufd: saved.bx as i32,
            settime_flags: saved.cx as i32,
            utmr: saved.dx as u32,
            otmr: saved.si as u32,
            cs: saved.cs as u16,
            entry_path,
        }
    }
}
