//! Programs that do nothing, one of each kind that the tracer uses: what they cost is the kernel's
//! part of a probe. An object of its own, which the tracer never holds; the harness's `cost`
//! attaches it.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(missing_docs, reason = "aya's macros make public functions and drop the comments")]

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe};
use aya_ebpf::programs::{FEntryContext, FExitContext, ProbeContext, RetProbeContext};

#[kprobe]
pub fn empty_kprobe(_ctx: ProbeContext) -> u32 {
    0
}

#[kretprobe]
pub fn empty_kretprobe(_ctx: RetProbeContext) -> u32 {
    0
}

/// User space says which function is meant, as for the next one.
#[fentry]
pub fn empty_fentry(_ctx: FEntryContext) -> i32 {
    0
}

#[fexit]
pub fn empty_fexit(_ctx: FExitContext) -> i32 {
    0
}

/// Never reached, as in the tracer's object.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
