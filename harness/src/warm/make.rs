//! Makes a template: a boot with the memory in a file, until the agent has answered and the tracer
//! is attached; then QEMU saves the rest.

use std::fs::{self, File};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::statvfs::statvfs;
use settime32_abi::frame::{Reply, Request};

use super::store::{Record, memory_in, state_in};
use super::{Guest, Setback};
use crate::boot::{Machine, MemoryFile, Vm};
use crate::failure::{BootError, Failure, InfraError};
use crate::oracle::{Config, Oracle};
use crate::session::{Session, SessionOptions};

/// Room on the disk, MiB, below which a guest that died may have died of that.
const SCARCE_MIB: u64 = 16;

/// Makes the template in this folder.
pub(super) fn make(
    guest: &Guest,
    tracer: Option<&[String]>,
    folder: &Path,
) -> Result<Record, Setback> {
    let path = guest.order.scratch.initramfs_path();
    fs::write(&path, &guest.initramfs).map_err(InfraError::file("write", &path))?;
    let machine =
        Machine { memory: Some(MemoryFile::Written(memory_in(folder))), ..guest.machine.clone() };
    check_space(folder, machine.memory_mib)?;
    let limit = guest.order.options.boot_timeout.min(guest.order.deadline.left());
    let booted =
        Vm::boot_machine(&machine, guest.order.scratch, limit).and_then(|vm| settle(vm, guest));
    fs::remove_file(&path).map_err(InfraError::file("remove", &path))?;
    let vm = booted.map_err(|failure| blame(failure, folder, &machine))?;
    let record = Record {
        made: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos(),
        ..Record::default()
    };
    let (vm, record) = match tracer {
        None => (vm, record),
        Some(argv) => match attach(vm, argv, guest) {
            Ok((vm, tracer_stderr)) => (vm, Record { tracer_stderr, ..record }),
            Err(Failure::Infra(InfraError::KernelCannot { .. })) => {
                let memory = memory_in(folder);
                fs::remove_file(&memory).map_err(InfraError::file("remove", &memory))?;
                return Ok(Record { refused: true, ..record });
            }
            Err(failure) => return Err(blame(failure, folder, &machine)),
        },
    };
    save(vm, guest, folder)?;
    Ok(record)
}

fn save(mut vm: Vm, guest: &Guest, folder: &Path) -> Result<(), Setback> {
    let path = state_in(folder);
    let state = File::create(&path).map_err(InfraError::file("create", &path))?;
    vm.save_state(&state, guest.order.deadline)?;
    match vm.kernel_failure() {
        Some(failure) => Err(Setback::Boot(failure.into())),
        None => Ok(()),
    }
}

/// Waits until the agent serves, for which it mounts what it needs after it has said that it is
/// ready.
fn settle(mut vm: Vm, guest: &Guest) -> Result<Vm, Failure> {
    vm.send(&Request::Get { path: "/proc/uptime".into() });
    while !matches!(vm.receive(guest.order.deadline, "a template is made")?, Reply::File { .. }) {}
    Ok(vm)
}

/// Attaches the tracer as a session does, and gives what it said.
fn attach(vm: Vm, argv: &[String], guest: &Guest) -> Result<(Vm, String), Failure> {
    let options =
        SessionOptions { tracer: argv.to_vec(), inject: None, deadline: guest.order.deadline };
    let mut session = Session::new(vm, Oracle::new(Config::default()), options);
    session.attach()?;
    let said = session.tracer_stderr();
    Ok((session.end().0, said))
}

/// QEMU is killed when it writes to memory for which the disk has no room, and then the guest is
/// not to blame.
fn blame(failure: Failure, folder: &Path, machine: &Machine) -> Setback {
    match failure {
        Failure::Infra(error) => Setback::Files(error),
        Failure::Boot(BootError::Ended { .. }) | Failure::Guest(_)
            if free_mib(folder).is_some_and(|free| free < SCARCE_MIB) =>
        {
            no_space(folder, machine.memory_mib)
        }
        failure => Setback::Boot(failure),
    }
}

/// Fails when the disk could get full, as then QEMU would die without a word.
fn check_space(folder: &Path, needed_mib: u64) -> Result<(), Setback> {
    if free_mib(folder).is_some_and(|free| free < needed_mib) {
        Err(no_space(folder, needed_mib))
    } else {
        Ok(())
    }
}

fn no_space(folder: &Path, needed_mib: u64) -> Setback {
    let path = folder.parent().unwrap_or(folder).into();
    Setback::NoSpace { path, free_mib: free_mib(folder).unwrap_or_default(), needed_mib }
}

fn free_mib(folder: &Path) -> Option<u64> {
    let disk = statvfs(folder).ok()?;
    Some((disk.blocks_available() * disk.fragment_size()) >> 20)
}
