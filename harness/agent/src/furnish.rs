//! Makes the guest a place in which programs find what they expect of a Linux machine: a root
//! folder that can be left (`pivot_root` refuses the initramfs), mounts, devices, a loopback
//! interface, control groups. Files come from the harness afterwards.

use std::fs;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::unistd::{chdir, chroot, sethostname};
use settime32_abi::frame::OWN_FOLDER;

use crate::mounts::{self, Mount, optional, required};

/// Where the new root is made.
const NEW_ROOT: &str = "/root.new";
/// Of the machine's memory; the kernel's own half would be small for programs with debug
/// information.
const ROOT_OPTIONS: &str = "mode=755,size=80%";
/// Taken along as they are, with what is mounted below them.
const MOVED: [&str; 3] = ["/dev", "/proc", "/sys"];
/// The guest's own programs, in the initramfs.
const OWN_PROGRAMS: [&str; 4] =
    ["/init", "/bin/settime32-tracer", "/bin/settime32-workload", "/bin/settime32-workload64"];
const HOSTNAME: &str = "settime32";

const MOUNTS: [Mount; 8] = [
    required("tmpfs", "/tmp").with("mode=1777"),
    required("tmpfs", "/run").with("mode=755"),
    required("tmpfs", "/dev/shm").with("mode=1777"),
    required("devpts", "/dev/pts").with("mode=620,ptmxmode=666,gid=5"),
    optional("mqueue", "/dev/mqueue").made(),
    optional("cgroup2", "/sys/fs/cgroup"),
    optional("bpf", "/sys/fs/bpf"),
    optional("hugetlbfs", "/dev/hugepages").made(),
];
/// Links that a device manager makes elsewhere.
const LINKS: [(&str, &str); 4] = [
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
];

/// Does a `Furnish`.
pub(crate) fn furnish() -> Result<()> {
    ensure!(std::process::id() == 1, "failed to furnish the guest: this machine is no guest");
    change_root().context("failed to change to a root folder that can be left")?;
    mounts::mount_all(&MOUNTS)?;
    for (link, target) in LINKS {
        symlink(target, link).with_context(|| format!("failed to make the link {link}"))?;
    }
    sethostname(HOSTNAME).context("failed to set the host's name")?;
    loopback_up().context("failed to bring the loopback interface up")?;
    delegate_controllers();
    Ok(())
}

/// As switch_root(8) does, without removing the little that the initramfs holds.
fn change_root() -> Result<()> {
    fs::create_dir(NEW_ROOT)?;
    mount(Some("tmpfs"), NEW_ROOT, Some("tmpfs"), MsFlags::empty(), Some(ROOT_OPTIONS))?;
    let inside = |path: &str| Path::new(NEW_ROOT).join(path.trim_start_matches('/'));
    fs::create_dir(inside(OWN_FOLDER))?;
    for program in OWN_PROGRAMS {
        let name = program.rsplit('/').next().unwrap_or(program);
        fs::copy(program, inside(OWN_FOLDER).join(name))
            .with_context(|| format!("failed to copy {program}"))?;
    }
    for folder in MOVED {
        fs::create_dir(inside(folder))?;
        mount(Some(folder), &inside(folder), None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    }
    chdir(NEW_ROOT)?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>)?;
    chroot(".")?;
    Ok(chdir("/")?)
}

/// netdevice(7).
fn loopback_up() -> Result<()> {
    // SAFETY: it makes a descriptor, which nothing else owns.
    let socket = Errno::result(unsafe {
        libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)
    })?;
    // SAFETY: as above.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zeros are a request without a name.
    let mut request: libc::ifreq = unsafe { mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
    // SAFETY: it reads the request.
    Errno::result(unsafe {
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request)
    })?;
    Ok(())
}

/// Lets groups below the root have every controller that there is, as an init system would. Not all
/// kernels have each.
fn delegate_controllers() {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    for controller in controllers.split_whitespace() {
        _ = fs::write("/sys/fs/cgroup/cgroup.subtree_control", format!("+{controller}"));
    }
}

/// Does a `Seal`.
pub(crate) fn seal(read_only: &[String], writable: &[String]) -> Result<()> {
    let nothing = None::<&str>;
    for folder in read_only {
        let bound =
            mount(Some(folder.as_str()), folder.as_str(), nothing, MsFlags::MS_BIND, nothing);
        let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        bound
            .and_then(|()| mount(nothing, folder.as_str(), nothing, flags, nothing))
            .with_context(|| format!("failed to let {folder} be read only"))?;
    }
    for folder in writable {
        mount(Some("tmpfs"), folder.as_str(), Some("tmpfs"), MsFlags::empty(), Some("mode=1777"))
            .with_context(|| format!("failed to let {folder} be writable"))?;
    }
    Ok(())
}
