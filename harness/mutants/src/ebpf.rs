//! The eBPF object of the mutants: the programs of the shipped one by the same names, and
//! those of other system calls. On any other target than BPF this is an empty `main`.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(target_arch = "bpf")]
mod programs {
    use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint};
    use aya_ebpf::programs::{
        FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext,
    };
    use settime32_mutants::kernel;

    #[kprobe]
    pub fn settime32_entry(ctx: ProbeContext) -> u32 {
        kernel::entered(ctx.arg(0));
        0
    }

    #[kretprobe]
    pub fn settime32_return(ctx: RetProbeContext) -> u32 {
        kernel::leave(ctx.ret());
        0
    }

    #[kprobe]
    pub fn settime32_used(ctx: ProbeContext) -> u32 {
        if let Some(new) = ctx.arg(2) {
            kernel::used(new);
        }
        0
    }

    #[kprobe]
    pub fn settime32_old(ctx: ProbeContext) -> u32 {
        if let Some(its) = ctx.arg(0) {
            kernel::old(its);
        }
        0
    }

    #[fentry(function = "__ia32_sys_timerfd_settime32")]
    pub fn settime32_fentry(ctx: FEntryContext) -> i32 {
        // SAFETY: it is the function's argument.
        unsafe { kernel::entered_by_fentry(ctx.arg(0)) };
        0
    }

    #[fexit(function = "__ia32_sys_timerfd_settime32")]
    pub fn settime32_fexit(ctx: FExitContext) -> i32 {
        kernel::leave(ctx.arg(1));
        0
    }

    #[fexit(function = "do_timerfd_settime")]
    pub fn settime32_copies(ctx: FExitContext) -> i32 {
        // SAFETY: it is the function's.
        unsafe { kernel::used_and_old(&ctx) };
        0
    }

    #[raw_tracepoint(tracepoint = "sched_process_exit")]
    pub fn settime32_exit(_ctx: RawTracePointContext) -> i32 {
        kernel::thread_exits();
        0
    }

    #[raw_tracepoint(tracepoint = "sched_process_fork")]
    pub fn settime32_fork(ctx: RawTracePointContext) -> i32 {
        kernel::forks(ctx.arg(1));
        0
    }

    #[raw_tracepoint(tracepoint = "sched_process_exec")]
    pub fn settime32_exec(ctx: RawTracePointContext) -> i32 {
        kernel::executes(ctx.arg(0), ctx.arg(1));
        0
    }

    #[kprobe]
    pub fn settime32_wakes(ctx: ProbeContext) -> u32 {
        if let Some(child) = ctx.arg(0) {
            kernel::forks(child);
        }
        0
    }

    #[kprobe]
    pub fn settime32_takes_over(_ctx: ProbeContext) -> u32 {
        kernel::takes_over();
        0
    }

    #[raw_tracepoint(tracepoint = "sched_process_free")]
    pub fn settime32_free(ctx: RawTracePointContext) -> i32 {
        kernel::gone(ctx.arg(0));
        0
    }

    #[kprobe]
    pub fn settime32_switch(ctx: ProbeContext) -> u32 {
        if let (Some(table), Some(write)) = (ctx.arg(0), ctx.arg(1)) {
            kernel::switches(table, write);
        }
        0
    }

    #[kretprobe]
    pub fn settime32_kprobes_switch(_ctx: RetProbeContext) -> u32 {
        kernel::kprobes_switch();
        0
    }

    #[kretprobe]
    pub fn settime32_switched(ctx: RetProbeContext) -> u32 {
        kernel::switched(ctx.ret());
        0
    }

    #[fentry(function = "proc_dointvec")]
    pub fn settime32_switch_f(ctx: FEntryContext) -> i32 {
        kernel::switches(ctx.arg(0), ctx.arg(1));
        0
    }

    #[fexit(function = "proc_sys_write")]
    pub fn settime32_switched_f(ctx: FExitContext) -> i32 {
        kernel::switched(ctx.arg(2));
        0
    }

    /// On the entry of another system call.
    #[kprobe]
    pub fn other_entry(ctx: ProbeContext) -> u32 {
        kernel::other_entered(ctx.arg(0));
        0
    }

    /// On its return.
    #[kretprobe]
    pub fn other_return(ctx: RetProbeContext) -> u32 {
        kernel::other_left(ctx.ret());
        0
    }

    /// As the shipped object has it.
    #[unsafe(link_section = "license")]
    #[unsafe(no_mangle)]
    static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

    /// Never reached, as in the shipped object.
    #[panic_handler]
    fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
        loop {}
    }
}

#[cfg(not(target_arch = "bpf"))]
fn main() {}
