//! How long the machine slept since it came up.

use nix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`, nanoseconds: but for the moment between the two readings.
pub fn suspended_ns() -> u64 {
    let nanos = |clock| clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1_000_000_000 + time.tv_nsec());
    let monotonic = nanos(ClockId::CLOCK_MONOTONIC);
    u64::try_from(nanos(ClockId::CLOCK_BOOTTIME) - monotonic).unwrap_or(0)
}
