//! Namespaces and process ids: what a container's manager does before it starts a program.

use std::fs;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::os::fd::{FromRawFd, OwnedFd};

/// `CLONE_NEWTIME` of `include/uapi/linux/sched.h`.
const NEW_TIME: i32 = 0x80;
/// The most process ids that there can be, which is systemd's default.
const PID_MAX: &str = "4194304";

/// Namespaces of a program's own, or of another process.
#[derive(Debug, Default)]
pub(super) struct Spaces {
    pub(super) pid: bool,
    pub(super) mount_proc: bool,
    pub(super) user: bool,
    /// What is added to both clocks that count from the boot, seconds.
    pub(super) time_s: Option<i64>,
    /// A process whose pid, mount and time namespaces are joined.
    pub(super) join: Option<i32>,
    /// The process id after which the next ones are given, in the namespace that this process is
    /// in.
    pub(super) last_pid: Option<u32>,
}

impl Spaces {
    /// Whether the program must be a child, to be in them.
    pub(super) fn needs_child(&self) -> bool {
        self.pid || self.time_s.is_some() || self.join.is_some() || self.last_pid.is_some()
    }

    /// Enters what this process enters itself; its children are in all of it.
    pub(super) fn enter(&self) -> Result<()> {
        self.join.map_or(Ok(()), join)?;
        if self.user {
            new_user()?;
        }
        let wanted =
            [(self.pid, CloneFlags::CLONE_NEWPID), (self.mount_proc, CloneFlags::CLONE_NEWNS)];
        let flags = wanted
            .into_iter()
            .filter(|(is_wanted, _)| *is_wanted)
            .fold(CloneFlags::empty(), |all, (_, flag)| all | flag);
        unshare(flags).context("failed to unshare namespaces")?;
        self.time_s.map_or(Ok(()), new_time)?;
        self.last_pid.map_or(Ok(()), set_last_pid)
    }

    /// In the child: its own /proc.
    pub(super) fn mount(&self) -> Result<()> {
        if !self.mount_proc {
            return Ok(());
        }
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>)
            .context("failed to make the mounts private")?;
        mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)
            .context("failed to mount /proc")
    }
}

fn join(pid: i32) -> Result<()> {
    // SAFETY: the arguments are plain numbers.
    let target = Errno::result(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })
        .with_context(|| format!("failed to open process {pid}"))?;
    // SAFETY: the descriptor was made just now.
    let target = unsafe { OwnedFd::from_raw_fd(target as i32) };
    let spaces =
        CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS | CloneFlags::from_bits_retain(NEW_TIME);
    setns(&target, spaces)
        .with_context(|| format!("failed to join the namespaces of process {pid}"))
}

/// One in which root is this root.
fn new_user() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWUSER).context("failed to unshare the user namespace")?;
    for (file, content) in [("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")] {
        fs::write(format!("/proc/self/{file}"), content)
            .with_context(|| format!("failed to write {file}"))?;
    }
    Ok(())
}

fn new_time(offset_s: i64) -> Result<()> {
    unshare(CloneFlags::from_bits_retain(NEW_TIME))
        .context("failed to unshare the time namespace")?;
    let offsets = format!("monotonic {offset_s} 0\nboottime {offset_s} 0\n");
    fs::write("/proc/self/timens_offsets", offsets).context("failed to write timens_offsets")
}

fn set_last_pid(pid: u32) -> Result<()> {
    fs::write("/proc/sys/kernel/pid_max", PID_MAX).context("failed to raise pid_max")?;
    fs::write("/proc/sys/kernel/ns_last_pid", pid.to_string())
        .context("failed to write ns_last_pid")
}
