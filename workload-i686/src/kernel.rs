//! What the interpreter needs of a kernel.

use nix::errno::Errno;
use settime32_abi::event::COMM_LEN;
use settime32_abi::journal::Clocks;
use settime32_abi::plan::{Clock, Ending, Entry, Means, Other, Silent};

use crate::interpret::Failure;

/// A kernel that a plan is done on: the real one, or one that a test made up.
pub trait Kernel {
    /// Process and thread id of the caller, without asking for them each time.
    fn identity(&self) -> Identity;

    /// Name of the calling thread, NUL-padded (`PR_GET_NAME`).
    fn comm(&self) -> Result<[u8; COMM_LEN], Errno>;

    /// Reads the clocks in the order that [`Clocks`] documents.
    fn clocks(&self) -> Result<Clocks, Errno>;

    /// Opens a descriptor.
    fn open(&mut self, source: Source) -> Result<i32, Errno>;

    /// A number that was open and is closed, and which [`Kernel::open`] never gives; another for
    /// each slot.
    fn closed_number(&mut self, slot: u8) -> Result<i32, Errno>;

    /// Closes a descriptor that [`Kernel::open`] gave.
    fn close(&mut self, fd: i32);

    /// The call under test, with exactly these register values. Gives 0 or a negative errno. Fails
    /// when the call was not made, for want of what its way in takes.
    ///
    /// # Safety
    ///
    /// `otmr` is null, or the kernel may write the 16 bytes there as far as it can: they hold no
    /// Rust value.
    unsafe fn timerfd_settime32(
        &mut self,
        entry: Entry,
        ufd: i32,
        flags: i32,
        utmr: u32,
        otmr: u32,
    ) -> Result<i32, Errno>;

    /// Sets `CLOCK_REALTIME` to the time that it shows, and gives that, nanoseconds.
    fn set_clock(&mut self) -> Result<i64, Errno>;

    /// `CLOCK_MONOTONIC`, nanoseconds.
    fn monotonic_ns(&self) -> Result<i64, Errno>;

    /// A call in a timer's life, with exactly these register values: 0 or more, or a negative
    /// errno.
    ///
    /// # Safety
    ///
    /// What the kernel writes to holds no Rust value.
    unsafe fn of_life(&mut self, door: Door, number: u32, arguments: [usize; 4]) -> i32;

    /// Lets a read of this descriptor wait, or not.
    fn set_blocking(&mut self, fd: i32, blocking: bool) -> Result<(), Errno>;

    /// Waits until one of the descriptors is readable, and says which are, a bit each in their
    /// order; none when the time was over.
    fn wait_any(&mut self, by: Means, fds: &[i32], timeout_ms: u16) -> Result<u32, Errno>;

    /// Puts `CAP_WAKE_ALARM` into the effective capabilities, or takes it out.
    fn allow_wake_alarm(&mut self, allowed: bool) -> Result<(), Errno>;

    /// Keeps the calling thread on one of the CPUs that the process may use, counted round, or lets
    /// it go to any of them.
    fn pin(&mut self, cpu: Option<u8>) -> Result<(), Errno>;

    /// The CPU that the calling thread is kept on, or [`settime32_abi::journal::CPU_UNKNOWN`].
    fn cpu(&self) -> u16;

    /// Has the calling thread on its CPU again, if it is kept on one, after somebody moved it.
    fn return_to_cpu(&mut self) -> Result<(), Errno>;

    /// Makes one of the calls that must go unreported.
    fn silent(&mut self, call: Silent) -> Result<(), Errno>;

    /// Waits until the descriptor is readable or the time is over.
    fn wait_readable(&mut self, fd: i32, timeout_ms: u16) -> Result<(), Errno>;

    /// Does `work` in a forked child, which then ends so, and waits for that. Gives the child's
    /// process id.
    fn in_child(
        &mut self,
        ending: Ending,
        work: impl FnOnce(&mut Self) -> Result<(), Failure>,
    ) -> Result<u32, ChildError>;

    /// Does `work` in so many threads side by side and waits for all; each is given its number,
    /// from 0, and the kernel as it sees it. The first failure is the outcome.
    fn side_by_side(
        &mut self,
        threads: u16,
        work: impl Fn(u16, &mut Self) -> Result<(), Failure> + Sync,
    ) -> Result<(), Failure>;
}

/// A way into the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// `int 0x80`, with a number of the i386 table.
    Int80,
    /// The process's own, with a number of its own table.
    Own,
}

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
}

/// Where a descriptor comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `timerfd_create` with no flags.
    Timer(Clock),
    /// `dup` of this descriptor.
    Dup(i32),
    /// This descriptor, sent through a socket to ourselves (`SCM_RIGHTS`).
    Passed(i32),
    /// `open("/", O_PATH)`.
    Path,
    /// Something that is no timerfd.
    NotATimer(Other),
}

/// Why a forked child's steps were not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChildError {
    /// There is no child, or its end could not be waited for.
    #[error("failed to {action}: {errno}")]
    NoChild {
        /// What could not be done.
        action: &'static str,
        /// Why.
        errno: Errno,
    },
    /// It could not do one of its steps, and has said which on its standard error.
    #[error("the forked child failed with exit code {code}; its own message is above")]
    Failed {
        /// Its exit code.
        code: i32,
    },
    /// It was killed.
    #[error("the forked child was killed by signal {signal}")]
    Killed {
        /// The signal's number.
        signal: i32,
    },
    /// It was to be killed, and exited.
    #[error("the forked child exited where it was to be killed")]
    Survived,
}
