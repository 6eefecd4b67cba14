//! The switches of the kernel that take the effect from probes that stay attached: their state.

use std::ffi::CStr;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The switch of kprobes, in debugfs.
const KPROBES: &str = "kprobes/enabled";
/// What it switches.
const KPROBES_ARE: &str = "kprobes are";

/// One switch.
#[derive(Debug)]
struct Switch {
    /// What it switches.
    name: &'static str,
    path: PathBuf,
    file: File,
}

/// Those that matter.
#[derive(Debug)]
pub struct Switches {
    all: Vec<Switch>,
    /// Something depends on kprobes, whose switch this process cannot look at.
    pub is_kprobes_hidden: bool,
}

impl Switches {
    /// Those below `root` that programs depend on, some of which `have_kprobes`. What cannot be
    /// opened is not watched: it needs root. Programs of their own see that they are written to.
    pub fn open(root: &Path, have_kprobes: bool) -> Self {
        let kprobes = have_kprobes.then(|| {
            Switch::open(KPROBES_ARE, debugfs(root).join(KPROBES))
                .or_else(|| kprobes_unmounted(root))
        });
        let is_kprobes_hidden = matches!(kprobes, Some(None));
        let ftrace = Switch::open("ftrace is", root.join("proc/sys/kernel/ftrace_enabled"));
        let all: Vec<Switch> = kprobes.flatten().into_iter().chain(ftrace).collect();
        Self { all, is_kprobes_hidden }
    }

    /// Which is off, in words.
    pub fn off(&self) -> Option<String> {
        let off = self.all.iter().find(|switch| switch.is_off())?;
        Some(format!("{} switched off ({})", off.name, off.path.display()))
    }
}

impl Switch {
    fn open(name: &'static str, path: PathBuf) -> Option<Self> {
        let file = File::open(&path).ok()?;
        Some(Self { name, path, file })
    }

    fn is_off(&self) -> bool {
        let mut state = [0; 8];
        self.file.read_at(&mut state, 0).is_ok_and(|len| state[..len].trim_ascii() == b"0")
    }
}

/// Whether kprobes are known to be off.
pub fn are_kprobes_off(root: &Path) -> bool {
    Switches::open(root, true)
        .all
        .iter()
        .any(|switch| switch.name == KPROBES_ARE && switch.is_off())
}

/// That of kprobes, where debugfs is not mounted, or not here. There is one debugfs, whatever
/// mounts it.
fn kprobes_unmounted(root: &Path) -> Option<Switch> {
    let debugfs = detached(root, c"debugfs")?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", debugfs.as_raw_fd())).join(KPROBES);
    Some(Switch { path: Path::new("debugfs").join(KPROBES), ..Switch::open(KPROBES_ARE, path)? })
}

/// A file system's root in a mount that is nowhere and goes with its descriptor; for who may mount,
/// and not in tests.
fn detached(root: &Path, file_system: &CStr) -> Option<OwnedFd> {
    /// `FSCONFIG_CMD_CREATE` of `include/uapi/linux/mount.h`.
    const CREATE: libc::c_uint = 6;
    // `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC`.
    const CLOEXEC: libc::c_uint = 1;
    if root != Path::new("/") {
        return None;
    }
    let owned = |fd: libc::c_long| {
        let fd = RawFd::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the kernel has just given it to this process.
        Some(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: the name ends with a NUL; all else are numbers and null.
    unsafe {
        let context = owned(libc::syscall(libc::SYS_fsopen, file_system.as_ptr(), CLOEXEC))?;
        let (null, fd) = (std::ptr::null::<u8>(), context.as_raw_fd());
        if libc::syscall(libc::SYS_fsconfig, fd, CREATE, null, null, 0) != 0 {
            return None;
        }
        owned(libc::syscall(libc::SYS_fsmount, fd, CLOEXEC, 0))
    }
}

/// Where debugfs is mounted.
fn debugfs(root: &Path) -> PathBuf {
    let mounts = fs::read_to_string(root.join("proc/self/mounts")).unwrap_or_default();
    let words = |line: &str| line.split(' ').map(str::to_owned).take(3).collect::<Vec<_>>();
    let places = mounts.lines().map(words).filter_map(|words| {
        let [_, place, kind] = words.try_into().ok()?;
        (kind == "debugfs").then_some(place)
    });
    let usual = || "/sys/kernel/debug".to_owned();
    root.join(places.into_iter().next().unwrap_or_else(usual).trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["proc/sys/kernel", "proc/self", "debug/kprobes"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        fs::write(
            root.path().join("proc/self/mounts"),
            "proc /proc proc rw 0 0\ndebugfs /debug debugfs rw 0 0\n",
        )
        .unwrap();
        fs::write(root.path().join("proc/sys/kernel/ftrace_enabled"), "1\n").unwrap();
        fs::write(root.path().join("debug/kprobes/enabled"), "1\n").unwrap();
        root
    }

    #[test]
    fn a_switch_is_told_by_its_state() {
        let root = machine();
        let switches = Switches::open(root.path(), true);
        assert!(switches.off().is_none());
        let path = root.path().join("debug/kprobes/enabled");
        fs::write(&path, "0\n").unwrap();
        assert!(switches.off().unwrap().starts_with("kprobes are switched off ("));
        fs::write(&path, "1\n").unwrap();
        assert!(switches.off().is_none());
        fs::write(root.path().join("proc/sys/kernel/ftrace_enabled"), "0\n").unwrap();
        assert!(switches.off().unwrap().starts_with("ftrace is switched off ("));
    }

    #[test]
    fn fentry_alone_does_not_depend_on_kprobes() {
        let root = machine();
        fs::write(root.path().join("debug/kprobes/enabled"), "0\n").unwrap();
        assert!(Switches::open(root.path(), false).off().is_none());
        assert!(Switches::open(root.path(), true).off().is_some());
    }

    #[test]
    fn a_machine_without_switches_has_none_off() {
        let root = tempfile::tempdir().unwrap();
        let switches = Switches::open(root.path(), true);
        assert!(switches.off().is_none());
    }
}
