//! Mounts the kernel's file systems; nothing else is mounted, since the whole root is an initramfs, in which files of
//! the host can be anywhere.

use std::fs::create_dir;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// One file system.
pub(crate) struct Mount {
    fstype: &'static str,
    target: &'static str,
    /// The kernel may have been built without it.
    optional: bool,
}

const fn required(fstype: &'static str, target: &'static str) -> Mount {
    Mount { fstype, target, optional: false }
}

const fn optional(fstype: &'static str, target: &'static str) -> Mount {
    Mount { fstype, target, optional: true }
}

/// What finding and opening the port takes.
pub(crate) const BEFORE_READY: [Mount; 2] = [required("sysfs", "/sys"), required("devtmpfs", "/dev")];

/// What the programs that are started expect.
pub(crate) const BEFORE_REQUESTS: [Mount; 4] = [
    required("proc", "/proc"),
    optional("debugfs", "/sys/kernel/debug"),
    optional("tracefs", "/sys/kernel/tracing"),
    optional("securityfs", "/sys/kernel/security"),
];

/// Mounts in the order given, each where it is missing.
pub(crate) fn mount_all(mounts: &[Mount]) -> Result<()> {
    mounts.iter().try_for_each(|one| mount_one(one).with_context(|| format!("failed to mount {} at {}", one.fstype, one.target)))
}

fn mount_one(one: &Mount) -> Result<()> {
    // Mount points below /sys are the kernel's to make, and are missing together with their file system.
    if !one.optional {
        match create_dir(one.target) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error).context("failed to make the folder"),
            _ => {}
        }
    }
    match mount(Some(one.fstype), one.target, Some(one.fstype), MsFlags::empty(), None::<&str>) {
        // EBUSY: the kernel mounted it itself (CONFIG_DEVTMPFS_MOUNT).
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(Errno::ENODEV | Errno::ENOENT) if one.optional => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
