//! PID 1 of the guest: boots what the harness needs and serves its requests over one virtio-serial port.
//!
//! It trusts the harness in everything. It holds no state that outlives the machine.

mod children;
mod files;
mod head;
mod modules;
mod mounts;
mod port;
mod power;
mod serve;

use std::convert::Infallible;

use anyhow::{Context, Result};
use nix::sys::utsname::uname;
use nix::unistd::{SysconfVar, sysconf};
use settime32_abi::frame::{PROTOCOL, Reply};

use port::Port;

fn main() {
    let Err(error) = run();
    power::off_because(&error);
}

/// Only what `Ready` needs comes before it, since the time until then is what a cold start costs.
fn run() -> Result<Infallible> {
    mounts::mount_all(&mounts::BEFORE_READY)?;
    modules::load_all()?;
    let mut port = Port::find()?;
    port.wait_for_host_and_send(&ready()?)?;
    mounts::mount_all(&mounts::BEFORE_REQUESTS)?;
    serve::serve(port)
}

fn ready() -> Result<Reply> {
    let names = uname().context("failed to ask for the kernel's release")?;
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN).context("failed to count the CPUs")?;
    Ok(Reply::Ready {
        protocol: PROTOCOL,
        kernel_release: names.release().to_string_lossy().into_owned(),
        cpus: cpus.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1),
    })
}
