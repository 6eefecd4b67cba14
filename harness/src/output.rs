//! Standard output and standard error: the one way out. What is written arrives whole, or there is
//! an error: a descriptor that does not block is waited for, and one that was closed is none.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicU8, Ordering};

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::write;

/// Writes all of it to standard output.
pub fn to_stdout(content: &[u8]) -> io::Result<()> {
    to(io::stdout().as_fd(), libc::STDOUT_FILENO, content)
}

/// The same to standard error.
pub fn to_stderr(content: &[u8]) -> io::Result<()> {
    to(io::stderr().as_fd(), libc::STDERR_FILENO, content)
}

/// Says something on standard error. Nobody can be told when that fails.
pub fn say(text: &str) {
    // In one piece, since others write there, too.
    _ = to_stderr(format!("settime32-harness: {text}\n").as_bytes());
}

fn to(out: BorrowedFd<'_>, number: i32, content: &[u8]) -> io::Result<()> {
    if CLOSED.load(Ordering::Relaxed) >> number & 1 == 1 {
        return Err(Errno::EBADF.into());
    }
    write_all(out, content)
}

fn write_all(out: BorrowedFd<'_>, mut rest: &[u8]) -> io::Result<()> {
    while !rest.is_empty() {
        match write(out, rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(len) => rest = &rest[len..],
            Err(Errno::EINTR) => {}
            // Another process may have made a pipe or a terminal that it shares with this one
            // non-blocking. When waiting fails, the next write says why.
            Err(Errno::EAGAIN) => {
                _ = poll(&mut [PollFd::new(out, PollFlags::POLLOUT)], PollTimeout::NONE)
            }
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// The streams that were closed when the program began, a bit each.
static CLOSED: AtomicU8 = AtomicU8::new(0);

/// Rust's runtime puts /dev/null in the place of a stream that is closed, where what is written is
/// gone in silence; so this looks before the runtime does.
#[used]
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = look;

extern "C" fn look() {
    for number in [libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        // SAFETY: it is given plain numbers.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } == -1 {
            CLOSED.fetch_or(1 << number, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_does_not_block_gets_everything() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let content: Vec<u8> = (0..1 << 20).map(|at| (at % 251) as u8).collect();
        let reader = thread::spawn(move || {
            thread::sleep(Duration::from_millis(50));
            let mut got = Vec::new();
            theirs.read_to_end(&mut got).map(|_| got).unwrap()
        });
        write_all(ours.as_fd(), &content).unwrap();
        drop(ours);
        assert!(reader.join().unwrap() == content);
    }

    #[test]
    fn a_reader_that_left_and_a_full_disk_are_told_apart() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert_eq!(write_all(ours.as_fd(), b"text").unwrap_err().kind(), ErrorKind::BrokenPipe);
        let full = File::options().write(true).open("/dev/full").unwrap();
        assert_eq!(write_all(full.as_fd(), b"text").unwrap_err().kind(), ErrorKind::StorageFull);
    }
}
