//! Reports `timerfd_settime` of x86-64 as well.

#[cfg(target_arch = "bpf")]
use crate::entry;
#[cfg(target_arch = "bpf")]
use crate::kernel::{at, register};
#[cfg(target_arch = "bpf")]
use crate::registers::Registers;

use crate::{About, Shows, Work, Wrong};

pub const ABOUT: About = About {
    name: "native-calls-too",
    error: "native 64-bit calls are reported",
    caught_by: Work::Case("silence/native-timerfd-settime"),
    shows: Shows::Extra,
    also: &[("other_return", "__x64_sys_timerfd_settime"), ("other_entry", "__x64_sys_timerfd_settime")],
    ..About::RIGHT
};

#[derive(Default)]
pub struct Tracer;

impl Wrong for Tracer {
    #[cfg(target_arch = "bpf")]
    #[inline(always)]
    fn other(pt_regs: usize) {
        let registers = || Some(Registers {
            ufd: register(pt_regs, at::DI)? as i32,
            settime_flags: register(pt_regs, at::SI)? as i32,
            utmr: register(pt_regs, at::DX)? as u32,
            otmr: register(pt_regs, at::R10)? as u32,
            cs: register(pt_regs, at::CS)? as u16,
            entry_path: 0,
        });
        entry::enter(pt_regs, registers);
    }
}
