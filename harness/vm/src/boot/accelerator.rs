//! KVM where a boot under it really works, else TCG. `/dev/kvm` being there says nothing: it may
//! open, create CPUs, and still not run a kernel. So the first boot on a machine tries it, and what
//! came of it is remembered.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::machine::Accelerator;
use super::options::{BootOptions, Choice};
use super::scratch::Scratch;
use super::vm::Vm;
use crate::cache;
use crate::deadline::Deadline;
use crate::failure::{BootError, HostError, VmError};
use crate::say::Say;

/// A guest under a working KVM is up within a second; a broken one may hang for ever.
const KVM_BOOT_LIMIT: Duration = Duration::from_secs(15);

const KVM_DEVICE: &str = "/dev/kvm";

/// What is known of KVM on this machine.
#[derive(Serialize, Deserialize)]
struct Memory {
    /// Host kernel, machine and QEMU that it holds for.
    machine: String,
    kvm_works: bool,
    /// Why not.
    reason: String,
}

/// The accelerator, when that is settled without a boot.
pub(crate) fn settled(options: &BootOptions) -> Option<Accelerator> {
    match options.choice {
        Choice::Tcg => Some(Accelerator::Tcg),
        Choice::Kvm => Some(Accelerator::Kvm),
        Choice::Auto if fs::File::options().read(true).write(true).open(KVM_DEVICE).is_err() => {
            Some(Accelerator::Tcg)
        }
        Choice::Auto => {
            let memory = remembered(&memory_path(), &machine_identity(&options.qemu))?;
            Some(if memory.kvm_works { Accelerator::Kvm } else { Accelerator::Tcg })
        }
    }
}

fn memory_path() -> PathBuf {
    cache::folder().join("accelerator.json")
}

/// Boots under the accelerator that the options and the machine allow.
pub(super) fn decide(
    options: &BootOptions,
    scratch: &Scratch,
    deadline: Deadline,
    say: Say,
) -> Result<Vm, VmError> {
    let limit = options.boot_timeout.min(deadline.left());
    match options.choice {
        Choice::Tcg => return boot_with(options, scratch, Accelerator::Tcg, limit),
        Choice::Kvm => return boot_with(options, scratch, Accelerator::Kvm, limit),
        Choice::Auto => {}
    }
    if let Err(error) = fs::File::options().read(true).write(true).open(KVM_DEVICE) {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            say(
                "/dev/kvm is there and may not be opened; using emulation (TCG); ask to be in its group",
            );
        }
        return boot_with(options, scratch, Accelerator::Tcg, limit);
    }
    let path = memory_path();
    let machine = machine_identity(&options.qemu);
    if remembered(&path, &machine).is_some_and(|memory| !memory.kvm_works) {
        return boot_with(options, scratch, Accelerator::Tcg, limit);
    }
    match boot_with(options, scratch, Accelerator::Kvm, limit.min(KVM_BOOT_LIMIT)) {
        Ok(vm) => {
            remember(&path, &Memory { machine, kvm_works: true, reason: String::new() })?;
            Ok(vm)
        }
        // A missing emulator is missing under TCG too, and says nothing of KVM.
        Err(VmError::Host(error @ (HostError::QemuMissing { .. } | HostError::File { .. }))) => {
            Err(error.into())
        }
        Err(failure) => {
            // Only a boot that works under TCG shows that KVM was to blame.
            let vm = boot_with(
                options,
                scratch,
                Accelerator::Tcg,
                options.boot_timeout.min(deadline.left()),
            )?;
            let reason = first_line(&failure.to_string());
            // A boot that was merely slow may have met a busy machine, and is tried again next
            // time.
            if !matches!(failure, VmError::Boot(BootError::NotReady { .. })) {
                let here = path.display();
                say(&format!(
                    "/dev/kvm is there and does not work ({reason}); using emulation (TCG) from now on; remove {here} to try again"
                ));
                remember(&path, &Memory { machine, kvm_works: false, reason })?;
            } else {
                say(&format!("/dev/kvm is there and {reason}; using emulation (TCG) this time"));
            }
            Ok(vm)
        }
    }
}

/// Boots once, from the initramfs that is in `scratch`.
fn boot_with(
    options: &BootOptions,
    scratch: &Scratch,
    accelerator: Accelerator,
    limit: Duration,
) -> Result<Vm, VmError> {
    Vm::boot_machine(&options.machine(scratch, accelerator), scratch, limit)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_string()
}

fn remembered(path: &Path, machine: &str) -> Option<Memory> {
    let memory: Memory = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    (memory.machine == machine).then_some(memory)
}

fn remember(path: &Path, memory: &Memory) -> Result<(), VmError> {
    let text = serde_json::to_vec_pretty(memory).expect("a memory is plain data");
    Ok(cache::write_whole(path, &text)?)
}

/// What a verdict on KVM depends on: the machine, its kernel, and QEMU.
fn machine_identity(qemu: &Path) -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_string();
    let version = Command::new(qemu).arg("--version").stdin(Stdio::null()).output();
    let version = version
        .map(|output| first_line(&String::from_utf8_lossy(&output.stdout)))
        .unwrap_or_default();
    format!("{} {} {version}", read("/etc/machine-id"), read("/proc/sys/kernel/osrelease"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_learnt_on_another_machine_does_not_count() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accelerator.json");
        assert!(remembered(&path, "here").is_none());
        remember(
            &path,
            &Memory { machine: "here".into(), kvm_works: false, reason: "aborts".into() },
        )
        .unwrap();
        assert!(!remembered(&path, "here").unwrap().kvm_works);
        assert!(remembered(&path, "there").is_none());
    }
}
