//! Where text goes: standard output and standard error, whatever is behind them. Written in large
//! pieces; lines collect here until there is no more to print for now.
//!
//! A reader that goes away is no error: what is written afterwards goes nowhere, and whoever writes
//! asks now and then. Anything else that keeps text from being written is one, and nothing is left
//! out before it is reported. A write waits for as long as the reader takes, but once somebody
//! wants the program to end, only as long as the reader takes something.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstat;
use thiserror::Error;

use crate::signals::Signals;

/// Written out when it holds this much; a system call for each line would cost more than the line.
const FULL_LEN: usize = 1 << 16;
/// What a reader may take for a moment when the program is to end.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Why text could not be written.
#[derive(Debug, Error)]
pub enum SinkError {
    /// There was no standard output from the start.
    #[error("standard output is closed; give it a file or /dev/null")]
    Closed,
    /// Told to end while the reader takes nothing.
    #[error("standard output takes nothing")]
    Stuck,
    /// Anything else, a full disk above all.
    #[error("failed to write to standard output")]
    Write {
        /// What the system says.
        source: io::Error,
    },
}

/// Where lines go.
#[derive(Debug)]
pub struct Sink<'a, W> {
    out: W,
    buffer: Vec<u8>,
    /// `None` where no signal ends a wait: then it ends soon.
    signals: Option<&'a Signals>,
    is_read: bool,
}

impl<'a> Sink<'a, File> {
    /// Standard output.
    pub fn stdout(signals: Option<&'a Signals>) -> Result<Self, SinkError> {
        if STDOUT_WAS_CLOSED.load(Ordering::Relaxed) {
            return Err(SinkError::Closed);
        }
        Ok(Self::new(
            own_handle(io::stdout().as_fd()).map_err(|source| SinkError::Write { source })?,
            signals,
        ))
    }

    /// Standard error.
    pub fn stderr() -> Result<Self, SinkError> {
        Ok(Self::new(
            own_handle(io::stderr().as_fd()).map_err(|source| SinkError::Write { source })?,
            None,
        ))
    }
}

impl<'a, W: Write + AsFd> Sink<'a, W> {
    fn new(out: W, signals: Option<&'a Signals>) -> Self {
        Self { out, buffer: Vec::with_capacity(2 * FULL_LEN), signals, is_read: true }
    }

    /// Appends what `line` appends, and writes out when enough has come together.
    pub fn append(&mut self, line: impl FnOnce(&mut Vec<u8>)) -> Result<(), SinkError> {
        line(&mut self.buffer);
        if self.buffer.len() >= FULL_LEN { self.flush() } else { Ok(()) }
    }

    /// Writes out what has come together.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        let mut done = 0;
        let written = self.write_out(&mut done);
        self.buffer.drain(..done.min(self.buffer.len()));
        written
    }

    /// Writes nothing any more; gives how many lines were appended and not written, or not wholly.
    pub fn give_up(&mut self) -> u64 {
        self.is_read = false;
        let lines = memchr::memchr_iter(b'\n', &self.buffer).count() as u64;
        self.buffer.clear();
        lines
    }

    fn write_out(&mut self, done: &mut usize) -> Result<(), SinkError> {
        while self.is_read && *done < self.buffer.len() {
            let rest = &self.buffer[*done..];
            match self.out.write(rest) {
                Ok(0) => return Err(SinkError::Write { source: ErrorKind::WriteZero.into() }),
                Ok(len) => *done += len,
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock if self.can_write_again() => {}
                    ErrorKind::WouldBlock => return Err(SinkError::Stuck),
                    ErrorKind::BrokenPipe => self.is_read = false,
                    _ => return Err(SinkError::Write { source: error }),
                },
            }
        }
        // What nobody reads is done with, too.
        *done = self.buffer.len();
        Ok(())
    }

    /// Whether somebody reads, as far as was noticed.
    pub const fn is_read(&self) -> bool {
        self.is_read
    }

    /// Takes note of what a poll for nothing told of it.
    pub fn polled(&mut self, flags: PollFlags) {
        self.is_read &= !flags.intersects(PollFlags::POLLERR | PollFlags::POLLHUP);
    }

    /// Waits until it takes more; false when that is not worth the wait any more.
    fn can_write_again(&self) -> bool {
        let Some(signals) = self.signals else {
            return is_ready(
                &mut [PollFd::new(self.out.as_fd(), PollFlags::POLLOUT)],
                Some(LAST_WAIT),
            );
        };
        loop {
            let out = PollFd::new(self.out.as_fd(), PollFlags::POLLOUT);
            if signals.stop_requested() {
                return is_ready(&mut [out], Some(LAST_WAIT));
            }
            let mut sources = [out, PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
            if is_ready(&mut sources, None) && sources[0].any() != Some(false) {
                return true;
            }
            signals.clear();
        }
    }
}

impl<W: AsFd> AsFd for Sink<'_, W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }
}

/// When waiting fails, the next write says why.
fn is_ready(sources: &mut [PollFd<'_>], longest: Option<Duration>) -> bool {
    let timeout = longest.map_or(PollTimeout::NONE, |longest| {
        PollTimeout::try_from(longest).unwrap_or(PollTimeout::MAX)
    });
    poll(sources, timeout) != Ok(0)
}

/// A handle on the same pipe, terminal or file, of which a write does not block. What blocks is a
/// property of the open file, which is shared with whoever else has it; so a pipe or a terminal is
/// opened anew. What cannot be is used as it is.
fn own_handle(fd: BorrowedFd<'_>) -> io::Result<File> {
    let file = File::from(fd.try_clone_to_owned()?);
    if !file.metadata()?.file_type().is_fifo() && !file.is_terminal() {
        return Ok(file);
    }
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let anew =
        File::options().write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let is_same = |anew: &File| {
        let (Ok(one), Ok(other)) = (fstat(anew), fstat(fd)) else { return false };
        (one.st_dev, one.st_ino, one.st_rdev) == (other.st_dev, other.st_ino, other.st_rdev)
    };
    Ok(anew.ok().filter(is_same).unwrap_or(file))
}

/// Whether standard output was closed when the program began. By the time of `main`, Rust has
/// opened `/dev/null` in its place, where everything would vanish.
static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

extern "C" fn look_at_stdout() {
    const STDOUT: RawFd = 1;
    // SAFETY: it takes no pointer.
    let is_closed = unsafe { libc::fcntl(STDOUT, libc::F_GETFD) } == -1;
    STDOUT_WAS_CLOSED.store(is_closed, Ordering::Relaxed);
}

/// Called before Rust's own start.
#[used]
// SAFETY: the C library calls what is in this section, with the C ABI; it needs nothing of Rust's.
#[unsafe(link_section = ".init_array")]
static LOOK_AT_STDOUT: extern "C" fn() = look_at_stdout;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::time::Instant;

    use nix::fcntl::OFlag;
    use nix::unistd::pipe2;

    use super::*;

    #[test]
    fn lines_wait_for_a_flush_or_a_full_buffer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut sink = Sink::new(ours, None);
        sink.append(|line| line.extend_from_slice(b"one\n")).unwrap();
        let mut got = [0; 8];
        assert_eq!(theirs.read(&mut got).unwrap_err().kind(), ErrorKind::WouldBlock);
        sink.flush().unwrap();
        assert_eq!(theirs.read(&mut got).unwrap(), 4);
        sink.append(|line| line.resize(FULL_LEN, b'x')).unwrap();
        assert_eq!(theirs.read(&mut got).unwrap(), 8);
    }

    #[test]
    fn a_non_blocking_output_loses_nothing() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).unwrap();
            got.len()
        });
        let mut sink = Sink::new(ours, None);
        for _ in 0..100 {
            sink.append(|line| line.resize(line.len() + FULL_LEN, b'x')).unwrap();
        }
        drop(sink);
        assert_eq!(reader.join().unwrap(), 100 * FULL_LEN);
    }

    #[test]
    fn a_reader_that_left_is_no_error_and_a_full_disk_is() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut sink = Sink::new(ours, None);
        assert!(sink.is_read());
        sink.append(|line| line.resize(FULL_LEN, b'x')).unwrap();
        assert!(!sink.is_read());
        sink.append(|line| line.resize(FULL_LEN, b'x')).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut sink = Sink::new(own_handle(full.as_fd()).unwrap(), None);
        let error = sink.append(|line| line.resize(FULL_LEN, b'x')).unwrap_err();
        assert!(
            matches!(&error, SinkError::Write { source } if source.kind() == ErrorKind::StorageFull),
            "{error:?}"
        );
    }

    /// The pipe blocks for everybody else, and is full.
    #[test]
    fn a_pipe_that_nobody_reads_ends_with_an_error_once_it_is_to_end() {
        let (_out, into) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let mut sink = Sink::new(own_handle(into.as_fd()).unwrap(), None);
        let started = Instant::now();
        let error = (0..100).find_map(|_| sink.append(|line| line.resize(FULL_LEN, b'x')).err());
        assert!(matches!(error, Some(SinkError::Stuck)), "{error:?}");
        assert!(started.elapsed() >= LAST_WAIT);
        let flags = nix::fcntl::fcntl(&into, nix::fcntl::FcntlArg::F_GETFL).unwrap();
        assert!(
            !OFlag::from_bits_truncate(flags).contains(OFlag::O_NONBLOCK),
            "the pipe is shared with others"
        );
    }

    #[test]
    fn a_pipe_without_a_reader_is_noticed_without_a_write() {
        let (out, into) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let mut sink = Sink::new(own_handle(into.as_fd()).unwrap(), None);
        let mut look = || {
            let mut source = [PollFd::new(into.as_fd(), PollFlags::empty())];
            poll(&mut source, PollTimeout::ZERO).unwrap();
            sink.polled(source[0].revents().unwrap());
            sink.is_read()
        };
        assert!(look());
        drop(out);
        assert!(!look());
    }
}
