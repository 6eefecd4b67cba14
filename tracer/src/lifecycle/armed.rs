//! What the kernel made of a setting, seen as the call that made it returns.

use settime32_abi::lifecycle::TimerId;

/// A timer as the kernel holds it right after it was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Armed {
    /// `CLOCK_MONOTONIC` at the return of `do_timerfd_settime`, nanoseconds.
    pub ns: u64,
    /// The timer.
    pub timer: TimerId,
    /// The timer's clock, of `include/uapi/linux/time.h`.
    pub clockid: i32,
    /// When it is due, nanoseconds of the clock that the kernel waits by: what a program in a time
    /// namespace asked for is converted, and what was relative is not any more (`timerfd_setup`,
    /// `fs/timerfd.c`). Meaningless where it was disarmed.
    pub expires_ns: i64,
    /// That clock less `CLOCK_MONOTONIC`, as the kernel had it then.
    pub clock_offset_ns: i64,
    /// `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`, as the kernel had it then.
    pub suspended_ns: u64,
}
