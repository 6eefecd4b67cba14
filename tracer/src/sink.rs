//! Standard output, written in large pieces. Lines collect here until there is no more to print for now.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use thiserror::Error;

/// Written out when it holds this much; a system call for each line would cost more than the line.
const FULL_LEN: usize = 1 << 16;

/// Why events could not be written.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The reader of a pipe went away.
    #[error("standard output was closed by its reader")]
    ReaderGone,
    /// Anything else, a full disk above all.
    #[error("failed to write all events to standard output")]
    Write {
        /// What the system says.
        source: io::Error,
    },
}

/// Where lines go.
#[derive(Debug)]
pub struct Sink<W> {
    out: W,
    buffer: Vec<u8>,
}

impl Sink<File> {
    /// Standard output. Rust's own handle would write out at every line.
    pub fn stdout() -> io::Result<Self> {
        let out = File::from(io::stdout().as_fd().try_clone_to_owned()?);
        Ok(Self::new(out))
    }
}

impl<W: Write + AsFd> Sink<W> {
    fn new(out: W) -> Self {
        Self { out, buffer: Vec::with_capacity(2 * FULL_LEN) }
    }

    /// Appends what `line` appends, and writes out when enough has come together.
    pub fn append(&mut self, line: impl FnOnce(&mut Vec<u8>)) -> Result<(), SinkError> {
        line(&mut self.buffer);
        if self.buffer.len() >= FULL_LEN { self.flush() } else { Ok(()) }
    }

    /// Writes out what has come together.
    pub fn flush(&mut self) -> Result<(), SinkError> {
        let mut rest = self.buffer.as_slice();
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(len) => rest = &rest[len..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_until_writable(self.out.as_fd()),
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Err(SinkError::ReaderGone),
                Err(source) => return Err(SinkError::Write { source }),
            }
        }
        self.buffer.clear();
        Ok(())
    }
}

impl<W: AsFd> AsFd for Sink<W> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.out.as_fd()
    }
}

/// Another process may have made the other end of our pipe or terminal non-blocking.
fn wait_until_writable(out: BorrowedFd<'_>) {
    // When waiting fails, the next write says why.
    _ = poll(&mut [PollFd::new(out, PollFlags::POLLOUT)], PollTimeout::NONE);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn lines_wait_for_a_flush_or_a_full_buffer() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        let mut sink = Sink::new(ours);
        sink.append(|line| line.extend_from_slice(b"one\n")).unwrap();
        let mut got = [0; 8];
        assert_eq!(theirs.read(&mut got).unwrap_err().kind(), io::ErrorKind::WouldBlock);
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
        let mut sink = Sink::new(ours);
        for _ in 0..100 {
            sink.append(|line| line.resize(line.len() + FULL_LEN, b'x')).unwrap();
        }
        drop(sink);
        assert_eq!(reader.join().unwrap(), 100 * FULL_LEN);
    }

    #[test]
    fn a_reader_that_left_and_a_full_disk_are_told_apart() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        let mut sink = Sink::new(ours);
        assert!(matches!(sink.append(|line| line.resize(FULL_LEN, b'x')), Err(SinkError::ReaderGone)));
        let mut sink = Sink::new(File::options().write(true).open("/dev/full").unwrap());
        let error = sink.append(|line| line.resize(FULL_LEN, b'x')).unwrap_err();
        assert!(matches!(&error, SinkError::Write { source } if source.kind() == io::ErrorKind::StorageFull), "{error:?}");
    }
}
