//! Terminals for interactive programs: a pair of ends (pty(7)), of which the agent holds one and
//! the program the other.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use nix::pty::{Winsize, openpty};
use nix::unistd::setsid;
use settime32_abi::frame::{COMMAND_STDERR, COMMAND_STDOUT, WindowSize};

use crate::output::Output;

nix::ioctl_write_int_bad!(set_controlling_terminal, libc::TIOCSCTTY);
nix::ioctl_write_ptr_bad!(set_window_size, libc::TIOCSWINSZ, Winsize);

/// The agent's end.
pub(crate) struct Terminal {
    ours: File,
    /// Until the program has it.
    theirs: Option<OwnedFd>,
}

impl Terminal {
    /// A new one.
    pub(crate) fn open(size: WindowSize) -> Result<Self> {
        let pair = openpty(&winsize(size), None)
            .context("failed to open a terminal; is devpts mounted?")?;
        for end in [&pair.master, &pair.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))
                .context("failed to set a terminal up")?;
        }
        fcntl(&pair.master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))
            .context("failed to set a terminal up")?;
        Ok(Self { ours: pair.master.into(), theirs: Some(pair.slave) })
    }

    /// Makes it the terminal of a process that is about to start, or of that process's command;
    /// gives what is written to it, under the name `id`.
    pub(crate) fn give(&self, id: u32, to_command: bool, command: &mut Command) -> Result<Output> {
        let given = self.theirs.as_ref().context("failed to give a terminal away: it is given")?;
        let theirs = || given.try_clone().context("failed to duplicate a terminal");
        if to_command {
            let theirs = theirs()?;
            command.stdin(Stdio::null());
            // SAFETY: dup2 is async-signal-safe, and nothing is allocated. No other descriptor has
            // these numbers.
            unsafe {
                command.pre_exec(move || {
                    for number in [COMMAND_STDOUT, COMMAND_STDERR] {
                        Errno::result(libc::dup2(theirs.as_raw_fd(), number))?;
                    }
                    Ok(())
                });
            }
        } else {
            command.stdin(theirs()?).stdout(theirs()?).stderr(theirs()?);
            // SAFETY: only async-signal-safe system calls are made, and nothing is allocated.
            // Standard input is open.
            unsafe { command.pre_exec(|| Ok(take(BorrowedFd::borrow_raw(libc::STDIN_FILENO))?)) };
        }
        Ok(Output::of_terminal(id, self.writer()?))
    }

    /// The program has its end now; when the last that has it ends, so does the terminal.
    pub(crate) fn given(&mut self) {
        self.theirs = None;
    }

    /// Another descriptor of the agent's end.
    pub(crate) fn writer(&self) -> Result<File> {
        self.ours.try_clone().context("failed to duplicate a terminal")
    }

    /// Tells the size; the kernel sends SIGWINCH to who is in front.
    pub(crate) fn resize(&self, size: WindowSize) -> Result<()> {
        // SAFETY: it reads the structure that it is given.
        unsafe { set_window_size(self.ours.as_raw_fd(), &winsize(size)) }
            .context("failed to set a terminal's size")?;
        Ok(())
    }
}

/// Begins a session of its own, whose terminal this is.
pub(crate) fn take(terminal: BorrowedFd<'_>) -> nix::Result<()> {
    setsid()?;
    // SAFETY: it takes a number.
    unsafe { set_controlling_terminal(terminal.as_fd().as_raw_fd(), 0) }.map(drop)
}

const fn winsize(size: WindowSize) -> Winsize {
    Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 }
}
