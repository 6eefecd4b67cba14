//! One call of `timerfd_settime32` by `int 0x80`, made by a child of our own, from which the probes learn where that way
//! into the kernel returns to. A child, because a kernel whose 32-bit entry is switched off kills who tries it.

use std::arch::asm;
use std::fs::File;
use std::io::{Read, Write};

use anyhow::{Context, Result};
use nix::fcntl::OFlag;
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork, pipe2};
use settime32_abi::NR_TIMERFD_SETTIME32;

/// A child that waits to be told. Dropped untold, it ends without the call.
#[derive(Debug)]
pub struct OwnCall {
    pid: Pid,
    gate: Option<File>,
}

impl OwnCall {
    /// Starts the child.
    pub fn prepare() -> Result<Self> {
        let (gate_out, gate_in) = pipe2(OFlag::O_CLOEXEC).context("failed to make a pipe")?;
        // SAFETY: this process has one thread, so the child can do whatever the parent could.
        match unsafe { fork() }.context("failed to fork")? {
            ForkResult::Child => {
                drop(gate_in);
                wait_and_call(File::from(gate_out))
            }
            ForkResult::Parent { child } => Ok(Self { pid: child, gate: Some(gate_in.into()) }),
        }
    }

    /// Its thread's id.
    pub fn tid(&self) -> u32 {
        self.pid.as_raw().cast_unsigned()
    }

    /// Has the call made, and waits until it was.
    pub fn make(mut self) {
        if let Some(mut gate) = self.gate.take() {
            // A child that is gone makes no call, and the entry path then stays unknown.
            _ = gate.write_all(&[1]);
        }
    }
}

impl Drop for OwnCall {
    fn drop(&mut self) {
        self.gate = None;
        // However it ended, there is nothing more to do about it.
        _ = waitpid(self.pid, None);
    }
}

fn wait_and_call(mut gate: File) -> ! {
    if gate.read_exact(&mut [0]).is_ok() {
        call();
    }
    // SAFETY: it does not return, and nothing of the parent's is to be flushed or undone.
    unsafe { libc::_exit(0) }
}

/// No descriptor and no structure: the kernel refuses it at once (EFAULT).
fn call() {
    // SAFETY: the call takes no memory. LLVM keeps rbx for itself; the upper registers are lost on kernels before 4.17.
    unsafe {
        asm!(
            "xchg {bx}, rbx",
            "int 0x80",
            "xchg {bx}, rbx",
            bx = inout(reg) -1_i64 => _,
            inlateout("rax") u64::from(NR_TIMERFD_SETTIME32) => _,
            in("rcx") 0_u64,
            in("rdx") 0_u64,
            in("rsi") 0_u64,
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the call goes cannot be seen here; a guest shows that.
    #[test]
    fn the_child_ends_told_or_not() {
        OwnCall::prepare().unwrap().make();
        let untold = OwnCall::prepare().unwrap();
        let pid = untold.pid;
        drop(untold);
        assert!(waitpid(pid, None).is_err(), "it was waited for");
    }
}
