//! What a guest is to be: its kernel, its programs, its machine, and how it starts.

use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

use super::initramfs::GuestPrograms;
use super::machine::{Accelerator, Cpu, GuestTime, Machine};
use super::scratch::Scratch;
use crate::kernels::Kernel;

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Choice {
    /// KVM where it really works, else TCG.
    Auto,
    /// KVM or nothing.
    Kvm,
    /// TCG.
    Tcg,
}

/// How a guest starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// From the saved state of one that was booted before, where that can be done
    /// (`warm::start`).
    #[default]
    Warm,
    /// By a boot.
    Cold,
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Warm => "warm",
            Self::Cold => "cold",
        })
    }
}

/// How to boot.
#[derive(Clone, Debug)]
pub struct BootOptions {
    /// The kernel.
    pub kernel: Kernel,
    /// What is in the guest.
    pub programs: GuestPrograms,
    /// QEMU's program.
    pub qemu: PathBuf,
    /// KVM, TCG, or whichever works.
    pub choice: Choice,
    /// Whether a saved state may be used.
    pub start: Start,
    /// The maker of the guest's CPU.
    pub cpu: Cpu,
    /// What makes the guest's time pass.
    pub time: GuestTime,
    /// Guest memory, MiB.
    pub memory_mib: u64,
    /// Added to the guest's kernel command line.
    pub append: String,
    /// How long the agent may take.
    pub boot_timeout: Duration,
}

impl BootOptions {
    /// The machine that these describe, with its memory in QEMU and its initramfs in `scratch`.
    pub(crate) fn machine(&self, scratch: &Scratch, accelerator: Accelerator) -> Machine {
        Machine {
            qemu: self.qemu.clone(),
            accelerator,
            cpu: self.cpu,
            time: self.time,
            memory_mib: self.memory_mib,
            kernel: self.kernel.image.clone(),
            initramfs: scratch.initramfs_path(),
            append: self.append.clone(),
            console: scratch.console_path(),
            agent_port: true,
            memory: None,
        }
    }
}
