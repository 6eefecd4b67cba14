//! Which template belongs to a guest: a digest of all that decides what is in its memory. A
//! template whose key differs in anything is never looked at, so that none is ever stale.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::boot::{Accelerator, Machine};
use crate::cache::{self, Identity};
use crate::failure::HostError;

/// Changes when what a template consists of does.
const FORMAT: u32 = 2;

/// Stands for descriptors and paths that differ from start to start, and decide nothing.
const ANY: &str = "any";

/// The digest, hexadecimal.
pub(super) fn key(
    machine: &Machine,
    initramfs: &[u8],
    preparation: Option<&[String]>,
) -> Result<String, HostError> {
    let mut digest = Parts(Sha256::new());
    digest.add(&FORMAT.to_le_bytes());
    digest.add(cache::file_sha256(&machine.kernel)?.as_bytes());
    digest.add(cache::sha256(initramfs).as_bytes());
    let qemu = found(&machine.qemu);
    let identity = Identity::of(&qemu).map_err(HostError::file("read", &qemu))?;
    digest.add(format!("{identity:?}").as_bytes());
    for argument in arguments(machine) {
        digest.add(argument.as_encoded_bytes());
    }
    digest.add(processor(machine.accelerator).as_bytes());
    for word in preparation.unwrap_or_default() {
        digest.add(word.as_bytes());
    }
    Ok(digest.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// QEMU's arguments without what is of one start alone. The kernel and the initramfs count by their
/// content.
fn arguments(machine: &Machine) -> Vec<OsString> {
    let neutral = Machine {
        kernel: ANY.into(),
        initramfs: ANY.into(),
        console: ANY.into(),
        memory: None,
        ..machine.clone()
    };
    neutral.arguments(Some(0), 0)
}

/// The program that the name stands for, as the system looks for it.
fn found(program: &Path) -> PathBuf {
    if program.components().count() > 1 {
        return program.into();
    }
    let folders = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&folders)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
        .unwrap_or_else(|| program.into())
}

/// The host's own processor, where the guest has it: a guest that goes on must not miss what it has
/// seen.
fn processor(accelerator: Accelerator) -> String {
    if accelerator == Accelerator::Tcg {
        return String::new();
    }
    let decides = |line: &&str| {
        ["model name", "stepping", "microcode", "flags"].iter().any(|name| line.starts_with(name))
    };
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let first =
        text.split("\n\n").next().unwrap_or_default().lines().filter(decides).collect::<String>();
    first + &fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default()
}

/// Parts, each with its length in front, so that no two lists of parts read alike.
struct Parts(Sha256);

impl Parts {
    fn add(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_le_bytes());
        self.0.update(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot::{Cpu, GuestTime};

    fn machine(folder: &Path) -> Machine {
        Machine {
            qemu: folder.join("qemu"),
            accelerator: Accelerator::Tcg,
            cpu: Cpu::Any,
            kernel: folder.join("vmlinuz"),
            initramfs: folder.join("initramfs"),
            append: String::new(),
            console: folder.join("console"),
            agent_port: true,
            time: GuestTime::Host,
            memory: None,
            memory_mib: 512,
        }
    }

    #[test]
    fn whatever_decides_what_is_in_memory_changes_the_key() {
        let folder = tempfile::tempdir().unwrap();
        let machine = machine(folder.path());
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("qemu", "one");
        write("vmlinuz", "kernel");
        let words = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let mut keys = vec![
            key(&machine, b"a", None).unwrap(),
            key(&machine, b"b", None).unwrap(),
            key(&machine, b"a", Some(&words(&["prepare"]))).unwrap(),
            key(&machine, b"a", Some(&words(&["prepare", "-a"]))).unwrap(),
            key(&machine, b"a", Some(&words(&["prepare-a"]))).unwrap(),
            key(&Machine { cpu: Cpu::Intel, ..machine.clone() }, b"a", None).unwrap(),
            key(&Machine { append: "nosmp".into(), ..machine.clone() }, b"a", None).unwrap(),
            key(&Machine { accelerator: Accelerator::Kvm, ..machine.clone() }, b"a", None).unwrap(),
        ];
        write("vmlinuz", "another");
        keys.push(key(&machine, b"a", None).unwrap());
        write("qemu", "two");
        keys.push(key(&machine, b"a", None).unwrap());
        assert_eq!(
            keys.iter().collect::<std::collections::BTreeSet<_>>().len(),
            keys.len(),
            "{keys:?}"
        );
    }

    #[test]
    fn where_a_start_keeps_its_files_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let one = machine(folder.path());
        fs::write(&one.qemu, "").unwrap();
        fs::write(&one.kernel, "").unwrap();
        let other = Machine {
            console: "/elsewhere/console".into(),
            initramfs: "/elsewhere/initramfs".into(),
            ..one.clone()
        };
        assert_eq!(key(&one, b"", None).unwrap(), key(&other, b"", None).unwrap());
    }
}
