//! Another user, with these capabilities and no others.

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::sys::prctl::set_keepcaps;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use crate::process::{CAPABILITY_VERSION, Capabilities, checked, machine};

/// Capabilities by name (`include/uapi/linux/capability.h`).
const NAMES: [(&str, u32); 6] = [
    ("net_admin", 12),
    ("sys_ptrace", 19),
    ("sys_admin", 21),
    ("sys_resource", 24),
    ("perfmon", 38),
    ("bpf", 39),
];

/// `PR_CAP_AMBIENT` and `PR_CAP_AMBIENT_RAISE` of `include/uapi/linux/prctl.h`.
const AMBIENT: i32 = 47;
const AMBIENT_RAISE: i32 = 2;

/// What is left to a program.
#[derive(Debug, Default)]
pub(super) struct Privileges {
    pub(super) uid: Option<u32>,
    /// Names, separated by commas; those of the user, who else has none.
    pub(super) caps: Option<String>,
    /// How much memory it may lock, bytes.
    pub(super) memlock: Option<u64>,
}

impl Privileges {
    pub(super) fn take(&self) -> Result<()> {
        if let Some(bytes) = self.memlock {
            setrlimit(
                Resource::RLIMIT_MEMLOCK,
                bytes as libc::rlim_t as _,
                bytes as libc::rlim_t as _,
            )
            .context("failed to limit locked memory")?;
        }
        let Some(uid) = self.uid else { return Ok(()) };
        set_keepcaps(true).context("failed to keep capabilities")?;
        setgroups(&[]).context("failed to leave the groups")?;
        let gid = Gid::from_raw(uid);
        setresgid(gid, gid, gid).context("failed to change the group")?;
        let uid = Uid::from_raw(uid);
        setresuid(uid, uid, uid).context("failed to change the user")?;
        let numbers = self
            .caps
            .as_deref()
            .unwrap_or("")
            .split(',')
            .filter(|name| !name.is_empty())
            .map(number)
            .collect::<Result<Vec<_>>>()?;
        set_capabilities(&numbers)
    }
}

fn number(name: &str) -> Result<u32> {
    let found = NAMES.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, number)| *number)
        .with_context(|| format!("failed to find the capability {name}"))
}

/// These in every set, so that they stay when a program is executed.
fn set_capabilities(numbers: &[u32]) -> Result<()> {
    let mut words = [Capabilities::default(); 2];
    for number in numbers {
        let word = &mut words[*number as usize / 32];
        word.effective |= 1 << (number % 32);
        (word.permitted, word.inheritable) = (word.effective, word.effective);
    }
    let header = [CAPABILITY_VERSION, 0];
    // SAFETY: the call reads the header and both words.
    unsafe {
        checked(machine::number::CAPSET, [header.as_ptr() as usize, words.as_ptr() as usize, 0, 0])
    }
    .context("failed to set capabilities")?;
    for number in numbers {
        // SAFETY: the arguments are plain numbers.
        Errno::result(unsafe {
            libc::prctl(AMBIENT, AMBIENT_RAISE, *number as libc::c_ulong, 0, 0)
        })
        .context("failed to raise a capability")?;
    }
    Ok(())
}
