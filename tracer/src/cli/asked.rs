//! The names of events on the command line.

use clap::ValueEnum;
use settime32_abi::lifecycle::Kind;

/// What is reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Asked {
    /// The call itself.
    #[value(name = "timerfd_settime32")]
    TimerfdSettime32,
    /// Timers as they are made.
    TimerfdCreate,
    /// What is left of a timer, asked for by 32-bit times (i386 326).
    #[value(name = "timerfd_gettime32")]
    TimerfdGettime32,
    /// The same call with 64-bit times (x86-64 286, i386 411).
    TimerfdSettime,
    /// What is left of a timer, asked for by 64-bit times (x86-64 287, i386 410).
    TimerfdGettime,
    /// POSIX timers, set by 32-bit times (i386 260).
    #[value(name = "timer_settime32")]
    TimerSettime32,
    /// What is left of a POSIX timer, asked for by 32-bit times (i386 261).
    #[value(name = "timer_gettime32")]
    TimerGettime32,
    /// Timers as they expire, or are cancelled because their clock was set.
    Expiry,
    /// Threads that are told of a timer by read, poll, select, or epoll_wait.
    Wakeup,
    /// Timers as their last descriptor is closed.
    Release,
    /// All of these.
    All,
}

impl Asked {
    /// What it stands for beside the call itself.
    pub const fn kinds(self) -> &'static [Kind] {
        match self {
            Self::TimerfdSettime32 => &[],
            Self::TimerfdCreate => &[Kind::TimerfdCreate],
            Self::TimerfdGettime32 => &[Kind::TimerfdGettime32],
            Self::TimerfdSettime => &[Kind::TimerfdSettime],
            Self::TimerfdGettime => &[Kind::TimerfdGettime],
            Self::TimerSettime32 => &[Kind::TimerSettime32],
            Self::TimerGettime32 => &[Kind::TimerGettime32],
            Self::Expiry => &[Kind::Expiry],
            Self::Wakeup => &[Kind::Wakeup],
            Self::Release => &[Kind::Release],
            Self::All => &Kind::ALL,
        }
    }
}
