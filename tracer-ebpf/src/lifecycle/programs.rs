//! The programs, each once for either way to attach: `…` by kprobe, `…_f` by fentry or fexit.

use aya_ebpf::macros::{fentry, fexit, kprobe, kretprobe, raw_tracepoint};
use aya_ebpf::programs::{
    FEntryContext, FExitContext, ProbeContext, RawTracePointContext, RetProbeContext,
};
use settime32_abi::moment::Call;

use super::{calls, inside, moments, waits};

/// A program before a function, given some of its arguments.
macro_rules! before {
    ($(#[$about:meta])* $by_kprobe:ident, $by_fentry:ident, ($($argument:ident: $index:literal as $type:ty),*), $does:expr) => {
        $(#[$about])*
        #[kprobe]
        pub fn $by_kprobe(_ctx: ProbeContext) -> u32 {
            $(let Some($argument) = _ctx.arg::<$type>($index) else { return 0 };)*
            $does;
            0
        }

        $(#[$about])*
        #[fentry]
        pub fn $by_fentry(_ctx: FEntryContext) -> i32 {
            $(let $argument: $type = _ctx.arg::<$type>($index);)*
            $does;
            0
        }
    };
}

/// A program after a function of so many arguments, given its result.
macro_rules! after {
    ($(#[$about:meta])* $by_kprobe:ident, $by_fexit:ident, $arguments:literal, ($ret:ident: $type:ty), $does:expr) => {
        $(#[$about])*
        #[kretprobe]
        pub fn $by_kprobe(ctx: RetProbeContext) -> u32 {
            let $ret: $type = ctx.ret();
            $does;
            0
        }

        $(#[$about])*
        #[fexit]
        pub fn $by_fexit(ctx: FExitContext) -> i32 {
            // The result lies behind the arguments.
            let $ret: $type = ctx.arg($arguments);
            $does;
            0
        }
    };
}

/// A program before and one after a system call's wrapper.
macro_rules! wrapper {
    ($call:ident, $before:ident, $before_f:ident, $after:ident, $after_f:ident) => {
        before!($before, $before_f, (pt_regs: 0 as usize), calls::enter(Call::$call, Some(pt_regs)));
        after!($after, $after_f, 1, (ret: i64), calls::leave(ret));
    };
}

wrapper!(CreateX64, life_create_x64, life_create_x64_f, life_create_x64_out, life_create_x64_out_f);
wrapper!(
    CreateI386,
    life_create_i386,
    life_create_i386_f,
    life_create_i386_out,
    life_create_i386_out_f
);
wrapper!(
    SettimeX64,
    life_settime_x64,
    life_settime_x64_f,
    life_settime_x64_out,
    life_settime_x64_out_f
);
wrapper!(
    SettimeI386,
    life_settime_i386,
    life_settime_i386_f,
    life_settime_i386_out,
    life_settime_i386_out_f
);
wrapper!(
    GettimeX64,
    life_gettime_x64,
    life_gettime_x64_f,
    life_gettime_x64_out,
    life_gettime_x64_out_f
);
wrapper!(
    GettimeI386,
    life_gettime_i386,
    life_gettime_i386_f,
    life_gettime_i386_out,
    life_gettime_i386_out_f
);
wrapper!(Gettime32, life_gettime32, life_gettime32_f, life_gettime32_out, life_gettime32_out_f);
wrapper!(
    PosixSettime32,
    life_posix_settime32,
    life_posix_settime32_f,
    life_posix_settime32_out,
    life_posix_settime32_out_f
);
wrapper!(
    PosixGettime32,
    life_posix_gettime32,
    life_posix_gettime32_f,
    life_posix_gettime32_out,
    life_posix_gettime32_out_f
);

before!(life_do_settime, life_do_settime_f, (ufd: 0 as i32, new: 2 as usize, old: 3 as usize), calls::settime_enters(ufd, new, old));
after!(life_do_settime_out, life_do_settime_out_f, 4, (ret: i32), calls::settime_returns(ret));
before!(life_do_gettime, life_do_gettime_f, (ufd: 0 as i32, t: 1 as usize), calls::gettime_enters(ufd, t));
after!(life_do_gettime_out, life_do_gettime_out_f, 2, (ret: i32), calls::gettime_returns(ret));
before!(
    /// On `anon_inode_getfd(name, fops, priv, flags)` and its like.
    life_make_fd, life_make_fd_f, (name: 0 as usize, operations: 1 as u64, private: 2 as u64), calls::makes(name, operations, private)
);
before!(
    /// On `anon_inode_getfile`.
    life_make_file, life_make_file_f, (name: 0 as usize, operations: 1 as u64, private: 2 as u64), calls::makes(name, operations, private)
);
before!(
    /// On `anon_inode_getfile_fmode`.
    life_make_file_fmode, life_make_file_fmode_f, (name: 0 as usize, operations: 1 as u64, private: 2 as u64), calls::makes(name, operations, private)
);
before!(life_get_old, life_get_old_f, (its: 0 as usize), calls::get_old_enters(its));
after!(life_get_old_out, life_get_old_out_f, 2, (ret: i32), calls::get_old_returns(ret));
before!(life_put_old, life_put_old_f, (its: 0 as usize), calls::put_old(its));

/// On `timerfd_tmrproc`. In interrupts there is no kprobe to do the same, since it would be passed
/// over where the CPU was in another.
#[fentry]
pub fn life_handler_f(ctx: FEntryContext) -> i32 {
    moments::handler(ctx.arg(0));
    0
}

/// On `timerfd_alarmproc`.
#[fentry]
pub fn life_alarm_handler_f(ctx: FEntryContext) -> i32 {
    moments::handler(ctx.arg(0));
    0
}

before!(
    /// On `__wake_up_locked_key`.
    life_wake, life_wake_f, (wq_head: 0 as u64), moments::wakes(wq_head)
);
before!(life_clock_was_set, life_clock_was_set_f, (), moments::clock_was_set_enters());
after!(life_clock_was_set_out, life_clock_was_set_out_f, 0, (_ret: i32), moments::clock_was_set_returns());
before!(life_ioctl, life_ioctl_f, (file: 0 as u64, command: 1 as u32), moments::ioctl_enters(file, command));
after!(life_ioctl_out, life_ioctl_out_f, 3, (ret: i64), moments::ioctl_returns(ret));
before!(life_release, life_release_f, (file: 1 as u64), moments::release_enters(file));
after!(life_release_out, life_release_out_f, 2, (_ret: i32), moments::release_returns());

before!(life_read, life_read_f, (file: 0 as u64, buffer: 1 as u64), waits::read_enters(file, buffer));
before!(life_read_iter, life_read_iter_f, (iocb: 0 as usize, to: 1 as usize), waits::read_iter_enters(iocb, to));

/// On the return of either.
#[kretprobe]
pub fn life_read_out(ctx: RetProbeContext) -> u32 {
    waits::read_returns(ctx.ret());
    0
}

/// On the return of `timerfd_read(file, buf, count, ppos)`.
#[fexit]
pub fn life_read_out_f(ctx: FExitContext) -> i32 {
    waits::read_returns_of(ctx.arg(0), ctx.arg(1), ctx.arg(4));
    0
}

/// On the return of `timerfd_read_iter(iocb, to)`.
#[fexit]
pub fn life_read_iter_out_f(ctx: FExitContext) -> i32 {
    waits::read_iter_returns_of(ctx.arg(0), ctx.arg(2));
    0
}

/// On `timerfd_poll`.
#[kprobe]
pub fn life_poll(ctx: ProbeContext) -> u32 {
    let (Some(file), Some(wait)) = (ctx.arg(0), ctx.arg(1)) else { return 0 };
    waits::poll_enters(file, wait);
    0
}

/// On its return.
#[kretprobe]
pub fn life_poll_out(ctx: RetProbeContext) -> u32 {
    waits::poll_returns(ctx.ret());
    0
}

/// Instead of both, since all that it takes is known then.
#[fexit]
pub fn life_poll_out_f(ctx: FExitContext) -> i32 {
    waits::poll_returns_of(ctx.arg(0), ctx.arg(1), ctx.arg(2));
    0
}

/// On `sched_process_exit`.
#[raw_tracepoint(tracepoint = "sched_process_exit")]
pub fn life_exit(_ctx: RawTracePointContext) -> i32 {
    calls::report_lost_result();
    inside::thread_exits();
    0
}
