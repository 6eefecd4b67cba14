//! QEMU's command line. Nothing here runs anything.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use settime32_abi::frame::PORT_NAME;

/// Guest memory where no other is asked for, MiB.
pub const MEMORY_MIB: u64 = 512;
/// Guest CPUs.
const CPUS: u32 = 2;

/// What runs the guest's instructions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Accelerator {
    /// Hardware virtualisation.
    Kvm,
    /// QEMU's emulation.
    Tcg,
}

impl std::fmt::Display for Accelerator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Kvm => "kvm",
            Self::Tcg => "tcg",
        })
    }
}

/// Who made the guest's CPU: it decides how the vDSO enters the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum Cpu {
    /// As QEMU has it.
    #[default]
    Any,
    /// AuthenticAMD: `syscall`.
    Amd,
    /// GenuineIntel: `sysenter`.
    Intel,
}

impl Cpu {
    /// What is added to QEMU's CPU model.
    const fn vendor(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Amd => ",vendor=AuthenticAMD",
            Self::Intel => ",vendor=GenuineIntel",
        }
    }
}

/// What makes the guest's time pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuestTime {
    /// The host's time.
    #[default]
    Host,
    /// The guest's instructions, a nanosecond each, on one CPU; a guest that sleeps is woken at
    /// once. Only TCG can count.
    Instructions,
}

/// A virtual machine to start.
#[derive(Clone, Debug)]
pub struct Machine {
    /// QEMU's program.
    pub qemu: PathBuf,
    /// KVM or TCG.
    pub accelerator: Accelerator,
    /// The CPU's maker.
    pub cpu: Cpu,
    /// What makes its time pass.
    pub time: GuestTime,
    /// bzImage.
    pub kernel: PathBuf,
    /// cpio archive.
    pub initramfs: PathBuf,
    /// Added to the kernel's command line.
    pub append: String,
    /// File that keeps the serial console.
    pub console: PathBuf,
    /// Guest memory, MiB.
    pub memory_mib: u64,
    /// Whether there is a virtio-serial port for the agent.
    pub agent_port: bool,
    /// The file that the guest's memory is in, unless it is QEMU's own.
    pub memory: Option<MemoryFile>,
}

/// Guest memory in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemoryFile {
    /// The guest boots, and what it writes to its memory goes to the file.
    Written(PathBuf),
    /// The guest goes on from this memory and a state that QEMU is given later; what it writes is
    /// its own.
    Copied(PathBuf),
}

impl Machine {
    /// QEMU's arguments. `agent` and `monitor` are descriptors of connected sockets that QEMU
    /// inherits.
    pub fn arguments(&self, agent: Option<RawFd>, monitor: RawFd) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = Vec::new();
        let mut add = |parts: &[&str]| arguments.extend(parts.iter().map(OsString::from));
        let vendor = self.cpu.vendor();
        match self.accelerator {
            Accelerator::Kvm => add(&["-accel", "kvm", "-cpu", &format!("host{vendor}")]),
            // One thread for all CPUs: QEMU's multi-threaded TCG loses races with the guest kernel
            // patching its own code, which attaching a probe does. Without erms and fsrm the guest
            // copies in unrolled loops; TCG does `rep movsb` byte by byte.
            Accelerator::Tcg => {
                add(&["-accel", "tcg,thread=single", "-cpu", &format!("max,-erms,-fsrm{vendor}")])
            }
        }
        let cpus = match self.time {
            GuestTime::Host => CPUS,
            GuestTime::Instructions => {
                add(&["-icount", "shift=0,sleep=off"]);
                1
            }
        };
        let kind = if self.memory.is_some() { "pc,memory-backend=memory" } else { "pc" };
        add(&["-machine", kind, "-smp", &cpus.to_string(), "-m", &self.memory_mib.to_string()]);
        add(&["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-nic", "none"]);
        add(&[
            "-sandbox",
            "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
        ]);
        add(&[
            "-chardev",
            &format!("file,id=console,path={}", escaped(&self.console)),
            "-serial",
            "chardev:console",
        ]);
        add(&[
            "-chardev",
            &format!("socket,id=monitor,fd={monitor}"),
            "-mon",
            "chardev=monitor,mode=control",
        ]);
        let size_mib = self.memory_mib;
        let backend = |path, share| {
            format!(
                "memory-backend-file,id=memory,size={size_mib}M,mem-path={},share={share}",
                escaped(path)
            )
        };
        match &self.memory {
            None => {}
            Some(MemoryFile::Written(path)) => add(&["-object", &backend(path, "on")]),
            // Copy on write. The state comes over the monitor.
            Some(MemoryFile::Copied(path)) => {
                add(&["-object", &backend(path, "off"), "-incoming", "defer"])
            }
        }
        if let Some(agent) = agent {
            add(&[
                "-chardev",
                &format!("socket,id=agent,fd={agent}"),
                "-device",
                "virtio-serial-pci,max_ports=2",
            ]);
            add(&["-device", &format!("virtserialport,chardev=agent,name={PORT_NAME}")]);
        }
        // mitigations=off: page-table isolation and the like cost most of a call under TCG and are
        // not under test.
        add(&[
            "-append",
            format!("console=ttyS0 quiet panic=-1 mitigations=off {}", self.append).trim_end(),
        ]);
        arguments.extend(["-kernel".into(), self.kernel.clone().into()]);
        // A guest that goes on has unpacked it.
        if !matches!(self.memory, Some(MemoryFile::Copied(_))) {
            arguments.extend(["-initrd".into(), self.initramfs.clone().into()]);
        }
        arguments
    }
}

/// QEMU's option parser takes a doubled comma for one that is meant.
fn escaped(path: &std::path::Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(accelerator: Accelerator) -> Machine {
        Machine {
            qemu: "qemu".into(),
            accelerator,
            cpu: Cpu::Any,
            time: GuestTime::Host,
            kernel: "vmlinuz".into(),
            initramfs: "initramfs".into(),
            append: String::new(),
            memory_mib: MEMORY_MIB,
            console: "/a,b/console".into(),
            agent_port: true,
            memory: None,
        }
    }

    fn text(accelerator: Accelerator) -> String {
        let arguments = machine(accelerator).arguments(Some(7), 8);
        arguments
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn the_guest_has_no_network_and_qemu_its_sandbox() {
        let text = text(Accelerator::Tcg);
        assert!(
            text.contains("-nic none")
                && text.contains("-nodefaults")
                && text.contains("-sandbox on"),
            "{text}"
        );
    }

    #[test]
    fn emulation_uses_one_thread() {
        assert!(text(Accelerator::Tcg).contains("tcg,thread=single"));
        assert!(
            !text(Accelerator::Kvm).contains("tcg"),
            "QEMU must not be told to fall back by itself"
        );
    }

    #[test]
    fn the_cpu_is_of_the_maker_asked_for() {
        for (cpu, words) in [
            (Cpu::Any, "-fsrm "),
            (Cpu::Amd, "vendor=AuthenticAMD "),
            (Cpu::Intel, "vendor=GenuineIntel "),
        ] {
            let arguments = Machine { cpu, ..machine(Accelerator::Tcg) }.arguments(None, 8);
            let text = arguments
                .iter()
                .map(|part| part.to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join(" ");
            assert!(text.contains(words), "{text}");
        }
    }

    #[test]
    fn instructions_are_counted_on_one_cpu() {
        let machine = Machine { time: GuestTime::Instructions, ..machine(Accelerator::Tcg) };
        let arguments = machine.arguments(None, 8);
        let follows = |option: &str, value: &str| {
            arguments.windows(2).any(|pair| pair[0] == option && pair[1] == value)
        };
        assert!(follows("-icount", "shift=0,sleep=off") && follows("-smp", "1"), "{arguments:?}");
    }

    #[test]
    fn a_copy_never_writes_to_the_file() {
        let machine = Machine {
            memory: Some(MemoryFile::Copied("/memory".into())),
            ..machine(Accelerator::Tcg)
        };
        let arguments = machine.arguments(Some(7), 8);
        let text = arguments
            .iter()
            .map(|part| part.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        assert!(text.contains("share=off") && !text.contains("share=on"), "{text}");
    }

    #[test]
    fn commas_in_paths_do_not_end_an_option() {
        assert!(text(Accelerator::Tcg).contains("path=/a,,b/console"));
    }
}
