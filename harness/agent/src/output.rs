//! What a process writes, on its way to the harness.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::unistd::pipe2;
use settime32_abi::frame::{COMMAND_STDERR, COMMAND_STDOUT, Reply, Stream};

use crate::port::{PIPE_SIZE, Port};

/// From this size on, moving pages costs less than copying them twice.
const SPLICE_MIN_LEN: usize = 16 << 10;

/// Reads of a terminal's output in one go, so that others get their turn.
const TERMINAL_READS: usize = 64;

nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);

/// The reading end of a pipe, or of a terminal, that a process writes to.
pub(crate) struct Output {
    id: u32,
    stream: Stream,
    pipe: File,
    is_terminal: bool,
}

impl Output {
    pub(crate) fn new(id: u32, stream: Stream, pipe: OwnedFd) -> Self {
        // A smaller pipe only costs time, so that a refusal is no failure.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        Self { id, stream, pipe: pipe.into(), is_terminal: false }
    }

    /// All that is written to a terminal, which is opened so that reading never waits.
    pub(crate) fn of_terminal(id: u32, terminal: File) -> Self {
        Self { id, stream: Stream::Stdout, pipe: terminal, is_terminal: true }
    }

    /// The outputs of what `outer` is going to run ([`Spawn::command`]).
    pub(crate) fn of_command(id: u32, outer: &mut Command) -> Result<[Self; 2]> {
        let pipe = || pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe");
        let (stdout, stdout_end) = pipe()?;
        let (stderr, stderr_end) = pipe()?;
        // SAFETY: dup2 is async-signal-safe, and nothing is allocated. No other descriptor has
        // these numbers.
        unsafe {
            outer.pre_exec(move || {
                for (end, number) in [(&stdout_end, COMMAND_STDOUT), (&stderr_end, COMMAND_STDERR)]
                {
                    Errno::result(libc::dup2(end.as_raw_fd(), number))?;
                }
                Ok(())
            });
        }
        Ok([Self::new(id, Stream::Stdout, stdout), Self::new(id, Stream::Stderr, stderr)])
    }

    /// Sends what is in it now, as one frame. `false` when there was nothing, which is the end of
    /// what was ready.
    pub(crate) fn relay(&mut self, port: &mut Port) -> Result<bool> {
        let empty = Reply::Output { id: self.id, stream: self.stream, content: Vec::new() };
        if self.is_terminal {
            return self.relay_terminal(&empty, port);
        }
        match self.available()? {
            0 => return Ok(false),
            len if len >= SPLICE_MIN_LEN => port.send_piped(&empty, self.pipe.as_fd(), len)?,
            len => {
                let mut content = [0; SPLICE_MIN_LEN];
                self.pipe
                    .read_exact(&mut content[..len])
                    .context("failed to read a process's output")?;
                port.send_content(&empty, &content[..len])?;
            }
        }
        Ok(true)
    }

    /// How much is in a terminal cannot be asked for. It holds less than is taken here at most.
    fn relay_terminal(&mut self, empty: &Reply, port: &mut Port) -> Result<bool> {
        let mut content = [0; SPLICE_MIN_LEN];
        for _ in 0..TERMINAL_READS {
            match self.pipe.read(&mut content) {
                Ok(len @ 1..) => port.send_content(empty, &content[..len])?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                // EIO: nobody has the other end any more.
                Ok(0) | Err(_) => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Bytes in the pipe.
    fn available(&self) -> Result<usize> {
        let mut len = 0;
        // SAFETY: FIONREAD writes one int, to `len`.
        unsafe { fionread(self.pipe.as_raw_fd(), &raw mut len) }
            .context("failed to ask how much a pipe holds")?;
        Ok(usize::try_from(len)?)
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}
