//! Whether a thread is inside the system call, asked of the kernel after the probes are off. What
//! cannot be looked at is unknown, and then the thread may be.

use std::fs;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use settime32_abi::NR_TIMERFD_SETTIME32;

/// What the initial pid namespace is called (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_NAMESPACE: &str = "pid:[4026531836]";

/// Where threads are looked up, by the ids of this process's own pid namespace.
#[derive(Clone, Copy, Debug)]
pub struct Threads<'a> {
    root: &'a Path,
    /// `/proc` is there, and has the ids of this process's own namespace.
    is_proc_ours: bool,
    /// Ids of the kernel's are those of this process's own namespace.
    pub is_initial: bool,
    exists: fn(u32) -> bool,
}

impl<'a> Threads<'a> {
    /// `root` is `/` but in tests.
    pub fn below(root: &'a Path) -> Self {
        let link = |name: &str| fs::read_link(root.join(name)).ok();
        let is_proc_ours = link("proc/self")
            .is_some_and(|own| own.as_os_str() == std::process::id().to_string().as_str());
        let is_initial =
            link("proc/self/ns/pid").is_some_and(|name| name.as_os_str() == INITIAL_NAMESPACE);
        Self { root, is_proc_ours, is_initial, exists }
    }

    /// Whether a thread may still be inside.
    pub fn may_be_inside(&self, pid: u32, tid: u32) -> bool {
        self.may_be_inside_any(pid, tid, &[NR_TIMERFD_SETTIME32])
    }

    /// Whether a thread may still be inside of a system call with one of these numbers.
    ///
    /// The file begins with the number of the system call in which the thread sleeps, or says that
    /// it runs (`proc_pid_syscall`, `fs/proc/base.c`); what runs may be anywhere. No file is no
    /// sign that the thread is gone: with `hidepid` those of others are not there, either.
    pub fn may_be_inside_any(&self, pid: u32, tid: u32, numbers: &[u32]) -> bool {
        let path = self.root.join(format!("proc/{pid}/task/{tid}/syscall"));
        let state = if self.is_proc_ours { fs::read_to_string(path).ok() } else { None };
        let Some(state) = state else { return (self.exists)(tid) };
        let first = state.split_whitespace().next().unwrap_or_default();
        first == "running" || first.parse().is_ok_and(|number: u32| numbers.contains(&number))
    }
}

/// Whether there is such a process or thread, or nobody knows, since it has no id in this process's
/// namespace.
pub fn exists(tid: u32) -> bool {
    let Ok(tid @ 1..) = i32::try_from(tid) else { return true };
    kill(Pid::from_raw(tid), None) != Err(Errno::ESRCH)
}

#[cfg(test)]
impl<'a> Threads<'a> {
    /// A `/proc` of this process's own, where `threads` are all that there are.
    pub fn fake(root: &'a Path, exists: fn(u32) -> bool) -> Self {
        _ = fs::create_dir_all(root.join("proc"));
        _ = std::os::unix::fs::symlink(std::process::id().to_string(), root.join("proc/self"));
        Self { exists, is_initial: true, ..Self::below(root) }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_thread_is_inside_while_it_sleeps_in_the_call_or_runs() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/7/task/8");
        fs::create_dir_all(&folder).unwrap();
        let inside = |state: &str| {
            fs::write(folder.join("syscall"), state).unwrap();
            Threads::fake(root.path(), |_| true).may_be_inside(7, 8)
        };
        assert!(inside("325 0x4 0x0 0xf7fe4000 0x0 0x0 0x0 0xff8 0xf7f\n"));
        assert!(inside("running\n"));
        assert!(!inside("240 0x4 0x0\n"));
        assert!(!inside("-1 0xff8 0xf7f\n"));
    }

    #[test]
    fn a_thread_that_is_not_shown_may_be_inside_until_it_is_gone() {
        let root = tempfile::tempdir().unwrap();
        assert!(
            Threads::fake(root.path(), |_| true).may_be_inside(7, 9),
            "hidden, or not to be looked at"
        );
        assert!(!Threads::fake(root.path(), |_| false).may_be_inside(7, 9), "gone");
    }

    #[test]
    fn another_namespaces_proc_tells_nothing() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("proc/7/task/8");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("syscall"), "240 0x4 0x0\n").unwrap();
        symlink("1", root.path().join("proc/self")).unwrap();
        let foreign = Threads { exists: |_| true, ..Threads::below(root.path()) };
        assert!(foreign.may_be_inside(7, 8));
    }

    #[test]
    fn this_process_exists_and_no_id_is_unknown() {
        assert!(exists(std::process::id()) && exists(0));
        assert!(!exists(i32::MAX as u32));
    }
}
