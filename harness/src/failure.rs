//! What can end a run before it has compared anything, each kind its own type: the machine is not
//! fit ([`InfraError`]), the guest did not come up ([`BootError`]), the guest died ([`GuestError`]),
//! or a program in it did ([`ProgramError`]). A tracer that is wrong is none of these; that is a
//! finding of the oracle.

use std::path::PathBuf;

use settime32_abi::frame::Exit;
use settime32_abi::journal::JournalError;
use settime32_rootfs::failure::{CarryError, RootfsError};
use settime32_vm::Say;
use settime32_vm::boot::Scratch;
use settime32_vm::failure::VmError;
use thiserror::Error;

use crate::verdict::Verdict;

pub use settime32_vm::failure::{BootError, GuestError, HostError};

/// QEMU, a kernel image, a program or a toolchain is missing, or the host's own files cannot be
/// used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InfraError {
    /// No guest can be made here, or a file of the host cannot be used.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The running kernel is for root to probe.
    #[error(
        "failed to use the running kernel: --here attaches probes to it and makes calls on it, which root may do; run it as root"
    )]
    NotRoot,
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
}

impl From<RootfsError> for InfraError {
    fn from(error: RootfsError) -> Self {
        match error {
            RootfsError::Carry(error) => error.into(),
            RootfsError::Host(error) => error.into(),
        }
    }
}

impl InfraError {
    /// For `map_err`: names the file and what was tried with it.
    pub fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let describe = HostError::file(action, path);
        move |source| describe(source).into()
    }
}

/// A program in the guest failed: the workload or the tracer.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ProgramError {
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
}

/// Any of the four.
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
    /// See [`ProgramError`].
    #[error(transparent)]
    Program(#[from] ProgramError),
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        Self::Infra(error.into())
    }
}

impl From<VmError> for Failure {
    fn from(error: VmError) -> Self {
        match error {
            VmError::Host(error) => error.into(),
            VmError::Boot(error) => error.into(),
            VmError::Guest(error) => error.into(),
        }
    }
}

impl Failure {
    /// The verdict of a run that ended this way.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Infra(_) => Verdict::Infrastructure,
            Self::Boot(_) => Verdict::BootFailure,
            Self::Guest(_) | Self::Program(_) => Verdict::GuestFailure,
        }
    }

    /// Keeps what the guest's console showed, where there was a guest.
    pub(crate) fn keep_consoles(&self, scratch: &Scratch, say: Say) {
        if !matches!(self, Self::Infra(_)) {
            scratch.keep_consoles(say);
        }
    }
}
