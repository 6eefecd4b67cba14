//! Knows the call by its number alone, which x86-64 gives to mlock2.

#[cfg(target_arch = "bpf")]
use crate::entry;
#[cfg(target_arch = "bpf")]
use crate::registers::Registers;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "mlock2-too",
    error: "64-bit calls of number 325, mlock2, are reported",
    caught_by: Work::Case("silence/mlock2"),
    shows: Shows::Extra,
    also: &[("other_return", "__x64_sys_mlock2"), ("other_entry", "__x64_sys_mlock2")],
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn other(pt_regs: usize) {
        entry::enter(pt_regs, || Registers::copied(pt_regs));
    }
}
