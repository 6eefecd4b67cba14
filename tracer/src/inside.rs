//! Whether a thread is inside the system call, asked of the kernel after the probes are off.

use std::fs;
use std::path::Path;

use settime32_abi::NR_TIMERFD_SETTIME32;

/// Whether a thread may still be inside. `root` is `/` but in tests.
///
/// The file begins with the number of the system call in which the thread sleeps, or says that it runs
/// (`proc_pid_syscall`, `fs/proc/base.c`); what runs may be anywhere.
pub fn may_be_inside(root: &Path, pid: u32, tid: u32) -> bool {
    is_inside_any(root, pid, tid, &[NR_TIMERFD_SETTIME32])
}

/// Whether a thread may still be inside of a system call with one of these numbers.
pub fn is_inside_any(root: &Path, pid: u32, tid: u32, numbers: &[u32]) -> bool {
    let path = root.join(format!("proc/{pid}/task/{tid}/syscall"));
    // A thread that is gone is not inside. One that may not be looked at counts so too: this is asked only where the
    // kernel says that returns were missed.
    let Ok(state) = fs::read_to_string(path) else { return false };
    let first = state.split_whitespace().next().unwrap_or_default();
    first == "running" || first.parse().is_ok_and(|number: u32| numbers.contains(&number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_inside_while_it_sleeps_in_the_call_or_runs() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/7/task/8");
        fs::create_dir_all(&folder).unwrap();
        let inside = |state: &str| {
            fs::write(folder.join("syscall"), state).unwrap();
            may_be_inside(root.path(), 7, 8)
        };
        assert!(inside("325 0x4 0x0 0xf7fe4000 0x0 0x0 0x0 0xff8 0xf7f\n"));
        assert!(inside("running\n"));
        assert!(!inside("240 0x4 0x0\n"));
        assert!(!inside("-1 0xff8 0xf7f\n"));
        assert!(!may_be_inside(root.path(), 7, 9), "the thread is gone");
    }
}
