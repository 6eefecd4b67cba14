//! A process that traces this one for the time of one call and replaces its arguments at the entry
//! (`ptrace(2)`).

use std::io::{PipeReader, PipeWriter, Read, Write, pipe};
use std::process::exit;

use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, gettid};

use crate::process::machine;

/// Makes `call`, whose arguments a ptracer replaces by these. The caller's process may have other
/// threads, but none that forks or waits for children meanwhile.
pub(crate) fn replacing<T>(arguments: [u32; 4], call: impl FnOnce() -> T) -> Result<T, Errno> {
    let errno = |error: std::io::Error| error.raw_os_error().map_or(Errno::EIO, Errno::from_raw);
    let (mut reader, writer) = pipe().map_err(errno)?;
    let this = gettid();
    // SAFETY: the child uses no lock that another thread may hold: it allocates nothing.
    match unsafe { fork() }? {
        ForkResult::Child => exit(trace(this, arguments, reader, writer).is_err().into()),
        ForkResult::Parent { child } => {
            drop(writer);
            let traced = reader.read_exact(&mut [0]).map_err(errno);
            let made = traced.map(|()| call());
            match waitpid(child, None)? {
                WaitStatus::Exited(_, 0) => made,
                _ => Err(Errno::ECHILD),
            }
        }
    }
}

/// Lets the thread run from stop to stop until it enters the call under test.
fn trace(
    thread: Pid,
    arguments: [u32; 4],
    reader: PipeReader,
    mut writer: PipeWriter,
) -> Result<(), Errno> {
    drop(reader);
    ptrace::seize(thread, Options::PTRACE_O_TRACESYSGOOD)?;
    ptrace::interrupt(thread)?;
    let mut told = false;
    loop {
        let status = waitpid(thread, Some(WaitPidFlag::__WALL))?;
        if matches!(status, WaitStatus::PtraceSyscall(_)) {
            let mut registers = ptrace::getregs(thread)?;
            if machine::enters_settime32(&registers) {
                machine::replace_arguments(&mut registers, arguments);
                ptrace::setregs(thread, registers)?;
                return ptrace::detach(thread, None);
            }
        }
        let signal = match status {
            WaitStatus::Stopped(_, signal) => Some(signal),
            _ => None,
        };
        ptrace::syscall(thread, signal.filter(|signal| *signal != Signal::SIGTRAP))?;
        if !std::mem::replace(&mut told, true) {
            writer.write_all(&[0]).map_err(|_| Errno::EPIPE)?;
        }
    }
}

/// Arguments that nobody else uses, so that the ptracer knows the call by them.
pub(crate) const DECOY: [u32; 4] = [0x5e77_0000, 0x5e77_0001, 0x5e77_0002, 0x5e77_0003];

/// So that the machine's part says of which registers it speaks.
pub(crate) type Registers = user_regs_struct;
