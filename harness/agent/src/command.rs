//! Becomes a command that another program of the guest runs, with output of its own instead of that
//! program's.

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{ErrorKind, IsTerminal};
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use nix::unistd::{close, dup2_stderr, dup2_stdin, dup2_stdout};
use settime32_abi::frame::{COMMAND_STDERR, COMMAND_STDOUT};

use crate::terminal;

/// As shells have it.
const NOT_FOUND: i32 = 127;
const NOT_EXECUTABLE: i32 = 126;

/// Arguments: user id, program, its arguments. Does not return when all goes well.
pub(crate) fn run(mut arguments: impl Iterator<Item = OsString>) -> Result<Infallible> {
    let uid = arguments.next().context("failed to become a command: no user id")?;
    let uid: u32 = uid
        .to_str()
        .and_then(|uid| uid.parse().ok())
        .context("failed to become a command: its user id is no number")?;
    let program = arguments.next().context("failed to become a command: no program")?;
    take_output()?;
    let mut command = Command::new(&program);
    if uid != 0 {
        command.uid(uid).gid(uid);
    }
    let error = command.args(arguments).exec();
    eprintln!("settime32-agent: failed to execute {}: {error}", program.display());
    std::process::exit(if error.kind() == ErrorKind::NotFound {
        NOT_FOUND
    } else {
        NOT_EXECUTABLE
    });
}

/// Makes the pipes or the terminal that the agent made for the command its standard output and
/// standard error.
fn take_output() -> Result<()> {
    // SAFETY: the agent opened both in this process before it started (`Spawn::command`), and
    // nothing else owns them.
    let [stdout, stderr] = [COMMAND_STDOUT, COMMAND_STDERR]
        .map(|number| unsafe { std::os::fd::BorrowedFd::borrow_raw(number) });
    if stdout.is_terminal() {
        terminal::take(stdout)
            .and_then(|()| dup2_stdin(stdout))
            .context("failed to take over the command's terminal")?;
    }
    dup2_stdout(stdout)
        .and_then(|()| dup2_stderr(stderr))
        .context("failed to take over the command's output; was it made?")?;
    // What is closed here would otherwise be open in the command.
    close(COMMAND_STDOUT)
        .and_then(|()| close(COMMAND_STDERR))
        .context("failed to close the command's pipes")
}
