//! From a kernel image to a guest whose agent answers.
//!
//! [`options`] say what it is to be, [`machine`] is QEMU's command line, [`supervise`] its process
//! and [`monitor`] the questions to it, [`initramfs`] what the guest runs from, [`console`] reads
//! failures off the guest's console, [`vm`] is the guest when it is up, [`accelerator`] decides
//! between KVM and TCG; [`here`] does without a guest.

mod accelerator;
mod console;
mod here;
mod initramfs;
mod machine;
mod monitor;
mod options;
mod scratch;
mod supervise;
mod vm;

use std::fs;

use crate::failure::{HostError, VmError};
use crate::say::Say;

pub use crate::deadline::Deadline;
pub(crate) use accelerator::settled as settled_accelerator;
pub use console::{Symptom, triage};
pub use initramfs::{
    AGENT_PATH, Contents, GuestPrograms, bare as bare_initramfs, with_agent as agent_initramfs,
};
pub use machine::{Accelerator, Cpu, GuestTime, MEMORY_MIB, Machine, MemoryFile};
pub(crate) use monitor::MonitorError;
pub use options::{BootOptions, Choice, Start};
pub use scratch::Scratch;
pub use supervise::{Emulator, check_qemu};
pub use vm::Vm;
pub(crate) use vm::{Prepared, RestoreError};

impl Vm {
    /// Boots and waits until the agent is ready. What the guest's console shows is in `scratch`,
    /// also after a failure. `say` is told, once per machine, why KVM is not used.
    pub fn boot(
        options: &BootOptions,
        scratch: &Scratch,
        deadline: Deadline,
        say: Say,
    ) -> Result<Self, VmError> {
        let initramfs = scratch.initramfs_path();
        let contents = agent_initramfs(&options.kernel, &options.programs)?;
        fs::write(&initramfs, contents).map_err(HostError::file("write", &initramfs))?;
        let vm = accelerator::decide(options, scratch, deadline, say)?;
        // The guest has it in memory now; a process that is killed leaves next to nothing behind.
        fs::remove_file(&initramfs).map_err(HostError::file("remove", &initramfs))?;
        Ok(vm)
    }
}
