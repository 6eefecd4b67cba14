//! What can be done to a timer beside the call under test, from its creation to its end.
//!
//! A plan with any of these is one of lifecycles: each of its calls, waits and closings is
//! journalled with the time right before and after it ([`crate::journal::Moment`]), and nothing but
//! what can be journalled so is in it.

use serde::{Deserialize, Serialize};

use super::{Clock, Process};
use crate::number::{i386, x86_64};
use crate::timespec::{Itimerspec64, OldItimerspec32};

/// Places for POSIX timers, which a forked child does not inherit (`copy_signal`, `kernel/fork.c`).
pub const POSIX_TIMERS: usize = 8;

/// `O_NONBLOCK`, which `timerfd_create` takes as `TFD_NONBLOCK`.
pub const TFD_NONBLOCK: i32 = 0o4000;
/// `O_CLOEXEC`, which `timerfd_create` takes as `TFD_CLOEXEC`.
pub const TFD_CLOEXEC: i32 = 0o2_000_000;

/// One thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// `timerfd_create` with any arguments; what was in the slot is closed first. When the kernel
    /// refuses, the slot holds -1.
    Create {
        /// Index below [`super::SLOTS`].
        slot: u8,
        /// The clock's number.
        clockid: i32,
        /// The flags argument.
        flags: i32,
    },
    /// Close the slot's descriptor; the slot is empty then, since the number may soon be another's.
    Close {
        /// Index below [`super::SLOTS`].
        slot: u8,
    },
    /// Set the timer by a call with 64-bit times.
    Settime64 {
        /// Index below [`super::SLOTS`].
        slot: u8,
        /// The flags argument.
        flags: i32,
        /// The new setting.
        new: Itimerspec64,
        /// Whether the old setting is asked for.
        old: bool,
        /// Which of the two calls; not [`Api::Time32`].
        api: Api,
    },
    /// Read the timer's setting back.
    Gettime {
        /// Index below [`super::SLOTS`].
        slot: u8,
        /// By which call.
        api: Api,
    },
    /// `read` of 8 bytes.
    Read {
        /// Index below [`super::SLOTS`].
        slot: u8,
        /// Wait until there is something to read. Only for a timer that will fire, or nothing goes
        /// on.
        blocking: bool,
    },
    /// Wait until one of several timers is readable, or until the time is over.
    Wait {
        /// The slots, a bit each.
        slots: u32,
        /// By which call.
        by: Means,
        /// The longest wait, milliseconds.
        timeout_ms: u16,
    },
    /// Something with a POSIX timer.
    Posix {
        /// Index below [`POSIX_TIMERS`].
        timer: u8,
        /// What.
        act: PosixAct,
    },
}

/// A call by which a timer is set or read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Api {
    /// With 32-bit times, of the i386 table.
    Time32,
    /// With 64-bit times, of the i386 table.
    Time64,
    /// Of the x86-64 table; only in a 64-bit process.
    Native,
}

impl Api {
    /// Number of `timerfd_gettime`.
    pub const fn gettime(self) -> u32 {
        match self {
            Self::Time32 => i386::TIMERFD_GETTIME32,
            Self::Time64 => i386::TIMERFD_GETTIME64,
            Self::Native => x86_64::TIMERFD_GETTIME,
        }
    }

    /// Number of `timerfd_settime`.
    pub const fn settime(self) -> u32 {
        match self {
            Self::Time32 => i386::TIMERFD_SETTIME32,
            Self::Time64 => i386::TIMERFD_SETTIME64,
            Self::Native => x86_64::TIMERFD_SETTIME,
        }
    }
}

/// A call that waits for readable descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Means {
    /// `epoll_wait`, of an instance that is made for this wait.
    Epoll,
    /// `poll`.
    Poll,
    /// `select`.
    Select,
}

/// What is done with a POSIX timer. It gives no signal (`SIGEV_NONE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum PosixAct {
    /// `timer_create`; a timer that is there already is deleted first.
    Create {
        /// No alarm clock.
        clock: Clock,
    },
    /// `timer_settime32`.
    Set {
        /// The flags argument.
        flags: i32,
        /// The new setting.
        new: OldItimerspec32,
        /// Whether the old setting is asked for.
        old: bool,
    },
    /// `timer_gettime32`.
    Get,
    /// `timer_delete`.
    Delete,
}

impl Process {
    /// Number of its own `timerfd_create`.
    pub const fn timerfd_create(self) -> u32 {
        match self {
            Self::I386 => i386::TIMERFD_CREATE,
            Self::Amd64 => x86_64::TIMERFD_CREATE,
        }
    }
}
