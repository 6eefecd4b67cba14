//! Which programs go where for which events, in either way to attach.

use settime32_abi::hook::{DO_SETTIME, PUT_OLD};
use settime32_abi::lifecycle::Kind;

use crate::attach::Mode;

/// Sees threads exit, and where.
pub const EXIT_PROGRAM: (&str, &str) = ("life_exit", "sched_process_exit");

/// A program and the function that it goes to.
#[derive(Clone, Copy)]
struct Hook {
    /// Its name when calls are hooked by kprobe.
    kprobe: &'static str,
    /// When they are hooked by fentry; empty where that takes none.
    fentry: &'static str,
    /// When they are, and kprobes cannot be had.
    fentry_alone: &'static str,
    function: &'static str,
}

macro_rules! hook {
    ($program:literal, $function:expr) => {
        Hook {
            kprobe: $program,
            fentry: concat!($program, "_f"),
            fentry_alone: concat!($program, "_f"),
            function: $function,
        }
    };
}

/// What runs in interrupts is hooked by fentry in either way: of a kprobe, the kernel passes the
/// program over while the interrupted CPU is inside another one (`trace_call_bpf`,
/// `kernel/trace/bpf_trace.c`), and does not say so. These do not sleep, and nothing is hooked
/// after them, so that it is safe before 5.12, too.
macro_rules! interrupt {
    ($program:literal, $function:expr) => {
        Hook { kprobe: $program, fentry: $program, fentry_alone: $program, function: $function }
    };
}

/// What many calls come to that are none of a timer's is hooked by kprobe in either way, where
/// there are kprobes: kernels that preempt would pass some of them over by fentry.
macro_rules! of_all {
    ($program:literal, $function:expr) => {
        Hook {
            kprobe: $program,
            fentry: $program,
            fentry_alone: concat!($program, "_f"),
            function: $function,
        }
    };
}

/// Programs of that kind of which it is no loss by itself that the kernel passed one over, since
/// most were of other calls: one that was needed is missed as its call returns.
const OF_OTHERS: [&str; 5] =
    ["life_make_fd", "life_make_file", "life_make_file_fmode", "life_get_old", "life_put_old"];

/// Whether a program is one of them.
pub fn is_of_others(program: &str) -> bool {
    OF_OTHERS.contains(&program.strip_suffix("_f").unwrap_or(program))
}

/// Where interrupts are threads (`PREEMPT_RT`), they are preempted as all threads are, and a kprobe
/// is in none of them.
const WAKE: Hook = interrupt!("life_wake_f", "__wake_up_locked_key");
const WAKE_BY_THREADS: Hook = of_all!("life_wake", "__wake_up_locked_key");

/// What leads from a descriptor to a timer.
const BY_DESCRIPTOR: [Hook; 2] =
    [hook!("life_do_settime_out", DO_SETTIME), hook!("life_do_settime", DO_SETTIME)];
/// The end of a timer, after which its address may be another's.
const RELEASE: [Hook; 2] =
    [hook!("life_release_out", "timerfd_release"), hook!("life_release", "timerfd_release")];
/// Its begin: every one is a new one, whatever was seen of the end of the one before at its
/// address.
const MAKE: [Hook; 2] =
    [of_all!("life_make_fd", "anon_inode_getfd"), of_all!("life_make_file", "anon_inode_getfile")];
const MAKE_BY_MODE: Hook = of_all!("life_make_file_fmode", "anon_inode_getfile_fmode");

/// In what kernels differ.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ways {
    /// They read timers by `timerfd_read_iter`.
    pub reads_by_iterator: bool,
    /// They let a program set a timer's ticks.
    pub sets_ticks: bool,
    /// They have another function to make a timer's file.
    pub makes_files_by_mode: bool,
    /// Their timers expire in threads.
    pub interrupts_are_threads: bool,
    /// Kprobes can be had.
    pub has_kprobes: bool,
}

/// What is to be attached for these kinds, in this order: what sees the end of something before
/// what sees its begin.
pub fn hooks(kinds: &[Kind], mode: Mode, kernel: Ways) -> Vec<(&'static str, &'static str)> {
    let mut hooks: Vec<Hook> = MAKE.to_vec();
    hooks.extend(kernel.makes_files_by_mode.then_some(MAKE_BY_MODE));
    hooks.extend(RELEASE);
    hooks.extend(BY_DESCRIPTOR);
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        hooks.extend_from_slice(of(kind));
    }
    if kinds.contains(&Kind::Expiry) {
        // After the handlers, and off before them: what wakes without a handler would be taken for
        // a call that fires by itself.
        hooks.push(if kernel.interrupts_are_threads { WAKE_BY_THREADS } else { WAKE });
        hooks.extend_from_slice(if kernel.sets_ticks { &SET_TICKS } else { &[] });
    }
    if kinds.contains(&Kind::Wakeup) || kinds.contains(&Kind::Expiry) {
        hooks.extend(if kernel.reads_by_iterator { READ_BY_ITERATOR } else { READ });
        hooks.extend(POLL);
    }
    let mut chosen: Vec<(&str, &str)> = Vec::new();
    for hook in hooks {
        let program = match mode {
            Mode::Kprobe => hook.kprobe,
            Mode::Fentry if kernel.has_kprobes => hook.fentry,
            Mode::Fentry => hook.fentry_alone,
        };
        let hook = (program, hook.function);
        if !hook.0.is_empty() && !chosen.contains(&hook) {
            chosen.push(hook);
        }
    }
    chosen
}

const READ: [Hook; 2] =
    [hook!("life_read_out", "timerfd_read"), hook!("life_read", "timerfd_read")];
const READ_BY_ITERATOR: [Hook; 2] = [
    Hook {
        kprobe: "life_read_out",
        fentry: "life_read_iter_out_f",
        fentry_alone: "life_read_iter_out_f",
        function: "timerfd_read_iter",
    },
    hook!("life_read_iter", "timerfd_read_iter"),
];
/// By fexit one sees both what a poll was asked and what it answered.
const POLL: [Hook; 2] = [
    hook!("life_poll_out", "timerfd_poll"),
    Hook { kprobe: "life_poll", fentry: "", fentry_alone: "", function: "timerfd_poll" },
];
const SET_TICKS: [Hook; 2] =
    [hook!("life_ioctl_out", "timerfd_ioctl"), hook!("life_ioctl", "timerfd_ioctl")];

const fn of(kind: Kind) -> &'static [Hook] {
    match kind {
        Kind::TimerfdCreate => &[
            hook!("life_create_x64_out", "__x64_sys_timerfd_create"),
            hook!("life_create_x64", "__x64_sys_timerfd_create"),
            hook!("life_create_i386_out", "__ia32_sys_timerfd_create"),
            hook!("life_create_i386", "__ia32_sys_timerfd_create"),
        ],
        Kind::TimerfdGettime32 => &[
            hook!("life_do_gettime_out", "do_timerfd_gettime"),
            hook!("life_do_gettime", "do_timerfd_gettime"),
            hook!("life_gettime32_out", "__ia32_sys_timerfd_gettime32"),
            hook!("life_gettime32", "__ia32_sys_timerfd_gettime32"),
        ],
        Kind::TimerfdSettime => &[
            hook!("life_settime_x64_out", "__x64_sys_timerfd_settime"),
            hook!("life_settime_x64", "__x64_sys_timerfd_settime"),
            hook!("life_settime_i386_out", "__ia32_sys_timerfd_settime"),
            hook!("life_settime_i386", "__ia32_sys_timerfd_settime"),
        ],
        Kind::TimerfdGettime => &[
            hook!("life_do_gettime_out", "do_timerfd_gettime"),
            hook!("life_do_gettime", "do_timerfd_gettime"),
            hook!("life_gettime_x64_out", "__x64_sys_timerfd_gettime"),
            hook!("life_gettime_x64", "__x64_sys_timerfd_gettime"),
            hook!("life_gettime_i386_out", "__ia32_sys_timerfd_gettime"),
            hook!("life_gettime_i386", "__ia32_sys_timerfd_gettime"),
        ],
        Kind::TimerSettime32 => &[
            of_all!("life_get_old_out", "get_old_itimerspec32"),
            of_all!("life_get_old", "get_old_itimerspec32"),
            of_all!("life_put_old", PUT_OLD),
            hook!("life_posix_settime32_out", "__ia32_sys_timer_settime32"),
            hook!("life_posix_settime32", "__ia32_sys_timer_settime32"),
        ],
        Kind::TimerGettime32 => &[
            of_all!("life_put_old", PUT_OLD),
            hook!("life_posix_gettime32_out", "__ia32_sys_timer_gettime32"),
            hook!("life_posix_gettime32", "__ia32_sys_timer_gettime32"),
        ],
        Kind::Expiry => &[
            hook!("life_clock_was_set_out", "timerfd_clock_was_set"),
            hook!("life_clock_was_set", "timerfd_clock_was_set"),
            interrupt!("life_alarm_handler_f", "timerfd_alarmproc"),
            interrupt!("life_handler_f", "timerfd_tmrproc"),
            // A call may fire a timer itself, and is known by being inside of one of these.
            hook!("life_do_gettime_out", "do_timerfd_gettime"),
            hook!("life_do_gettime", "do_timerfd_gettime"),
        ],
        Kind::Wakeup | Kind::Release => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_attached_twice_and_ends_come_before_begins() {
        for mode in [Mode::Kprobe, Mode::Fentry] {
            let hooks =
                hooks(&Kind::ALL, mode, Ways { reads_by_iterator: true, ..Ways::default() });
            for (at, (program, function)) in hooks.iter().enumerate() {
                assert!(!hooks[at + 1..].contains(&(program, function)), "{program}");
                let begins = hooks[..at].iter().filter(|(other, of)| {
                    program.contains("_out") && of == function && !other.contains("_out")
                });
                assert_eq!(begins.count(), 0, "{program} is after what sees the begin");
            }
        }
    }

    #[test]
    fn the_kernels_way_to_read_is_hooked() {
        let read = |has: bool| {
            hooks(&[Kind::Wakeup], Mode::Kprobe, Ways { reads_by_iterator: has, ..Ways::default() })
        };
        assert!(read(true).contains(&("life_read_iter", "timerfd_read_iter")));
        assert!(read(false).contains(&("life_read", "timerfd_read")));
    }

    #[test]
    fn what_others_come_to_is_hooked_by_kprobe_where_there_are_kprobes() {
        for mode in [Mode::Kprobe, Mode::Fentry] {
            let hooks = hooks(
                &Kind::ALL,
                mode,
                Ways { makes_files_by_mode: true, has_kprobes: true, ..Ways::default() },
            );
            assert!(
                OF_OTHERS.iter().all(|name| hooks.iter().any(|(program, _)| program == name)),
                "{mode}"
            );
        }
        let alone = hooks(
            &Kind::ALL,
            Mode::Fentry,
            Ways { makes_files_by_mode: true, interrupts_are_threads: true, ..Ways::default() },
        );
        assert!(alone.iter().all(|(program, _)| program.ends_with("_f")), "{alone:?}");
        assert_eq!(
            alone.iter().filter(|(program, _)| is_of_others(program)).count(),
            OF_OTHERS.len()
        );
    }

    #[test]
    fn expiries_are_woken_in_one_way() {
        for interrupts_are_threads in [false, true] {
            let hooks = hooks(
                &[Kind::Expiry],
                Mode::Fentry,
                Ways { interrupts_are_threads, has_kprobes: true, ..Ways::default() },
            );
            let programs: Vec<&str> = hooks
                .iter()
                .filter(|(_, function)| *function == "__wake_up_locked_key")
                .map(|(name, _)| *name)
                .collect();
            assert_eq!(
                programs,
                [if interrupts_are_threads { "life_wake" } else { "life_wake_f" }]
            );
        }
    }
}
