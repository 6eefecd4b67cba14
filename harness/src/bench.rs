//! Measurements; figures come as ratios of what was taken in turn in one run.

mod warm;

use std::fs;
use std::time::{Duration, Instant};

use serde::Serialize;
use settime32_vm::Say;

use crate::boot::{
    Accelerator, BootOptions, Choice, Deadline, Emulator, Machine, Scratch, Vm, bare_initramfs,
};
use crate::embedded;
use crate::failure::{BootError, Failure, InfraError};

pub use warm::{WarmBench, warm};

/// Result of [`boot`]: seconds from QEMU's start.
#[derive(Clone, Debug, Serialize)]
pub struct BootBench {
    /// Kernel release.
    pub kernel: String,
    /// What ran the guests.
    pub accelerator: Accelerator,
    /// Boots of each kind.
    pub rounds: u32,
    /// Median to the line of the bare init.
    pub bare_init_s: f64,
    /// Median to the agent's first frame.
    pub agent_s: f64,
    /// Median of the rounds' ratios.
    pub ratio: f64,
}

impl BootBench {
    /// For people.
    pub fn text(&self) -> String {
        format!(
            "{} under {}, {} rounds: bare init {:.2} s, agent ready {:.2} s, ratio {:.2}\n",
            self.kernel, self.accelerator, self.rounds, self.bare_init_s, self.agent_s, self.ratio
        )
    }
}

/// Boots the same kernel to a bare init and to the agent, in turn.
pub fn boot(options: &BootOptions, rounds: u32, say: Say) -> Result<BootBench, Failure> {
    let deadline = || Deadline::after(options.boot_timeout * 2);
    // The first boot also settles which accelerator works, which is not what is measured.
    let first = Vm::boot(options, &Scratch::new()?, deadline(), say)?;
    let (accelerator, kernel) = (first.accelerator, first.kernel_release.clone());
    drop(first);
    let accelerator = accelerator.expect("a guest was booted");
    let choice = match accelerator {
        Accelerator::Kvm => Choice::Kvm,
        Accelerator::Tcg => Choice::Tcg,
    };
    let options = BootOptions { choice, ..options.clone() };
    let (mut bare, mut agent) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        say(&format!("round {} of {rounds}", round + 1));
        bare.push(boot_bare(&options, accelerator)?);
        let started = Instant::now();
        let vm = Vm::boot(&options, &Scratch::new()?, deadline(), say)?;
        agent.push(started.elapsed().as_secs_f64());
        drop(vm);
    }
    let ratios = bare.iter().zip(&agent).map(|(bare, agent)| agent / bare).collect();
    Ok(BootBench {
        kernel,
        accelerator,
        rounds,
        bare_init_s: median(bare),
        agent_s: median(agent),
        ratio: median(ratios),
    })
}

/// Seconds until the bare init's line is on the console.
fn boot_bare(options: &BootOptions, accelerator: Accelerator) -> Result<f64, Failure> {
    let started = Instant::now();
    let scratch = Scratch::new()?;
    let initramfs = scratch.path().join("initramfs.cpio");
    fs::write(&initramfs, bare_initramfs(embedded::bare_init()?))
        .map_err(InfraError::file("write", &initramfs))?;
    let machine = Machine {
        qemu: options.qemu.clone(),
        accelerator,
        cpu: options.cpu,
        time: options.time,
        kernel: options.kernel.image.clone(),
        initramfs,
        memory_mib: options.memory_mib,
        append: options.append.clone(),
        console: scratch.console_path(),
        agent_port: false,
        memory: None,
    };
    let _emulator = Emulator::start(&machine)?;
    while !scratch.console().contains("bare init") {
        if started.elapsed() > options.boot_timeout {
            return Err(BootError::NotReady { seconds: options.boot_timeout.as_secs_f64() }.into());
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(started.elapsed().as_secs_f64())
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), 2.5);
    }
}
