//! PID 1 of the guest: boots what the harness needs and serves its requests over one virtio-serial
//! port.
//!
//! It trusts the harness in everything. It holds no state that outlives the machine. As any other
//! process it does nothing to the machine, and does one of the jobs of [`as_process`].

mod children;
mod command;
mod files;
mod furnish;
mod head;
mod lay;
mod modules;
mod mounts;
mod output;
mod port;
mod power;
mod restored;
mod serve;
mod terminal;

use std::convert::Infallible;
use std::ffi::OsStr;

use anyhow::{Context, Result, bail};
use nix::sys::utsname::uname;
use nix::unistd::{SysconfVar, sysconf};
use settime32_abi::frame::{PROTOCOL, Reply};

use port::Port;

fn main() {
    if std::process::id() == 1 {
        let Err(error) = run();
        power::off_because(&error);
    }
    if let Err(error) = as_process() {
        eprintln!("settime32-agent: {error:#}");
        std::process::exit(1);
    }
}

/// The job that the first argument names.
fn as_process() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(OsStr::to_str) {
        Some("command") => command::run(arguments).map(drop),
        Some("serve") => serve_here().map(drop),
        _ => bail!(
            "this is the init of a guest; what it does otherwise is `serve` and `command UID PROGRAM`"
        ),
    }
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

/// Serves on the socket that is standard input, for a harness that uses the running kernel. Only
/// processes and files are this agent's then: it mounts nothing, loads nothing, and does not end
/// the machine.
fn serve_here() -> Result<Infallible> {
    let mut port = Port::on_stdin()?;
    port.wait_for_host_and_send(&ready()?)?;
    serve::serve(port)
}

/// What the guest is.
pub(crate) fn ready() -> Result<Reply> {
    let names = uname().context("failed to ask for the kernel's release")?;
    let cpus = sysconf(SysconfVar::_NPROCESSORS_ONLN).context("failed to count the CPUs")?;
    Ok(Reply::Ready {
        protocol: PROTOCOL,
        kernel_release: names.release().to_string_lossy().into_owned(),
        cpus: cpus.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(1),
    })
}
