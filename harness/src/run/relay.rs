//! Stands between a program in the guest and the standard streams here, until the program has
//! ended. It keeps them apart, and passes on what comes when it comes.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use settime32_abi::frame::{Exit, Reply, Request, Spawn, Stream};
use settime32_vm::connection::Requests;
use signal_hook::consts::SIGPIPE;

use super::tty::{self, Raw};
use super::{Ended, signals};
use crate::boot::{Deadline, Vm};
use crate::failure::{Failure, InfraError, ProgramError};
use crate::output;
use crate::session::kernel_cannot;

/// The agent's name for the program.
pub(super) const PROGRAM: u32 = 1;
/// The agent's name for the tracer.
pub(super) const TRACER: u32 = 2;

/// Bytes of standard input in a frame.
const INPUT_SIZE: usize = 64 << 10;
/// Frames of input that the program has not taken yet: what bounds the memory that they need in the
/// guest.
const INPUTS_AHEAD: usize = 16;

/// In the tracer's last line of each run that was carried out, and in no other.
const OUTCOME: &str = " events reported, ";
const NOTHING_LOST: &str = " events reported, 0 lost";
/// The same, where it saw nothing for a while.
const BLIND: &str = "; blind for ";

/// What the tracer writes.
pub(super) struct Traced {
    /// The file for events; standard error when `None`.
    file: Option<(File, PathBuf)>,
    /// Bytes of an event whose end has not come yet, for they share standard error with the
    /// program.
    partial: Vec<u8>,
    /// What it says beside the events.
    said: Vec<u8>,
}

impl Traced {
    pub(super) fn new(file: Option<(File, PathBuf)>) -> Self {
        Self { file, partial: Vec::new(), said: Vec::new() }
    }

    /// The inner error is that of our own standard error.
    fn events(&mut self, content: &[u8]) -> Result<io::Result<()>, InfraError> {
        if let Some((file, path)) = &mut self.file {
            return file
                .write_all(content)
                .map(Ok)
                .map_err(InfraError::file("write events to", path.as_path()));
        }
        self.partial.extend_from_slice(content);
        let whole = self.partial.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let written = to_stderr(&self.partial[..whole]);
        self.partial.drain(..whole);
        Ok(written)
    }

    fn says(&mut self, content: &[u8]) {
        if self.file.is_none() {
            _ = to_stderr(content);
        }
        self.said.extend_from_slice(content);
    }

    /// Whether the program was traced to its end. Lost calls are always told.
    fn conclude(&self, status: Exit) -> Result<(), Failure> {
        let said = String::from_utf8_lossy(&self.said);
        _ = to_stderr(&self.partial);
        match said.lines().rfind(|line| line.contains(OUTCOME)) {
            Some(outcome)
                if self.file.is_some()
                    && (!outcome.contains(NOTHING_LOST) || outcome.contains(BLIND)) =>
            {
                _ = to_stderr(format!("{outcome}\n").as_bytes())
            }
            Some(_) => {}
            None => {
                kernel_cannot(status, &said)?;
                let said = format!(": {}", said.trim());
                return Err(ProgramError::Tracer {
                    status,
                    doing: "the program was to be traced",
                    said,
                }
                .into());
            }
        }
        Ok(())
    }
}

/// A guest in which a program runs.
pub(super) struct Relay {
    vm: Vm,
    deadline: Deadline,
    traced: Option<Traced>,
}

impl Relay {
    pub(super) fn new(vm: Vm, deadline: Deadline, traced: Option<Traced>) -> Self {
        Self { vm, deadline, traced }
    }

    /// Starts it and says how it ended.
    pub(super) fn run(mut self, order: Spawn) -> Result<Ended, Failure> {
        let id = order.id;
        let terminal = order.terminal.map(|_| Raw::enter()).transpose()?;
        signals::handle(self.vm.requests(), terminal.as_ref().map(|_| id))
            .map_err(InfraError::file("handle signals for", &order.argv[0]))?;
        self.vm.send(&Request::Spawn(order));
        let taken = feed(id, self.vm.requests());
        loop {
            match self.vm.receive(self.deadline, "the program runs")? {
                Reply::Output { id, stream, content } => {
                    if let Err(error) = self.output(id, stream, &content)? {
                        return closed(error, stream);
                    }
                }
                // The reader of the input may have come to its end.
                Reply::Taken { .. } => drop(taken.send(())),
                Reply::Exited { status, .. } => return self.ended(status),
                Reply::Ready { .. }
                | Reply::Done
                | Reply::File { .. }
                | Reply::Started { .. }
                | Reply::Failed { .. } => {}
            }
        }
    }

    /// The inner error is that of our own standard stream.
    fn output(
        &mut self,
        id: u32,
        stream: Stream,
        content: &[u8],
    ) -> Result<io::Result<()>, InfraError> {
        match (&mut self.traced, stream) {
            (Some(traced), Stream::Stdout) if id == TRACER => traced.events(content),
            (Some(traced), Stream::Stderr) if id == TRACER => {
                traced.says(content);
                Ok(Ok(()))
            }
            (_, Stream::Stdout) => Ok(output::to_stdout(content)),
            (_, Stream::Stderr) => Ok(to_stderr(content)),
        }
    }

    fn ended(self, status: Exit) -> Result<Ended, Failure> {
        if let Some(traced) = &self.traced {
            traced.conclude(status)?;
        }
        Ok(match status {
            Exit::Code(code) => Ended::Code(code as u8),
            Exit::Signal(signal) => Ended::Signal(signal),
        })
    }
}

/// A program that writes to a pipe that nobody reads is ended by the system; the one in the guest
/// ends with it.
fn closed(error: io::Error, stream: Stream) -> Result<Ended, Failure> {
    let name = if stream == Stream::Stdout { "standard output" } else { "standard error" };
    match error.kind() {
        ErrorKind::BrokenPipe => Ok(Ended::Signal(SIGPIPE)),
        _ => Err(InfraError::file("write to", name)(error).into()),
    }
}

fn to_stderr(content: &[u8]) -> io::Result<()> {
    output::to_stderr(&tty::lines(content))
}

/// Passes standard input on, in a thread that ends with it, or with this process. What is given
/// back takes a word for each frame that the program has taken.
fn feed(id: u32, requests: Requests) -> Sender<()> {
    let (taken, room): (Sender<()>, Receiver<()>) = mpsc::channel();
    for _ in 0..INPUTS_AHEAD {
        taken.send(()).expect("the receiver is here");
    }
    thread::spawn(move || {
        let mut buffer = vec![0; INPUT_SIZE];
        while room.recv().is_ok() {
            let len = loop {
                match io::stdin().lock().read(&mut buffer) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    // Input that cannot be read is at its end.
                    read => break read.unwrap_or(0),
                }
            };
            requests.send(&Request::Input { id, content: buffer[..len].to_vec() });
            if len == 0 {
                break;
            }
        }
    });
    taken
}
