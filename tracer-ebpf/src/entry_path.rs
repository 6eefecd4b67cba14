//! By which door a call came, told by where it returns to. The assembly of each door lays out `struct pt_regs` on the stack
//! and then calls on, so that the return address lies right before it (`asm_int80_emulation`, `entry_INT80_compat`,
//! `entry_SYSENTER_compat`, `entry_SYSCALL_compat` of `arch/x86/entry/`). What that is for `int 0x80` is learnt from a call
//! that user space makes when the probes are there; every other door is a fast one.

use core::cell::UnsafeCell;

use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel};
use settime32_abi::event::flag;

/// The thread to learn from; 0 where there is none and no door is told.
#[unsafe(no_mangle)]
static TEACHER: Global<u32> = Global::new(0);

/// A word that is written once; by volatile accesses, since the compiler has no atomic ones for every kernel's eBPF.
struct Learnt(UnsafeCell<u64>);

// SAFETY: an aligned word is read and written whole, by one instruction each.
unsafe impl Sync for Learnt {}

impl Learnt {
    #[inline(always)]
    fn load(&self) -> u64 {
        // SAFETY: it is there for ever, and written whole.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    fn store(&self, value: u64) {
        // SAFETY: as above.
        unsafe { self.0.get().write_volatile(value) };
    }
}

/// What was learnt; 0 before. It stays in the kernel.
static INT80_RETURNS_TO: Learnt = Learnt(UnsafeCell::new(0));

/// Takes the teacher's call, which is no one's to report. True when it was that.
#[inline(always)]
pub(crate) fn learn(pt_regs: usize) -> bool {
    let teacher = TEACHER.load();
    if teacher == 0 || INT80_RETURNS_TO.load() != 0 || bpf_get_current_pid_tgid() as u32 != teacher {
        return false;
    }
    // SAFETY: a source that cannot be read gives an error; then nothing is learnt.
    let returns_to = unsafe { bpf_probe_read_kernel((pt_regs - size_of::<u64>()) as *const u64) }.unwrap_or(0);
    INT80_RETURNS_TO.store(returns_to);
    true
}

/// The flag of the door that returns there; none when nothing was learnt yet.
#[inline(always)]
pub(crate) fn of(returns_to: u64) -> u32 {
    if TEACHER.load() == 0 {
        return 0;
    }
    match INT80_RETURNS_TO.load() {
        0 => 0,
        learnt if learnt == returns_to => flag::INT80,
        _ => flag::FAST,
    }
}
