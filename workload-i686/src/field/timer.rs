//! A timer of this process's own ABI: an i386 process sets it by the call under test.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::libc;
use nix::unistd::read;
use settime32_abi::plan::Clock;
use settime32_abi::timespec::NSEC_PER_SEC;

use crate::process::{checked, machine, read_clock};

/// The call that sets a timer, by its number.
#[cfg(target_arch = "x86")]
pub(super) const NR_SETTIME: u32 = settime32_abi::NR_TIMERFD_SETTIME32;
#[cfg(target_arch = "x86_64")]
pub(super) const NR_SETTIME: u32 = libc::SYS_timerfd_settime as u32;

/// A timer; closed when it is dropped.
pub(super) struct Timer(OwnedFd);

impl Timer {
    pub(super) fn new(clock: Clock) -> Result<Self> {
        // SAFETY: both arguments are plain numbers.
        let fd =
            unsafe { checked(machine::number::TIMERFD_CREATE, [clock.id() as usize, 0, 0, 0]) }
                .context("failed to make a timer")?;
        // SAFETY: the descriptor was made just now.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Sets it to go off in so many nanoseconds.
    pub(super) fn arm(&self, value_ns: i64, interval_ns: i64) -> Result<()> {
        self.set(0, value_ns, interval_ns)
    }

    /// Sets it to go off at this time of its clock.
    pub(super) fn arm_at(&self, at_ns: i64, interval_ns: i64) -> Result<()> {
        self.set(libc::TFD_TIMER_ABSTIME, at_ns, interval_ns)
    }

    #[cfg(target_arch = "x86")]
    fn set(&self, flags: i32, value_ns: i64, interval_ns: i64) -> Result<()> {
        let new = [
            interval_ns / NSEC_PER_SEC,
            interval_ns % NSEC_PER_SEC,
            value_ns / NSEC_PER_SEC,
            value_ns % NSEC_PER_SEC,
        ];
        let new = new.map(|number| number as i32);
        self.set_from(flags, new.as_ptr() as usize)
    }

    #[cfg(target_arch = "x86_64")]
    fn set(&self, flags: i32, value_ns: i64, interval_ns: i64) -> Result<()> {
        let new = [
            interval_ns / NSEC_PER_SEC,
            interval_ns % NSEC_PER_SEC,
            value_ns / NSEC_PER_SEC,
            value_ns % NSEC_PER_SEC,
        ];
        self.set_from(flags, new.as_ptr() as usize)
    }

    /// Sets it to what is at an address.
    pub(super) fn set_from(&self, flags: i32, new: usize) -> Result<()> {
        // SAFETY: the call reads what it can.
        let set = unsafe { checked(NR_SETTIME, [self.fd() as usize, flags as usize, new, 0]) };
        set.map(drop).context("failed to set a timer")
    }

    pub(super) fn fd(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Waits until it goes off, and gives how often it did.
    pub(super) fn read(&self) -> Result<u64> {
        let mut ticks = [0; 8];
        read(&self.0, &mut ticks).context("failed to read a timer")?;
        Ok(u64::from_ne_bytes(ticks))
    }
}

/// The time by a clock, nanoseconds.
pub(super) fn now_ns(clock: Clock) -> Result<i64, Errno> {
    read_clock(clock).map(crate::process::KernelTimespec::as_nanos)
}

pub(super) fn monotonic_ns() -> Result<i64, Errno> {
    now_ns(Clock::Monotonic)
}

/// Who calls, as keys and values.
pub(super) fn me() -> String {
    format!("pid={} tid={}", nix::unistd::getpid(), nix::unistd::gettid())
}
