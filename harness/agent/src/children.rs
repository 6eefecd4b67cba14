//! The processes that the harness started: their start, their output, their end.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::signal::SigSet;
use settime32_abi::frame::{Exit, Reply, Stream};

use crate::port::{PIPE_SIZE, Port};

/// From this size on, moving pages costs less than copying them twice.
const SPLICE_MIN_LEN: usize = 16 << 10;

nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);

/// What a `Spawn` asks for.
pub(crate) struct Order {
    pub(crate) id: u32,
    pub(crate) argv: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) uid: Option<u32>,
}

/// A process that was started and whose end was not reported yet.
pub(crate) struct Child {
    pub(crate) id: u32,
    pub(crate) pid: i32,
    pub(crate) outputs: Vec<Output>,
}

/// The reading end of a pipe that a process writes to.
pub(crate) struct Output {
    id: u32,
    stream: Stream,
    pipe: File,
}

impl Child {
    /// Starts a process.
    pub(crate) fn start(order: Order) -> Result<Self> {
        let Order { id, argv, env, stdin, uid } = order;
        let Some((program, arguments)) = argv.split_first() else { bail!("failed to start process {id}: its argv is empty") };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir("/");
        for variable in &env {
            let (name, value) = variable.split_once('=').with_context(|| format!("environment {variable:?} is not NAME=value"))?;
            command.env(name, value);
        }
        if let Some(uid) = uid {
            // The standard library also drops the supplementary groups, in the right order.
            command.uid(uid).gid(uid);
        }
        command.stdin(stdin_of(&stdin)?).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: sigprocmask is async-signal-safe, and nothing is allocated.
        unsafe { command.pre_exec(|| Ok(SigSet::all().thread_unblock()?)) };
        ensure!(program.starts_with('/'), "failed to start process {id}: the path {program:?} is not absolute");
        let mut child = command.spawn().with_context(|| format!("failed to start process {id}, {program}"))?;
        let stdout = child.stdout.take().map(|pipe| Output::new(id, Stream::Stdout, pipe.into()));
        let stderr = child.stderr.take().map(|pipe| Output::new(id, Stream::Stderr, pipe.into()));
        let outputs = [stdout, stderr].into_iter().flatten().collect();
        Ok(Self { id, pid: child.id().cast_signed(), outputs })
    }

    /// Sends what the process has written and not closed yet, then how it ended.
    ///
    /// All that it wrote is in the pipes by now. They are not read to their end, which never comes while a
    /// process that it left behind keeps them open.
    pub(crate) fn finish(mut self, status: Exit, port: &mut Port) -> Result<()> {
        for output in &mut self.outputs {
            output.relay(port)?;
        }
        port.send(&Reply::Exited { id: self.id, status })
    }
}

impl Output {
    fn new(id: u32, stream: Stream, pipe: OwnedFd) -> Self {
        // A smaller pipe only costs time, so that a refusal is no failure.
        let _ = fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE));
        Self { id, stream, pipe: pipe.into() }
    }

    /// Sends what is in the pipe now, as one frame.
    pub(crate) fn relay(&mut self, port: &mut Port) -> Result<()> {
        let empty = Reply::Output { id: self.id, stream: self.stream, content: Vec::new() };
        match self.available()? {
            0 => Ok(()),
            len if len >= SPLICE_MIN_LEN => port.send_piped(&empty, self.pipe.as_fd(), len),
            len => {
                let mut content = [0; SPLICE_MIN_LEN];
                self.pipe.read_exact(&mut content[..len]).context("failed to read a process's output")?;
                port.send_content(&empty, &content[..len])
            }
        }
    }

    /// Bytes in the pipe.
    pub(crate) fn available(&self) -> Result<usize> {
        let mut len = 0;
        // SAFETY: FIONREAD writes one int, to `len`.
        unsafe { fionread(self.pipe.as_raw_fd(), &raw mut len) }.context("failed to ask how much a pipe holds")?;
        Ok(usize::try_from(len)?)
    }
}

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

/// A file in memory, since a pipe would have to be fed while the process runs.
fn stdin_of(content: &[u8]) -> Result<Stdio> {
    if content.is_empty() {
        return Ok(Stdio::null());
    }
    let mut file = File::from(memfd_create("stdin", MFdFlags::MFD_CLOEXEC).context("failed to make a file for stdin")?);
    file.write_all(content).and_then(|()| file.rewind()).context("failed to fill the file for stdin")?;
    Ok(file.into())
}

/// A process that has ended and how, if there is one; PID 1 also gets those whose parents are gone.
pub(crate) fn reap() -> Result<Option<(i32, Exit)>> {
    let mut status = 0;
    // SAFETY: waitpid writes one int, to `status`. nix's own cannot name real-time signals, and would lose
    // the process that one of them ended.
    match Errno::result(unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) }) {
        Ok(0) | Err(Errno::ECHILD) => Ok(None),
        Ok(pid) => Ok(Some((pid, exit(ExitStatus::from_raw(status))))),
        Err(errno) => Err(errno).context("failed to wait for processes"),
    }
}

fn exit(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => unreachable!("waitpid was not asked for stopped processes"),
    }
}
