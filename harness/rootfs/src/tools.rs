//! The small tools that people and scripts expect, as far as this machine has them, and what they
//! need to know of the terminal.

use std::env;
use std::path::Path;

use crate::carried::Carried;
use crate::failure::RootfsError;
use crate::needed;

/// What programs start others by (`system(3)`), and that is there on any machine.
pub const SHELL: &str = "/bin/sh";

/// Of the packages that are on every machine, and what looks into kernels.
const TOOLS: &str = "[ awk base64 basename bash blkid cat chgrp chmod chown chroot clear cmp cp cut date dd df diff dirname \
    dmesg du echo env expr false find findmnt free getent getconf grep gzip head hexdump hostname id ip kill less ln losetup ls \
    lsblk lsmod lsns md5sum mkdir mkfifo mknod mktemp more mount mountpoint mv nice nohup nproc nsenter od pgrep pidof pivot_root \
    ping pkill printenv printf prlimit ps pwd readlink realpath rm rmdir sed seq setpriv setsid sh sha256sum sleep sort ss stat \
    strace strings stty sync sysctl tac tail taskset tee test timeout top touch tr true truncate tty umount uname uniq unshare \
    uptime vi watch wc which xargs xxd yes zcat";

/// Where terminals are described (terminfo(5)).
const TERMINFO: [&str; 3] = ["/etc/terminfo", "/lib/terminfo", "/usr/share/terminfo"];

/// Takes those that are here; one that cannot be taken, because a library is missing, is as one
/// that is not.
pub fn add(carried: &mut Carried) -> Result<(), RootfsError> {
    for tool in TOOLS.split(' ').filter_map(|name| needed::find(name).ok()) {
        match needed::add_program(carried, &tool) {
            Ok(()) | Err(RootfsError::Carry(_)) => {}
            Err(error) => return Err(error),
        }
    }
    let Ok(terminal) = env::var("TERM") else { return Ok(()) };
    let Some(first) = terminal.get(..1).filter(|_| !terminal.contains('/')) else { return Ok(()) };
    let described = TERMINFO
        .iter()
        .map(|folder| Path::new(folder).join(first).join(&terminal))
        .filter(|path| path.is_file());
    described.into_iter().try_for_each(|path| carried.add(&path))
}
