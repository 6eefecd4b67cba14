//! The probes of settime32-tracer, in the kernel: which program runs where. What each does is in
//! its module; nothing here formats, decides on output or knows of user space beyond the maps.
//!
//! What a program rarely does is a function of its own (`#[inline(never)]`) and `#[cold]`, which
//! keeps the usual way through the program straight. Each names its section, since the compiler
//! puts cold ones into a section apart, and aya takes two functions at the same offset of two
//! sections for one.
//!
//! The programs are made for `bpfel-unknown-none`. On any other target this is an empty `main`, so
//! that `cargo check`, clippy and rust-analyzer can look at the modules with the host's compiler.
#![cfg_attr(target_arch = "bpf", no_std, no_main, feature(asm_experimental_arch))]
#![expect(missing_docs, reason = "aya's macros make public functions and drop the comments")]

mod comm;
mod copies;
mod entry;
mod entry_path;
mod exit;
mod filter;
mod follow;
mod ids;
mod in_flight;
mod lifecycle;
mod losses;
mod maps;
mod registers;
mod switch;

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint};
use aya_ebpf::programs::{
    FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext,
};

use crate::registers::Registers;

/// On `__ia32_sys_timerfd_settime32` at offset 0.
#[kprobe]
pub fn settime32_entry(ctx: ProbeContext) -> u32 {
    let Some(pt_regs) = ctx.arg(0) else { return 0 };
    entry_path::learn(pt_regs);
    entry::enter(pt_regs, move || Registers::copied(pt_regs));
    0
}

/// On the return of the same function.
#[kretprobe]
pub fn settime32_return(ctx: RetProbeContext) -> u32 {
    exit::leave(ctx.ret());
    0
}

/// On `do_timerfd_settime`, `(ufd, flags, new, old)`, at offset 0.
#[kprobe]
pub fn settime32_used(ctx: ProbeContext) -> u32 {
    if let Some(new) = ctx.arg(2) {
        copies::used(new);
    }
    0
}

/// On `put_old_itimerspec32`, `(its, uits)`, at offset 0.
#[kprobe]
pub fn settime32_old(ctx: ProbeContext) -> u32 {
    if let Some(its) = ctx.arg(0) {
        copies::old(its);
    }
    0
}

/// Instead of [`settime32_entry`].
#[fentry(function = "__ia32_sys_timerfd_settime32")]
pub fn settime32_fentry(ctx: FEntryContext) -> i32 {
    // SAFETY: it is the function's argument.
    entry::enter(ctx.arg(0), || Some(unsafe { Registers::followed(ctx.arg(0)) }));
    0
}

/// Instead of [`settime32_return`].
#[fexit(function = "__ia32_sys_timerfd_settime32")]
pub fn settime32_fexit(ctx: FExitContext) -> i32 {
    // The result lies behind the one argument (`arch_prepare_bpf_trampoline`,
    // `arch/x86/net/bpf_jit_comp.c`); the helper for it came with 5.17.
    exit::leave(ctx.arg(1));
    0
}

/// Instead of [`settime32_used`] and [`settime32_old`].
#[fexit(function = "do_timerfd_settime")]
pub fn settime32_copies(ctx: FExitContext) -> i32 {
    // SAFETY: it is the function's.
    unsafe { copies::used_and_old(&ctx) };
    0
}

/// On `sched_process_fork`, `(parent, child)`; attached only when a command is followed. Raw
/// tracepoints need neither tracefs nor a perf event.
#[raw_tracepoint(tracepoint = "sched_process_fork")]
pub fn settime32_fork(ctx: RawTracePointContext) -> i32 {
    follow::fork(ctx.arg(1));
    0
}

/// On `sched_process_exec`, `(task, old_pid, bprm)`; attached only when a command is followed.
#[raw_tracepoint(tracepoint = "sched_process_exec")]
pub fn settime32_exec(ctx: RawTracePointContext) -> i32 {
    follow::exec(ctx.arg(1));
    0
}

/// On `wake_up_new_task`, `(task)`, at offset 0, instead of [`settime32_fork`] where raw
/// tracepoints are preempted, from 7.0 on: the kernel passes a program over while the same one,
/// preempted, is busy on that CPU.
#[kprobe]
pub fn settime32_wakes(ctx: ProbeContext) -> u32 {
    if let Some(child) = ctx.arg(0) {
        follow::fork(child);
    }
    0
}

/// On `exchange_tids`, at offset 0, instead of [`settime32_exec`].
#[kprobe]
pub fn settime32_takes_over(_ctx: ProbeContext) -> u32 {
    follow::take_over();
    0
}

/// On `proc_dointvec`, `(table, write, …)`, at offset 0.
#[kprobe]
pub fn settime32_switch(ctx: ProbeContext) -> u32 {
    if let (Some(table), Some(write)) = (ctx.arg(0), ctx.arg(1)) {
        switch::number(table, write);
    }
    0
}

/// On the return of `write_enabled_file_bool`, where any program is on a kprobe.
#[kretprobe]
pub fn settime32_kprobes_switch(_ctx: RetProbeContext) -> u32 {
    switch::kprobes();
    0
}

/// On the return of `proc_sys_write`.
#[kretprobe]
pub fn settime32_switched(ctx: RetProbeContext) -> u32 {
    switch::written(ctx.ret());
    0
}

/// Instead of [`settime32_switch`].
#[fentry(function = "proc_dointvec")]
pub fn settime32_switch_f(ctx: FEntryContext) -> i32 {
    switch::number(ctx.arg(0), ctx.arg(1));
    0
}

/// Instead of [`settime32_switched`]: on `proc_sys_write`, `(kiocb, from)`.
#[fexit(function = "proc_sys_write")]
pub fn settime32_switched_f(ctx: FExitContext) -> i32 {
    switch::written(ctx.arg(2));
    0
}

/// On `sched_process_exit`.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn settime32_exit(_ctx: RawTracePointContext) -> i32 {
    exit::thread_exits();
    follow::exit();
    0
}

/// On `sched_process_free`, `(task)`; attached when a command is followed.
#[raw_tracepoint(tracepoint = "sched_process_free")]
pub fn settime32_free(ctx: RawTracePointContext) -> i32 {
    follow::gone(ctx.arg(0));
    0
}

/// The kernel gives the time and user memory only to programs that say to be GPL-compatible, in one
/// of the spellings of `license_is_gpl_compatible` (`include/linux/license.h`). This one stands for
/// the MIT half of the project's licence, which the GPL takes in.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: the verifier accepts no loop without end, so a panic that were compiled in would
/// be refused.
#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
