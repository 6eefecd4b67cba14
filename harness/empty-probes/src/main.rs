//! `settime32-empty-probes KIND:FUNCTION…`: attaches a program that does nothing to each of these,
//! says `: ready` and waits for SIGINT. For a guest in which the harness measures; it traces
//! nothing.

use std::env;

use anyhow::{Context, Result, bail};
use aya::programs::{FEntry, FExit, KProbe};
use aya::{Btf, Ebpf};
use settime32_abi::hook::Kind;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/settime32-empty-ebpf"));

fn main() -> Result<()> {
    let mut signals = Signals::new([SIGINT]).context("failed to install the signal handler")?;
    // Dropping an object detaches its program.
    let _attached = env::args().skip(1).map(|hook| attach(&hook)).collect::<Result<Vec<_>>>()?;
    eprintln!("settime32-empty-probes: ready");
    signals.wait();
    Ok(())
}

/// Attaches one; each has an object of its own, since a program in a trampoline is loaded for one
/// function.
fn attach(hook: &str) -> Result<Ebpf> {
    let Some((kind, function)) = hook.split_once(':') else {
        bail!("failed to understand {hook}: give KIND:FUNCTION")
    };
    let kind: Kind = kind.parse()?;
    let mut ebpf = Ebpf::load(OBJECT).context("failed to load the eBPF object")?;
    attach_program(&mut ebpf, kind, function)
        .with_context(|| format!("failed to attach a {kind} to {function}"))?;
    Ok(ebpf)
}

fn attach_program(ebpf: &mut Ebpf, kind: Kind, function: &str) -> Result<()> {
    let program = ebpf
        .program_mut(&format!("empty_{kind}"))
        .context("the eBPF object has no such program")?;
    match kind {
        Kind::Kprobe | Kind::Kretprobe => {
            let program: &mut KProbe = program.try_into()?;
            program.load()?;
            program.attach(function, 0)?;
        }
        Kind::Fentry => {
            let program: &mut FEntry = program.try_into()?;
            program.load(function, &Btf::from_sys_fs()?)?;
            program.attach()?;
        }
        Kind::Fexit => {
            let program: &mut FExit = program.try_into()?;
            program.load(function, &Btf::from_sys_fs()?)?;
            program.attach()?;
        }
    }
    Ok(())
}
