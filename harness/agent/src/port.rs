//! The virtio-serial port: finds it, reads requests off it, and writes frames to it.
//!
//! Writing waits for a slow host, and by that slows the processes whose output it is. The host must
//! never wait with reading until its own writing is done.

use std::fs::{File, OpenOptions, read_dir, read_to_string};
use std::io::{ErrorKind, IoSlice, Read, Write, stdin};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SpliceFFlags, fcntl, splice};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::pipe2;
use settime32_abi::frame::{Decoder, PORT_NAME, Reply, Request, encode};

use crate::head::head;

/// Size of the pipes between a process and the port: large, so that a process that writes much and
/// the agent take turns seldom.
pub(crate) const PIPE_SIZE: i32 = 1 << 20;

const PORTS: &str = "/sys/class/virtio-ports";
const FIND_TIMEOUT: Duration = Duration::from_secs(10);
/// The kernel takes a port in by a work queue; between two looks it must get the CPU.
const FIND_PAUSE: Duration = Duration::from_micros(200);
/// The driver hands out at most a page a read.
const READ_SIZE: usize = 4096;
/// After this much the processes' output gets its turn.
const READ_TURN: usize = 1 << 20;

/// The port, and what was read off it and is not a whole request yet.
pub(crate) struct Port {
    file: File,
    decoder: Decoder,
    /// What is spliced to the port comes from a pipe that holds nothing else. The driver takes as
    /// many pages as the pipe has, and when told to stop before the last of them, passes empty ones
    /// to the device, past the end of its own list (`__send_to_port` with fewer entries than the
    /// scatterlist it made).
    stage_in: OwnedFd,
    stage_out: OwnedFd,
}

impl Port {
    /// Opens the port called [`PORT_NAME`] as soon as it is there.
    pub(crate) fn find() -> Result<Self> {
        let deadline = Instant::now() + FIND_TIMEOUT;
        while Instant::now() < deadline {
            // The name is there before the device node at times, and the other way round.
            match device(Path::new(PORTS))
                .map(|path| OpenOptions::new().read(true).write(true).open(path))
            {
                Some(Err(error)) if error.kind() != ErrorKind::NotFound => {
                    return Err(error).with_context(|| {
                        format!("failed to open the virtio-serial port {PORT_NAME}")
                    });
                }
                Some(Ok(file)) => return Self::new(file),
                _ => sleep(FIND_PAUSE),
            }
        }
        bail!(
            "no virtio-serial port is called {PORT_NAME} after {} s; \
             does QEMU have the virtserialport, and does /modules hold the virtio modules of this kernel?",
            FIND_TIMEOUT.as_secs()
        )
    }

    /// The socket that is standard input, in place of a port.
    pub(crate) fn on_stdin() -> Result<Self> {
        let socket =
            stdin().as_fd().try_clone_to_owned().context("failed to use standard input")?;
        Self::new(socket.into())
    }

    fn new(file: File) -> Result<Self> {
        let (stage_out, stage_in) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        // A smaller pipe only costs time, so that a refusal is no failure.
        let _ = fcntl(&stage_in, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        Ok(Self { file, decoder: Decoder::default(), stage_in, stage_out })
    }

    /// Sends the first frame, however late the host connects, then lets reading return when there
    /// is no more.
    pub(crate) fn wait_for_host_and_send(&mut self, reply: &Reply) -> Result<()> {
        // A port that no host has opened reads as hung up, so that poll cannot wait for one: a
        // write can.
        self.file
            .write_all(&encode(reply))
            .context("failed to write the first frame to the port")?;
        fcntl(&self.file, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))
            .context("failed to make the port non-blocking")?;
        Ok(())
    }

    /// Sends a frame.
    pub(crate) fn send(&mut self, reply: &Reply) -> Result<()> {
        self.write_all(&mut [IoSlice::new(&encode(reply))])
    }

    /// Sends `empty`, a reply without its content, with this content.
    pub(crate) fn send_content(&mut self, empty: &Reply, content: &[u8]) -> Result<()> {
        self.write_all(&mut [IoSlice::new(&head(empty, content.len())), IoSlice::new(content)])
    }

    /// The same with content that is in a pipe and is handed on page by page, without a copy where
    /// the kernel can (`port_fops_splice_write` in `drivers/char/virtio_console.c`).
    pub(crate) fn send_piped(
        &mut self,
        empty: &Reply,
        pipe: BorrowedFd<'_>,
        len: usize,
    ) -> Result<()> {
        self.write_all(&mut [IoSlice::new(&head(empty, len))])?;
        let mut left = len;
        while left > 0 {
            let moved = splice(pipe, None, &self.stage_in, None, left, SpliceFFlags::empty());
            let moved = moved.context("failed to take a process's output out of its pipe")?;
            ensure!(moved > 0, "a pipe held less than it said");
            self.drain_stage(moved)?;
            left -= moved;
        }
        Ok(())
    }

    fn drain_stage(&mut self, mut left: usize) -> Result<()> {
        while left > 0 {
            match splice(&self.stage_out, None, &self.file, None, left, SpliceFFlags::empty()) {
                Ok(moved) => left -= moved,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => self.wait_writable()?,
                Err(errno) => {
                    return Err(errno).context("failed to move a process's output to the port");
                }
            }
        }
        Ok(())
    }

    /// Takes in what has arrived. `false` when the host has closed the port.
    pub(crate) fn receive(&mut self) -> Result<bool> {
        let mut buffer = [0; READ_SIZE];
        for _ in 0..READ_TURN / READ_SIZE {
            match self.file.read(&mut buffer) {
                Ok(0) => return Ok(false),
                Ok(len) => self.decoder.push(&buffer[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("failed to read from the port"),
            }
        }
        Ok(true)
    }

    /// The next request that has arrived whole.
    pub(crate) fn request(&mut self) -> Result<Option<Request>> {
        Ok(self.decoder.next_message()?)
    }

    fn write_all(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<()> {
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.wait_writable()?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("failed to write to the port"),
            }
        }
        Ok(())
    }

    fn wait_writable(&self) -> Result<()> {
        let mut fds = [PollFd::new(self.file.as_fd(), PollFlags::POLLOUT)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).context("failed to wait for the port"),
        }
        if fds[0]
            .revents()
            .is_some_and(|events| events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR))
        {
            bail!("the host closed the port while a frame was being sent");
        }
        Ok(())
    }
}

impl AsFd for Port {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Device node of the port with the right name, if it has appeared below `ports`.
fn device(ports: &Path) -> Option<PathBuf> {
    let mut entries = read_dir(ports).ok()?.flatten();
    let entry = entries.find(|entry| {
        read_to_string(entry.path().join("name")).is_ok_and(|name| name.trim_end() == PORT_NAME)
    })?;
    Some(Path::new("/dev").join(entry.file_name()))
}
