//! Ends the machine, or breaks it where the harness asks for that; nothing here returns.

use std::convert::Infallible;
use std::io::stderr;

use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::tcdrain;
use nix::unistd::pause;

/// Says why on the console and powers off.
pub(crate) fn off_because(error: &anyhow::Error) -> ! {
    eprintln!("settime32-agent: {error:#}; powering off");
    // The console sends by interrupt: what is still in its buffer would go down with the machine.
    let _ = tcdrain(stderr());
    off()
}

/// Powers off. A machine without a power switch is reset, which QEMU's `-no-reboot` takes for the
/// end.
fn off() -> ! {
    for how in [RebootMode::RB_POWER_OFF, RebootMode::RB_AUTOBOOT] {
        let Err(errno) = reboot(how) as nix::Result<Infallible>;
        eprintln!("settime32-agent: failed to leave the machine by {how:?}: {errno}");
    }
    stop_answering()
}

/// Leaves the kernel running and does nothing any more.
pub(crate) fn stop_answering() -> ! {
    loop {
        pause();
    }
}
