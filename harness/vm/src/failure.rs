//! Why there is no guest, or none any more, each kind its own type: the machine is not fit
//! ([`HostError`]), the guest did not come up ([`BootError`]), it failed afterwards
//! ([`GuestError`]). What a program in the guest does is none of these.

use std::path::PathBuf;

use settime32_abi::frame::FrameError;
use thiserror::Error;

/// QEMU or a kernel image is missing, or the host's own files cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum HostError {
    /// No emulator.
    #[error(
        "failed to find {program} on the PATH; run ci/setup, or `apt-get install qemu-system-x86`, or name it with --qemu"
    )]
    QemuMissing {
        /// What was looked for.
        program: PathBuf,
    },
    /// The emulator is there and does not start.
    #[error("failed to start {program}: {source}")]
    QemuStart {
        /// The emulator.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The emulator refused its command line or its machine.
    #[error("{program} ended before the guest ran ({status}): {stderr}")]
    QemuRefused {
        /// The emulator.
        program: PathBuf,
        /// How it ended.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// The agent that is a process of this machine ended at once.
    #[error("the agent ended before it was ready ({status}): {stderr}")]
    AgentEnded {
        /// How.
        status: String,
        /// What it said.
        stderr: String,
    },
    /// A kernel given by path is not there or is no kernel image.
    #[error(
        "failed to use the kernel image {path}: {reason}; give the path of a bzImage, or a name that `cargo harness kernels` lists"
    )]
    KernelImage {
        /// The path.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A kernel could not be fetched from the package mirror.
    #[error("failed to fetch kernel {name}: {reason}")]
    KernelFetch {
        /// The kernel's name in `ci/kernels.toml`.
        name: String,
        /// What went wrong and what to do.
        reason: String,
    },
    /// A fetched file is not what its checksum says.
    #[error("{path} is damaged: its SHA-256 is {found}, expected {expected}")]
    Checksum {
        /// The file.
        path: PathBuf,
        /// Recorded digest, hexadecimal.
        expected: String,
        /// Digest of what is there.
        found: String,
    },
    /// A file of the host could not be read or written.
    #[error("failed to {action} {path}: {source}{hint}", hint = disk_full_hint(source))]
    File {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

fn disk_full_hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::StorageFull => {
            "; the disk is full: free some space, or set SETTIME32_CACHE and TMPDIR to another disk"
        }
        _ => "",
    }
}

impl HostError {
    /// For `map_err`: names the file and what was tried with it.
    pub fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

/// The guest did not come up, or stopped answering.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BootError {
    /// The agent did not report within the time.
    #[error(
        "the guest's agent was not ready after {seconds:.1} s; see the console that was kept, or give a longer --timeout"
    )]
    NotReady {
        /// The limit.
        seconds: f64,
    },
    /// The console shows why.
    #[error("the guest failed to boot{symptom}")]
    Failed {
        /// What the console showed, beginning with `: `.
        symptom: String,
    },
    /// The emulator ended during boot, and the console shows no reason.
    #[error(
        "QEMU ended during boot ({status}), and the console shows no reason; the kernel may lack virtio_pci or virtio_console"
    )]
    Ended {
        /// How it ended.
        status: String,
    },
    /// The virtual machine monitor stopped the guest (KVM's internal error).
    #[error("the guest was stopped by QEMU: {state}")]
    Stopped {
        /// QMP's run state.
        state: String,
    },
    /// The agent in the guest speaks another protocol, so it is from another build.
    #[error("the guest's agent speaks protocol {found}, this harness {expected}")]
    Protocol {
        /// Ours.
        expected: u32,
        /// The agent's.
        found: u32,
    },
    /// The run's deadline passed while the guest was silent.
    #[error(
        "the guest hangs: no answer within the time limit of {seconds} s, while {doing}; see the console that was kept, or give a longer --timeout"
    )]
    Hang {
        /// The limit (`--timeout`).
        seconds: u64,
        /// The stage.
        doing: &'static str,
    },
}

/// The guest came up and then it failed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GuestError {
    /// Panic, oops, lockup: read off the console.
    #[error("guest kernel failed, {symptom}: {line}")]
    Kernel {
        /// Name of the symptom.
        symptom: &'static str,
        /// The console's line.
        line: String,
    },
    /// The connection ended and the console shows no reason.
    #[error("lost the connection to the guest's agent ({status}), and the console shows no reason")]
    Lost {
        /// How QEMU ended, when it did.
        status: String,
    },
    /// The agent refused a request.
    #[error("the guest's agent failed: {reason}")]
    Agent {
        /// In its words.
        reason: String,
    },
    /// The agent's bytes are no frames.
    #[error("the guest's agent sent what is no frame: {source}")]
    Frame {
        /// Why.
        source: FrameError,
    },
}

/// Any of the three.
#[derive(Debug, Error)]
pub enum VmError {
    /// See [`HostError`].
    #[error(transparent)]
    Host(#[from] HostError),
    /// See [`BootError`].
    #[error(transparent)]
    Boot(#[from] BootError),
    /// See [`GuestError`].
    #[error(transparent)]
    Guest(#[from] GuestError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let text = HostError::file("write", "/some/file")(full()).to_string();
        assert!(
            text.starts_with("failed to write /some/file: ") && text.contains("SETTIME32_CACHE"),
            "{text}"
        );
        let other =
            HostError::file("read", "/some/file")(std::io::ErrorKind::NotFound.into()).to_string();
        assert!(!other.contains("SETTIME32_CACHE"), "{other}");
    }
}
