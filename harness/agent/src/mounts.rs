//! Mounts the kernel's file systems.

use std::fs::create_dir;
use std::io::ErrorKind;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};

/// One file system.
pub(crate) struct Mount {
    fstype: &'static str,
    target: &'static str,
    options: Option<&'static str>,
    /// The kernel may have been built without it.
    optional: bool,
    /// Mount points below `/sys` are the kernel's to make, and are missing together with their file
    /// system.
    make_target: bool,
}

pub(crate) const fn required(fstype: &'static str, target: &'static str) -> Mount {
    Mount { fstype, target, options: None, optional: false, make_target: true }
}

pub(crate) const fn optional(fstype: &'static str, target: &'static str) -> Mount {
    Mount { fstype, target, options: None, optional: true, make_target: false }
}

impl Mount {
    /// With mount options.
    pub(crate) const fn with(self, options: &'static str) -> Self {
        Self { options: Some(options), ..self }
    }

    /// At a mount point that is made.
    pub(crate) const fn made(self) -> Self {
        Self { make_target: true, ..self }
    }
}

/// What finding and opening the port takes.
pub(crate) const BEFORE_READY: [Mount; 2] =
    [required("sysfs", "/sys"), required("devtmpfs", "/dev")];

/// What the programs that are started expect.
pub(crate) const BEFORE_REQUESTS: [Mount; 4] = [
    required("proc", "/proc"),
    optional("debugfs", "/sys/kernel/debug"),
    optional("tracefs", "/sys/kernel/tracing"),
    optional("securityfs", "/sys/kernel/security"),
];

/// Mounts in the order given, each where it is missing.
pub(crate) fn mount_all(mounts: &[Mount]) -> Result<()> {
    mounts.iter().try_for_each(|one| {
        mount_one(one).with_context(|| format!("failed to mount {} at {}", one.fstype, one.target))
    })
}

fn mount_one(one: &Mount) -> Result<()> {
    if one.make_target {
        match create_dir(one.target) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(error).context("failed to make the folder");
            }
            _ => {}
        }
    }
    match mount(Some(one.fstype), one.target, Some(one.fstype), MsFlags::empty(), one.options) {
        // EBUSY: the kernel mounted it itself (CONFIG_DEVTMPFS_MOUNT).
        Ok(()) | Err(Errno::EBUSY) => Ok(()),
        Err(Errno::ENODEV | Errno::ENOENT) if one.optional => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
