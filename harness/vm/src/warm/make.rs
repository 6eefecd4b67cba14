//! Makes a template: a boot with the memory in a file, until the agent has answered and the guest
//! is prepared; then QEMU saves the rest.

use std::fs::{self, File};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;
use settime32_abi::frame::{Reply, Request};

use super::order::{Guest, Preparation, Unprepared};
use super::setback::Setback;
use super::store::{Record, memory_in, state_in};
use crate::boot::{Machine, MemoryFile, Vm};
use crate::failure::{BootError, HostError, VmError};

/// Room on the disk, MiB, below which a guest that died may have died of that.
const SCARCE_MIB: u64 = 16;

/// Makes the template in this folder.
pub(super) fn make<E: From<VmError>>(
    guest: &Guest,
    preparation: Option<&Preparation<E>>,
    folder: &Path,
) -> Result<Record, Setback<E>> {
    let path = guest.order.scratch.initramfs_path();
    fs::write(&path, &guest.initramfs).map_err(HostError::file("write", &path))?;
    let machine =
        Machine { memory: Some(MemoryFile::Written(memory_in(folder))), ..guest.machine.clone() };
    check_space(folder, machine.memory_mib)?;
    let limit = guest.order.options.boot_timeout.min(guest.order.deadline.left());
    let booted =
        Vm::boot_machine(&machine, guest.order.scratch, limit).and_then(|vm| settle(vm, guest));
    fs::remove_file(&path).map_err(HostError::file("remove", &path))?;
    let vm = booted.map_err(|failure| blame(failure, folder, &machine))?;
    let record = Record {
        made: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
        ..Record::default()
    };
    let Some(preparation) = preparation else {
        save(vm, guest, folder)?;
        return Ok(record);
    };
    let (vm, record) = match (preparation.prepare)(vm) {
        Ok((vm, said)) => (vm, Record { said, ..record }),
        Err(Unprepared::Refused) => {
            let memory = memory_in(folder);
            fs::remove_file(&memory).map_err(HostError::file("remove", &memory))?;
            return Ok(Record { refused: true, ..record });
        }
        Err(Unprepared::Died(_)) if is_scarce(folder) => {
            return Err(no_space(folder, machine.memory_mib));
        }
        Err(Unprepared::Died(error) | Unprepared::Failed(error)) => {
            return Err(Setback::Guest(error));
        }
    };
    save(vm, guest, folder)?;
    Ok(record)
}

fn save<E: From<VmError>>(mut vm: Vm, guest: &Guest, folder: &Path) -> Result<(), Setback<E>> {
    let path = state_in(folder);
    let state = File::create(&path).map_err(HostError::file("create", &path))?;
    vm.save_state(&state, guest.order.deadline)?;
    match vm.kernel_failure() {
        Some(failure) => Err(Setback::Guest(VmError::from(failure).into())),
        None => Ok(()),
    }
}

/// Waits until the agent serves, for which it mounts what it needs after it has said that it is
/// ready.
fn settle(mut vm: Vm, guest: &Guest) -> Result<Vm, VmError> {
    vm.send(&Request::Get { path: "/proc/uptime".into() });
    while !matches!(vm.receive(guest.order.deadline, "a template is made")?, Reply::File { .. }) {}
    Ok(vm)
}

/// QEMU is killed when it writes to memory for which the disk has no room, and then the guest is
/// not to blame.
fn blame<E: From<VmError>>(failure: VmError, folder: &Path, machine: &Machine) -> Setback<E> {
    match failure {
        VmError::Host(error) => Setback::Files(error),
        VmError::Boot(BootError::Ended { .. }) | VmError::Guest(_) if is_scarce(folder) => {
            no_space(folder, machine.memory_mib)
        }
        failure => Setback::Guest(failure.into()),
    }
}

/// Fails when the disk could get full, as then QEMU would die without a word.
fn check_space<E>(folder: &Path, needed_mib: u64) -> Result<(), Setback<E>> {
    if free_mib(folder).is_some_and(|free| free < needed_mib) {
        Err(no_space(folder, needed_mib))
    } else {
        Ok(())
    }
}

fn no_space<E>(folder: &Path, needed_mib: u64) -> Setback<E> {
    let path = folder.parent().unwrap_or(folder).into();
    Setback::NoSpace { path, free_mib: free_mib(folder).unwrap_or_default(), needed_mib }
}

/// Whether the disk is as good as full.
fn is_scarce(folder: &Path) -> bool {
    free_mib(folder).is_some_and(|free| free < SCARCE_MIB)
}

fn free_mib(folder: &Path) -> Option<u64> {
    let disk = statvfs(folder).ok()?;
    Some((disk.blocks_available() * disk.fragment_size()) >> 20)
}
