//! Calls under test that the kernel never makes, each in a child of its own: the caller asked, and
//! nothing came of it.

use std::process::exit;

use nix::errno::Errno;
use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use settime32_abi::NR_TIMERFD_SETTIME32;

use crate::i386;

/// What the filter answers with; the call under test never gives it.
const ANSWER: Errno = Errno::EXFULL;

/// The filter answers the call with an errno.
pub(crate) fn by_seccomp() -> Result<(), Errno> {
    let refused = || {
        filter()?;
        // SAFETY: the filter answers it before the kernel looks at any argument.
        let ret = unsafe { i386::syscall(NR_TIMERFD_SETTIME32, [0; 4]) };
        if ret == -(ANSWER as i32) { Ok(()) } else { Err(Errno::EPROTO) }
    };
    match in_child(|| exit(refused().err().map_or(0, |errno| errno as i32)))? {
        WaitStatus::Exited(_, 0) => Ok(()),
        WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
        _ => Err(Errno::ECHILD),
    }
}

/// The stack cannot be read, from which the fast entry takes an argument.
pub(crate) fn for_its_stack() -> Result<(), Errno> {
    // SAFETY: the child is there to die.
    match in_child(|| unsafe { i386::enter_without_stack() })? {
        WaitStatus::Signaled(_, Signal::SIGSEGV, _) => Ok(()),
        _ => Err(Errno::EPROTO),
    }
}

fn in_child(work: impl FnOnce()) -> Result<WaitStatus, Errno> {
    // SAFETY: this process's other threads hold no lock.
    match unsafe { fork() }? {
        ForkResult::Child => {
            work();
            exit(1)
        }
        ForkResult::Parent { child } => waitpid(child, None),
    }
}

/// Has the kernel answer the call under test with [`ANSWER`] from now on (`seccomp(2)`).
fn filter() -> Result<(), Errno> {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut program = [
        // The number of the system call is the first word of `struct seccomp_data`.
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, NR_TIMERFD_SETTIME32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | ANSWER as u32),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: plain numbers, and a filter that the kernel copies.
    unsafe {
        Errno::result(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        Errno::result(libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        ))
        .map(drop)
    }
}
