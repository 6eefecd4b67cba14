//! What can end a run before it has compared anything, each kind its own type: the machine is not
//! fit ([`InfraError`]), the guest did not come up ([`BootError`]), the guest or a program in it
//! died ([`GuestError`]). A tracer that is wrong is none of these; that is a finding of the oracle.

use std::path::PathBuf;

use settime32_abi::frame::{Exit, FrameError};
use settime32_abi::journal::JournalError;
use thiserror::Error;

use crate::run::CarryError;
use crate::verdict::Verdict;

/// QEMU, a kernel image or a toolchain is missing, or the host's own files cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InfraError {
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
    /// The running kernel is for root to probe.
    #[error(
        "failed to use the running kernel: --here attaches probes to it and makes calls on it, which root may do; run it as root"
    )]
    NotRoot,
    /// The agent of `--here` ended at once.
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
    /// A guest program was not built.
    #[error("this build holds no {program}: {reason}; run ci/setup and build again")]
    Stub {
        /// The program.
        program: &'static str,
        /// Why the build left it out.
        reason: &'static str,
    },
    /// A file of a failure that was kept cannot be used.
    #[error("failed to use the regression {path}: {reason}; mend it, or take it out of its folder")]
    Regression {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The state of a fuzzing run cannot be used.
    #[error("failed to use the state {path}: {reason}; give another folder")]
    FuzzState {
        /// The file.
        path: PathBuf,
        /// Why not.
        reason: String,
    },
    /// A program of the host cannot be run in a guest.
    #[error(transparent)]
    Carry(#[from] CarryError),
    /// The kernel cannot be traced in the way that was asked for.
    #[error("this kernel cannot be traced this way: {reason}")]
    KernelCannot {
        /// In the tracer's words.
        reason: String,
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

impl InfraError {
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

/// The guest came up and then it, or a program in it, failed.
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
    /// The workload was killed or failed.
    #[error("the workload ended with {status} in plan {plan}{said}")]
    Workload {
        /// Index of the plan.
        plan: u64,
        /// How it ended.
        status: Exit,
        /// What it wrote to stderr, empty or beginning with `: `.
        said: String,
    },
    /// The workload's journal is not whole.
    #[error("the journal of plan {plan} cannot be used: {source}")]
    Journal {
        /// Index of the plan.
        plan: u64,
        /// Why.
        source: JournalError,
    },
    /// The tracer ended by itself or could not start.
    #[error("the tracer ended with {status} while {doing}{said}")]
    Tracer {
        /// How it ended.
        status: Exit,
        /// The stage.
        doing: &'static str,
        /// What it wrote to stderr, empty or beginning with `: `.
        said: String,
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
pub enum Failure {
    /// See [`InfraError`].
    #[error(transparent)]
    Infra(#[from] InfraError),
    /// See [`BootError`].
    #[error(transparent)]
    Boot(#[from] BootError),
    /// See [`GuestError`].
    #[error(transparent)]
    Guest(#[from] GuestError),
}

impl Failure {
    /// The verdict of a run that ended this way.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Infra(_) => Verdict::Infrastructure,
            Self::Boot(_) => Verdict::BootFailure,
            Self::Guest(_) => Verdict::GuestFailure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_says_what_to_do() {
        let full = || std::io::Error::from(std::io::ErrorKind::StorageFull);
        let text = InfraError::file("write", "/some/file")(full()).to_string();
        assert!(
            text.starts_with("failed to write /some/file: ") && text.contains("SETTIME32_CACHE"),
            "{text}"
        );
        let other =
            InfraError::file("read", "/some/file")(std::io::ErrorKind::NotFound.into()).to_string();
        assert!(!other.contains("SETTIME32_CACHE"), "{other}");
    }
}
