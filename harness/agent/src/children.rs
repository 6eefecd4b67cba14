//! The processes that the harness started: their start, their output, their end.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::pipe2;
use settime32_abi::frame::{COMMAND_STDERR, COMMAND_STDOUT, Exit, Reply, Spawn, Stdin, Stream};

use crate::port::{PIPE_SIZE, Port};
use crate::terminal::Terminal;

/// From this size on, moving pages costs less than copying them twice.
const SPLICE_MIN_LEN: usize = 16 << 10;

/// Reads of a terminal's output in one go, so that others get their turn.
const TERMINAL_READS: usize = 64;

nix::ioctl_read_bad!(fionread, libc::FIONREAD, libc::c_int);

/// A process that was started and whose end was not reported yet.
pub(crate) struct Child {
    pub(crate) id: u32,
    pub(crate) pid: i32,
    pub(crate) outputs: Vec<Output>,
    /// What it is still to be given to read.
    pub(crate) input: Input,
    /// The one that it has, or its command.
    pub(crate) terminal: Option<Terminal>,
    /// The harness's name for its command.
    command: Option<u32>,
}

/// The reading end of a pipe, or of a terminal, that a process writes to.
pub(crate) struct Output {
    id: u32,
    stream: Stream,
    pipe: File,
    is_terminal: bool,
}

impl Child {
    /// Starts a process.
    pub(crate) fn start(order: Spawn) -> Result<Self> {
        let Spawn { id, argv, env, cwd, stdin, uid, command: inner, terminal } = order;
        let Some((program, arguments)) = argv.split_first() else {
            bail!("failed to start process {id}: its argv is empty")
        };
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir(&cwd);
        for variable in &env {
            let (name, value) = variable
                .split_once('=')
                .with_context(|| format!("environment {variable:?} is not NAME=value"))?;
            command.env(name, value);
        }
        if let Some(uid) = uid {
            // The standard library also drops the supplementary groups, in the right order.
            command.uid(uid).gid(uid);
        }
        command.stdin(stdin_of(&stdin)?).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut terminal = terminal.map(Terminal::open).transpose()?;
        let more_outputs = match (&terminal, inner) {
            (Some(terminal), inner) => {
                vec![terminal.give(inner.unwrap_or(id), inner.is_some(), &mut command)?]
            }
            (None, Some(inner)) => Output::of_command(inner, &mut command)?.into(),
            (None, None) => Vec::new(),
        };
        // SAFETY: only async-signal-safe system calls are made, and nothing is allocated.
        unsafe {
            command.pre_exec(|| {
                // Outside of a guest this agent can end before what it started, such as a tracer
                // with its probes.
                set_pdeathsig(Signal::SIGKILL)?;
                Ok(SigSet::all().thread_unblock()?)
            });
        }
        ensure!(
            program.starts_with('/'),
            "failed to start process {id}: the path {program:?} is not absolute"
        );
        let mut child = command
            .spawn()
            .with_context(|| format!("failed to start process {id}, {program}, in {cwd}"))?;
        // Our own ends of the inner pipes would keep them open for ever.
        drop(command);
        terminal.iter_mut().for_each(Terminal::given);
        let stdout = child.stdout.take().map(|pipe| Output::new(id, Stream::Stdout, pipe.into()));
        let stderr = child.stderr.take().map(|pipe| Output::new(id, Stream::Stderr, pipe.into()));
        let outputs = [stdout, stderr].into_iter().flatten().chain(more_outputs).collect();
        let input = match &terminal {
            Some(terminal) => Input { pipe: Some(terminal.writer()?), ..Input::default() },
            None => Input::new(child.stdin.take())?,
        };
        Ok(Self { id, pid: child.id().cast_signed(), outputs, input, terminal, command: inner })
    }

    /// The process of this name: itself, or its command, once that has been started.
    pub(crate) fn pid_of(&self, id: u32) -> Option<i32> {
        if self.id == id {
            Some(self.pid)
        } else {
            self.command.filter(|command| *command == id).and_then(|_| child_of(self.pid))
        }
    }

    /// Sends what the process has written and not closed yet, then how it ended.
    ///
    /// All that it wrote is in the pipes by now. They are not read to their end, which never comes
    /// while a process that it left behind keeps them open.
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
        Self { id, stream, pipe: pipe.into(), is_terminal: false }
    }

    /// All that is written to a terminal, which is opened so that reading never waits.
    pub(crate) fn of_terminal(id: u32, terminal: File) -> Self {
        Self { id, stream: Stream::Stdout, pipe: terminal, is_terminal: true }
    }

    /// The outputs of what `outer` is going to run ([`Spawn::command`]).
    fn of_command(id: u32, outer: &mut Command) -> Result<[Self; 2]> {
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

/// A process's standard input, as far as it is still to come.
#[derive(Default)]
pub(crate) struct Input {
    /// `None` once it is closed, or for input that was whole at the start.
    pipe: Option<File>,
    /// The contents that have come and were not taken, the first of them in part.
    waiting: VecDeque<Vec<u8>>,
    written: usize,
}

impl Input {
    fn new(pipe: Option<ChildStdin>) -> Result<Self> {
        let pipe = pipe.map(|pipe| File::from(OwnedFd::from(pipe)));
        if let Some(pipe) = &pipe {
            fcntl(pipe, FcntlArg::F_SETFL(OFlag::O_WRONLY | OFlag::O_NONBLOCK))
                .context("failed to make a pipe non-blocking")?;
        }
        Ok(Self { pipe, ..Self::default() })
    }

    /// Takes in what came; no bytes are the end. It is written by [`Self::write`].
    pub(crate) fn push(&mut self, content: Vec<u8>) {
        self.waiting.push_back(content);
    }

    /// The pipe, when there is something to write to it.
    pub(crate) fn wants(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().filter(|_| !self.waiting.is_empty()).map(AsFd::as_fd)
    }

    /// Writes what the pipe takes, and gives how many contents are done with. For a process that
    /// reads no more, all are.
    pub(crate) fn write(&mut self) -> u32 {
        let mut done = 0;
        while let Some(content) = self.waiting.front() {
            let left = &content[self.written..];
            match self.pipe.as_mut().map(|pipe| pipe.write(left)) {
                Some(_) if content.is_empty() => self.pipe = None,
                Some(Ok(len)) if len < left.len() => {
                    self.written += len;
                    continue;
                }
                Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                Some(Err(error)) if error.kind() == ErrorKind::Interrupted => continue,
                Some(Err(_)) => self.pipe = None,
                Some(Ok(_)) | None => {}
            }
            self.waiting.pop_front();
            self.written = 0;
            done += 1;
        }
        done
    }
}

/// A child of this process; of several, any.
fn child_of(parent: i32) -> Option<i32> {
    let processes = fs::read_dir("/proc")
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    // proc(5): the name is in parentheses and may hold anything; state and parent follow.
    let parent_of = |pid: &i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse::<i32>().ok()
    };
    processes.into_iter().find(|pid| parent_of(pid) == Some(parent))
}

/// A file in memory, since a pipe would have to be fed while the process runs.
fn stdin_of(stdin: &Stdin) -> Result<Stdio> {
    let content = match stdin {
        Stdin::Follows => return Ok(Stdio::piped()),
        Stdin::Whole(content) if content.is_empty() => return Ok(Stdio::null()),
        Stdin::Whole(content) => content,
    };
    let mut file = File::from(
        memfd_create("stdin", MFdFlags::MFD_CLOEXEC).context("failed to make a file for stdin")?,
    );
    file.write_all(content)
        .and_then(|()| file.rewind())
        .context("failed to fill the file for stdin")?;
    Ok(file.into())
}

/// A process that has ended and how, if there is one; PID 1 also gets those whose parents are gone.
pub(crate) fn reap() -> Result<Option<(i32, Exit)>> {
    let mut status = 0;
    // SAFETY: waitpid writes one int, to `status`. nix's own cannot name real-time signals, and
    // would lose the process that one of them ended.
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
