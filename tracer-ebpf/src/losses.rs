//! What could not be reported, counted on each CPU.

use aya_ebpf::macros::map;
use aya_ebpf::maps::PerCpuArray;
use settime32_abi::event::{COUNTERS, Counter};

/// Counts of [`Counter`].
#[map]
static LOSSES: PerCpuArray<u64> = PerCpuArray::with_max_entries(COUNTERS, 0);

/// Adds one. In one instruction, since what is counted from a trampoline is counted by a program
/// that an interrupt may interrupt, or another thread where the kernel preempts.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
pub(crate) fn count(counter: Counter) {
    if let Some(slot) = LOSSES.get_ptr_mut(counter as u32) {
        // SAFETY: the kernel checked the index.
        unsafe { add_at::<0, _>(slot, 1) };
    }
}

/// Adds to a number that others add to meanwhile, as a locked instruction; it lies `AT` bytes from
/// the begin of something. The compiler has no such instruction that every kernel's eBPF has.
///
/// # Safety
///
/// There is an aligned word, which may be written.
#[inline(always)]
pub(crate) unsafe fn add_at<const AT: usize, T>(begin: *mut T, by: i64) {
    #[cfg(target_arch = "bpf")]
    // SAFETY: said by the caller.
    unsafe {
        core::arch::asm!("lock *(u64 *)({begin} + {at}) += {by}", begin = in(reg) begin, at = const AT, by = in(reg) by, options(nostack));
    }
    #[cfg(not(target_arch = "bpf"))]
    // SAFETY: said by the caller.
    unsafe {
        let to = begin.byte_add(AT).cast::<u64>();
        to.write(to.read().wrapping_add_signed(by));
    }
}
