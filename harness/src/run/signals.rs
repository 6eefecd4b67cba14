//! Signals that this process gets are the program's in the guest, from its start on.

use std::time::{Duration, Instant};
use std::{io, thread};

use nix::sys::resource::{Resource, setrlimit};
use settime32_abi::frame::Request;
use settime32_vm::connection::Requests;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGWINCH};
use signal_hook::iterator::Signals;
use signal_hook::low_level;

use super::relay::PROGRAM;
use super::tty;

const PASSED_ON: [i32; 7] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT];
/// One that comes as often in this time is for this process: the guest may be stuck.
const INSISTENT: usize = 3;
const INSISTENT_WITHIN: Duration = Duration::from_secs(1);

/// Passes signals on to the program, in a thread that ends with this process. Where the program has
/// the terminal `terminal` (the agent's name for who has it), what is typed goes another way: only
/// the window's size is passed on, and what is to end this process does.
pub(super) fn handle(requests: Requests, terminal: Option<u32>) -> io::Result<()> {
    let mut signals = Signals::new(PASSED_ON.iter().chain([&SIGWINCH]))?;
    thread::spawn(move || {
        let mut insistence = Insistence::default();
        for signal in signals.forever() {
            match (signal, terminal) {
                (SIGWINCH, Some(id)) => requests.send(&Request::Resize { id, size: tty::size() }),
                (SIGHUP | SIGQUIT | SIGTERM, Some(_)) => end_here(signal),
                (SIGWINCH, None) | (_, Some(_)) => {}
                (SIGINT | SIGQUIT | SIGTERM, None) if insistence.grows(signal) => end_here(signal),
                (signal, None) => requests.send(&Request::PassOn { id: PROGRAM, signal }),
            }
        }
    });
    Ok(())
}

/// The guest goes with the process that started it.
fn end_here(signal: i32) {
    tty::restore();
    _ = low_level::emulate_default_handler(signal);
}

/// Counts a signal that comes again and again.
#[derive(Default)]
struct Insistence(Vec<(i32, Instant)>);

impl Insistence {
    /// Whether it came often enough by now.
    fn grows(&mut self, signal: i32) -> bool {
        let now = Instant::now();
        self.0.retain(|(other, at)| *other == signal && now - *at < INSISTENT_WITHIN);
        self.0.push((signal, now));
        self.0.len() >= INSISTENT
    }
}

/// Ends this process as the program was ended, so that its parent is told the same. Returns when
/// the signal does not end a process here.
pub fn end_by(signal: i32) {
    // The program's memory is in the guest: a dump of this process would mislead.
    _ = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    // SAFETY: it sets a signal's default action and unblocks it, then sends it to this thread.
    unsafe {
        nix::libc::signal(signal, nix::libc::SIG_DFL);
        nix::libc::raise(signal);
    }
}
