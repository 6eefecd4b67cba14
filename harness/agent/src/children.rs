//! The processes that the harness started: their start, their output, their end.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{ErrorKind, Seek, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use settime32_abi::frame::{Exit, Reply, Spawn, Stdin, Stream};

use crate::output::Output;
use crate::port::Port;
use crate::terminal::Terminal;

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
