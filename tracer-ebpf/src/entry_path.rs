//! By which door a call came, told by where it returns to, and which call is the tracer's own.
//!
//! The assembly of each door lays out `struct pt_regs` on the stack and then calls on, so that the
//! return address lies right before it (`asm_int80_emulation`, `entry_INT80_compat`,
//! `entry_SYSENTER_compat`, `entry_SYSCALL_compat` of `arch/x86/entry/`). What that is for `int
//! 0x80` is learnt from a call that user space makes when the probes are there; every other door is
//! a fast one. That call is known by the interval that it sets, which is drawn at random for each
//! run.

use core::cell::UnsafeCell;

use aya_ebpf::Global;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel, bpf_probe_read_user};
use settime32_abi::event::flag;

use crate::registers::DX_AT;

/// 1 where the doors can be told apart.
#[unsafe(no_mangle)]
static TELLS_DOORS: Global<u32> = Global::new(0);

/// The seconds of the own call's interval.
#[unsafe(no_mangle)]
static OWN_SECONDS: Global<u32> = Global::new(0);

/// Its nanoseconds; 0 where there is no own call.
#[unsafe(no_mangle)]
static OWN_NANOSECONDS: Global<u32> = Global::new(0);

/// A word that is written once; by volatile accesses, since the compiler has no atomic ones for
/// every kernel's eBPF.
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

/// The thread that makes the own calls, by the kernel's id; 0 before the first one.
static OWN_TID: Learnt = Learnt(UnsafeCell::new(0));

/// Learns from the own call, as long as nothing was learnt.
#[inline(always)]
pub(crate) fn learn(pt_regs: usize) {
    if INT80_RETURNS_TO.load() == 0 && TELLS_DOORS.load() != 0 {
        learn_from(pt_regs);
    }
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn learn_from(pt_regs: usize) {
    if is_own(bpf_get_current_pid_tgid(), pt_regs) {
        // SAFETY: a source that cannot be read gives an error; then nothing is learnt.
        let returns_to =
            unsafe { bpf_probe_read_kernel((pt_regs - size_of::<u64>()) as *const u64) }
                .unwrap_or(0);
        INT80_RETURNS_TO.store(returns_to);
    }
}

/// Whether a call is the tracer's own; `ids` are what `bpf_get_current_pid_tgid` gives. By the
/// thread first, once that is known, so that filters cost other threads no look at their memory.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
pub(crate) fn is_own(ids: u64, pt_regs: usize) -> bool {
    let tid = u64::from(ids as u32);
    let own_tid = OWN_TID.load();
    if OWN_NANOSECONDS.load() == 0 || (own_tid != 0 && own_tid != tid) {
        return false;
    }
    // SAFETY: a source that cannot be read gives an error.
    let utmr = unsafe { bpf_probe_read_kernel((pt_regs + DX_AT) as *const u64) };
    let is_own = utmr.is_ok_and(|utmr| sets_own_interval(utmr as u32));
    if is_own {
        OWN_TID.store(tid);
    }
    is_own
}

#[inline(always)]
fn sets_own_interval(utmr: u32) -> bool {
    // SAFETY: a source that cannot be read gives an error.
    let interval = unsafe { bpf_probe_read_user(utmr as usize as *const [u32; 2]) };
    interval == Ok([OWN_SECONDS.load(), OWN_NANOSECONDS.load()])
}

/// The flag of the door that returns there; none when nothing was learnt yet.
#[inline(always)]
pub(crate) fn of(returns_to: u64) -> u32 {
    match INT80_RETURNS_TO.load() {
        0 => 0,
        learnt if learnt == returns_to => flag::INT80,
        _ => flag::FAST,
    }
}
