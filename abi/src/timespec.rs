//! The i386 time structures of `include/vdso/time32.h` and `include/linux/time32.h`, and the
//! kernel's own of `include/linux/time64.h`, into which it turns them.

use bytemuck::{Pod, Zeroable};

/// `struct old_timespec32`: 8 bytes, two signed 32-bit numbers.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct OldTimespec32 {
    /// Seconds.
    pub tv_sec: i32,
    /// Nanoseconds; the kernel accepts 0..=999,999,999.
    pub tv_nsec: i32,
}

/// `struct old_itimerspec32`: 16 bytes, what `utmr` and `otmr` point to.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct OldItimerspec32 {
    /// Period after the first expiry; zero for a one-shot timer.
    pub it_interval: OldTimespec32,
    /// Time of the first expiry; zero disarms.
    pub it_value: OldTimespec32,
}

/// `struct timespec64`: 16 bytes, how the kernel itself keeps a time.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Timespec64 {
    /// Seconds.
    pub tv_sec: i64,
    /// Nanoseconds.
    pub tv_nsec: i64,
}

/// `struct itimerspec64`: 32 bytes, what `do_timerfd_settime` (`fs/timerfd.c`) takes and gives.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
#[cfg_attr(feature = "wire", derive(serde::Serialize, serde::Deserialize))]
pub struct Itimerspec64 {
    /// Period after the first expiry; zero for a one-shot timer.
    pub it_interval: Timespec64,
    /// Time of the first expiry; zero disarms.
    pub it_value: Timespec64,
}

/// Bytes in an [`OldItimerspec32`], as the kernel copies them.
pub const ITIMERSPEC32_SIZE: usize = 16;

const _: () = assert!(size_of::<OldTimespec32>() == 8);
const _: () = assert!(size_of::<OldItimerspec32>() == ITIMERSPEC32_SIZE);
const _: () = assert!(size_of::<Itimerspec64>() == 32);

/// Nanoseconds in a second.
pub const NSEC_PER_SEC: i64 = 1_000_000_000;

impl OldTimespec32 {
    /// Whether the kernel takes it: `timespec64_valid` in `include/linux/time64.h`.
    pub const fn is_valid(self) -> bool {
        self.tv_sec >= 0 && self.tv_nsec >= 0 && (self.tv_nsec as i64) < NSEC_PER_SEC
    }

    /// The time in nanoseconds; cannot overflow, since both halves are 32 bits wide.
    pub const fn as_nanos(self) -> i64 {
        self.tv_sec as i64 * NSEC_PER_SEC + self.tv_nsec as i64
    }
}

impl OldItimerspec32 {
    /// Whether the kernel takes it: `itimerspec64_valid` in `include/linux/time64.h` looks at both
    /// halves, also when the call would only disarm.
    pub const fn is_valid(self) -> bool {
        self.it_interval.is_valid() && self.it_value.is_valid()
    }
}

impl From<OldTimespec32> for Timespec64 {
    /// As `get_old_timespec32` (`kernel/time/time.c`) does it: both numbers are sign-extended.
    fn from(time: OldTimespec32) -> Self {
        Self { tv_sec: time.tv_sec.into(), tv_nsec: time.tv_nsec.into() }
    }
}

impl From<OldItimerspec32> for Itimerspec64 {
    /// As `get_old_itimerspec32` (`kernel/time/time.c`) does it.
    fn from(times: OldItimerspec32) -> Self {
        Self { it_interval: times.it_interval.into(), it_value: times.it_value.into() }
    }
}

impl Timespec64 {
    /// As `put_old_timespec32` (`kernel/time/time.c`) does it: both numbers lose their upper
    /// halves.
    pub const fn cut(self) -> OldTimespec32 {
        OldTimespec32 { tv_sec: self.tv_sec as i32, tv_nsec: self.tv_nsec as i32 }
    }
}

impl Itimerspec64 {
    /// As `put_old_itimerspec32` (`kernel/time/time.c`) does it.
    pub const fn cut(self) -> OldItimerspec32 {
        OldItimerspec32 { it_interval: self.it_interval.cut(), it_value: self.it_value.cut() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_keeps_the_sign_and_cutting_keeps_the_low_halves() {
        let narrow = OldTimespec32 { tv_sec: -1, tv_nsec: i32::MIN };
        let wide = Timespec64::from(narrow);
        assert_eq!(wide, Timespec64 { tv_sec: -1, tv_nsec: -2_147_483_648 });
        assert_eq!(wide.cut(), narrow);
        let most = Itimerspec64 {
            it_interval: Timespec64 { tv_sec: 9_223_372_036, tv_nsec: 854_775_807 },
            it_value: wide,
        };
        assert_eq!(
            most.cut().it_interval,
            OldTimespec32 { tv_sec: 633_437_444, tv_nsec: 854_775_807 },
            "KTIME_MAX"
        );
        assert_eq!(most.cut().it_value, narrow);
        assert_ne!(Itimerspec64::from(most.cut()), most);
    }

    #[test]
    fn validity_ends_at_a_billion_nanoseconds() {
        let of = |tv_sec, tv_nsec| OldTimespec32 { tv_sec, tv_nsec }.is_valid();
        assert!(of(0, 0) && of(0, 999_999_999) && of(i32::MAX, 999_999_999));
        assert!(
            !of(0, 1_000_000_000)
                && !of(0, -1)
                && !of(-1, 0)
                && !of(0, i32::MIN)
                && !of(i32::MIN, 0)
        );
    }

    #[test]
    fn nanoseconds_do_not_overflow() {
        let most = OldTimespec32 { tv_sec: i32::MAX, tv_nsec: i32::MAX };
        assert_eq!(most.as_nanos(), 2_147_483_649_147_483_647);
        let least = OldTimespec32 { tv_sec: i32::MIN, tv_nsec: i32::MIN };
        assert_eq!(least.as_nanos(), -2_147_483_650_147_483_648);
    }
}
