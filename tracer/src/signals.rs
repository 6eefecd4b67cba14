//! Signals that end the tracing, and the one that tells of the command's end, as something to poll.

use std::io::{self, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::libc;
use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// Handlers of SIGINT, SIGTERM, SIGHUP and SIGCHLD.
#[derive(Debug)]
pub struct Signals {
    wake: UnixStream,
    stop: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers for the rest of the process's life. A second one of the first three
    /// ends the process at once, which is the way out when the reader of standard output is stuck.
    pub fn install() -> io::Result<Self> {
        let (wake, handlers_end) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let stop = Arc::new(AtomicBool::new(false));
        // What `nohup` has ignored stays so.
        let hang_up = (!is_ignored(SIGHUP)?).then_some(SIGHUP);
        for signal in [SIGINT, SIGTERM].into_iter().chain(hang_up) {
            // Handlers run in the order in which they are registered, so the first signal only sets
            // the flag.
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop))?;
            flag::register(signal, Arc::clone(&stop))?;
            low_level::pipe::register(signal, handlers_end.try_clone()?)?;
        }
        low_level::pipe::register(SIGCHLD, handlers_end)?;
        // A limit on the size of files is an error of the write then, as a full disk is.
        // SAFETY: it sets an action; no handler is installed.
        _ = unsafe {
            nix::sys::signal::signal(
                nix::sys::signal::SIGXFSZ,
                nix::sys::signal::SigHandler::SigIgn,
            )
        };
        Ok(Self { wake, stop })
    }

    /// Whether SIGINT, SIGTERM or SIGHUP came.
    pub fn stop_requested(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Makes [`Self::as_fd`] unreadable until the next signal.
    pub fn clear(&self) {
        // It is non-blocking: it ends with an error once it is empty.
        while (&self.wake).read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
    }
}

impl AsFd for Signals {
    /// Readable once a signal came.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

fn is_ignored(signal: i32) -> io::Result<bool> {
    let mut action = MaybeUninit::<libc::sigaction>::uninit();
    // SAFETY: without a new action, the call only writes the old one.
    nix::errno::Errno::result(unsafe {
        libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr())
    })?;
    // SAFETY: the call has written it.
    Ok(unsafe { action.assume_init() }.sa_sigaction == libc::SIG_IGN)
}

#[cfg(test)]
mod tests {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    fn readable(signals: &Signals) -> bool {
        poll(&mut [PollFd::new(signals.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).unwrap()
            == 1
    }

    /// One test, since handlers belong to the whole process.
    #[test]
    fn signals_wake_and_only_two_of_them_stop() {
        let signals = Signals::install().unwrap();
        assert!(!readable(&signals) && !signals.stop_requested());
        for _ in 0..1000 {
            low_level::raise(SIGCHLD).unwrap();
        }
        assert!(readable(&signals) && !signals.stop_requested());
        signals.clear();
        assert!(!readable(&signals));
        low_level::raise(SIGTERM).unwrap();
        assert!(readable(&signals) && signals.stop_requested());
    }
}
