//! The command to trace: a process that waits for the probes before it becomes the command.

use std::convert::Infallible;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, execvp, fork, pipe2};
use thiserror::Error;

/// The command could not be executed.
#[derive(Debug, Error)]
#[error("failed to execute {}: {}", program.display(), errno.desc())]
pub struct ExecError {
    /// The command's first word.
    pub program: OsString,
    /// What `execve` said.
    pub errno: Errno,
}

impl ExecError {
    /// As shells have it: 127 when there is no such program, else 126.
    pub const fn exit_code(&self) -> u8 {
        if matches!(self.errno, Errno::ENOENT) { 127 } else { 126 }
    }
}

/// A child that waits at the gate, or runs behind it.
#[derive(Debug)]
pub struct GatedCommand {
    program: OsString,
    pid: Pid,
    gate: Option<File>,
    exec_error: File,
}

impl GatedCommand {
    /// Starts a child that waits; `None` for an empty command. It gives up when the gate is dropped
    /// unopened.
    pub fn spawn(command: &[OsString]) -> Result<Option<Self>> {
        let Some(program) = command.first().cloned() else { return Ok(None) };
        let words =
            command.iter().map(|word| CString::new(word.as_bytes())).collect::<Result<Vec<_>, _>>();
        let words = words.context("failed to pass COMMAND on: an argument holds a NUL")?;
        let (gate_end, gate) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        let (exec_error, error_end) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        // SAFETY: this process has only the one thread yet, so the child may do whatever the parent
        // may.
        match unsafe { fork() }.context("failed to fork for COMMAND")? {
            ForkResult::Child => {
                drop(gate);
                drop(exec_error);
                wait_and_execute(gate_end, error_end, &words)
            }
            ForkResult::Parent { child } => Ok(Some(Self {
                program,
                pid: child,
                gate: Some(File::from(gate)),
                exec_error: File::from(exec_error),
            })),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// Opens the gate, and returns once the child has become the command.
    pub fn release(&mut self) -> Result<()> {
        let Some(mut gate) = self.gate.take() else { return Ok(()) };
        gate.write_all(&[0]).context("failed to start COMMAND: its process is gone")?;
        let mut errno = [0; 4];
        // The pipe closes without a word when the child executes.
        match self.exec_error.read_exact(&mut errno) {
            Ok(()) => Err(ExecError {
                program: self.program.clone(),
                errno: Errno::from_raw(i32::from_ne_bytes(errno)),
            }
            .into()),
            Err(_) => Ok(()),
        }
    }

    /// The exit code when the command has ended: its own, or 128 + the signal's number.
    pub fn ended(&mut self) -> Result<Option<u8>> {
        match waitpid(self.pid, Some(WaitPidFlag::WNOHANG)).context("failed to wait for COMMAND")? {
            WaitStatus::Exited(_, code) => Ok(Some(code as u8)),
            WaitStatus::Signaled(_, signal, _) => Ok(Some(128 + signal as u8)),
            _ => Ok(None),
        }
    }
}

/// What the child does; ends in the command or not at all.
fn wait_and_execute(gate: OwnedFd, error_end: OwnedFd, words: &[CString]) -> ! {
    let opened = File::from(gate).read_exact(&mut [0]).is_ok();
    if opened {
        // Rust ignores SIGPIPE, and what is ignored stays so across execve.
        // SAFETY: it sets the default action; no handler is installed.
        _ = unsafe { signal(Signal::SIGPIPE, SigHandler::SigDfl) };
        let Err(errno): Result<Infallible, Errno> = execvp(&words[0], words);
        _ = File::from(error_end).write_all(&(errno as i32).to_ne_bytes());
    }
    // SAFETY: it ends the process without running what the parent registered for its own exit.
    unsafe { libc::_exit(127) }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn gated(words: &[&str]) -> GatedCommand {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        GatedCommand::spawn(&words).unwrap().unwrap()
    }

    fn exit_code(mut command: GatedCommand) -> u8 {
        command.release().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while Instant::now() < deadline {
            if let Some(code) = command.ended().unwrap() {
                return code;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the command did not end");
    }

    #[test]
    fn nothing_runs_before_the_gate_opens() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("ran");
        let mut command = gated(&["touch", mark.to_str().unwrap()]);
        assert_eq!(command.ended().unwrap(), None);
        assert!(!mark.exists());
        assert_eq!(exit_code(command), 0);
        assert!(mark.exists());
    }

    #[test]
    fn exit_codes_and_signals_come_through() {
        assert_eq!(exit_code(gated(&["sh", "-c", "exit 7"])), 7);
        assert_eq!(exit_code(gated(&["sh", "-c", "kill -9 $$"])), 137);
        assert_eq!(
            exit_code(gated(&["sh", "-c", "kill -PIPE $$; exit 1"])),
            141,
            "SIGPIPE has its default action again"
        );
    }

    #[test]
    fn a_command_that_cannot_be_executed_is_named() {
        for (program, code) in [("/nonexistent/prog", 127), ("/etc/passwd", 126)] {
            let error = gated(&[program]).release().unwrap_err();
            let error = error.downcast_ref::<ExecError>().unwrap();
            assert_eq!(error.exit_code(), code);
            assert!(error.to_string().contains(program), "{error}");
        }
    }

    #[test]
    fn a_child_whose_gate_is_dropped_does_not_run() {
        let folder = tempfile::tempdir().unwrap();
        let mark = folder.path().join("ran");
        let mut command = gated(&["touch", mark.to_str().unwrap()]);
        command.gate = None;
        let pid = command.pid;
        assert!(matches!(waitpid(pid, None).unwrap(), WaitStatus::Exited(_, 127)));
        assert!(!mark.exists());
    }
}
