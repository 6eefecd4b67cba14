//! What the programs of `--events` hand to the tracer beside [`RawEvent`](crate::event::RawEvent):
//! layouts fixed by `repr(C)`. They share its ring buffer, and none is as long as a `RawEvent`; the
//! word that each begins with tells which it is.

use bytemuck::{Pod, Zeroable};

use crate::event::{COMM_LEN, RawEvent, SHORT_LEN};
use crate::timespec::Itimerspec64;

/// Which related call, and by which of the kernel's wrappers it came.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `timerfd_create`, x86-64 283.
    CreateX64 = 0,
    /// `timerfd_create`, i386 322.
    CreateI386 = 1,
    /// `timerfd_settime`, x86-64 286.
    SettimeX64 = 2,
    /// `timerfd_settime64`, i386 411.
    SettimeI386 = 3,
    /// `timerfd_gettime`, x86-64 287.
    GettimeX64 = 4,
    /// `timerfd_gettime64`, i386 410.
    GettimeI386 = 5,
    /// `timerfd_gettime32`, i386 326.
    Gettime32 = 6,
    /// `timer_settime32`, i386 260.
    PosixSettime32 = 7,
    /// `timer_gettime32`, i386 261.
    PosixGettime32 = 8,
}

impl Call {
    /// All of them, each at the index of its number.
    pub const ALL: [Self; 9] = [
        Self::CreateX64,
        Self::CreateI386,
        Self::SettimeX64,
        Self::SettimeI386,
        Self::GettimeX64,
        Self::GettimeI386,
        Self::Gettime32,
        Self::PosixSettime32,
        Self::PosixGettime32,
    ];

    /// Its number in the table by whose wrapper it came
    /// (`arch/x86/entry/syscalls/syscall_{32,64}.tbl`).
    pub const fn nr(self) -> u32 {
        match self {
            Self::CreateX64 => 283,
            Self::CreateI386 => 322,
            Self::SettimeX64 => 286,
            Self::SettimeI386 => 411,
            Self::GettimeX64 => 287,
            Self::GettimeI386 => 410,
            Self::Gettime32 => 326,
            Self::PosixSettime32 => 260,
            Self::PosixGettime32 => 261,
        }
    }
}

/// Which record it is.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// A [`RawCall`].
    Call = 1,
    /// A [`RawArming`].
    Arming = 2,
    /// A [`RawExpiry`].
    Expiry = 3,
    /// A [`RawCancel`].
    Cancel = 4,
    /// A [`RawWakeup`].
    Wakeup = 5,
    /// A [`RawRelease`].
    Release = 6,
    /// A [`RawClockSet`].
    ClockSet = 7,
    /// A [`RawTicksSet`].
    TicksSet = 8,
    /// A [`RawSwitch`].
    Switch = 9,
}

/// What each record begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Head {
    /// The number of a [`Record`].
    pub record: u32,
    /// CPU that the program ran on; of a call, at its entry.
    pub cpu: u32,
}

/// A timer, among all that there ever were: the kernel gives an address to one after the other.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Pod, Zeroable)]
pub struct Timer {
    /// Address of the kernel's `struct timerfd_ctx`; 0 for none.
    pub address: u64,
    /// `CLOCK_MONOTONIC` in nanoseconds when the timer was made, or met for the first time.
    pub met_ns: u64,
}

impl Timer {
    /// There is none, or it is not certain which.
    pub const NONE: Self = Self { address: 0, met_ns: 0 };

    /// Whether there is none.
    #[inline(always)]
    pub const fn is_none(self) -> bool {
        self.address == 0
    }
}

/// A thread.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Who {
    /// Thread id in the lower half, thread group id in the upper one (`bpf_get_current_pid_tgid`):
    /// of the initial pid namespace.
    pub ids: u64,
    /// Those that are reported, mostly of the tracer's own pid namespace; 0 where the thread has
    /// none there.
    pub own_ids: u64,
    /// Its name, NUL-padded.
    pub comm: [u8; COMM_LEN],
}

/// A timer's clock and when it is due, as the kernel has them.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Due {
    /// When it is due, nanoseconds of its clock.
    pub expires_ns: i64,
    /// Its clock less `CLOCK_MONOTONIC`.
    pub clock_offset_ns: i64,
    /// `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`.
    pub suspended_ns: u64,
    /// Its clock.
    pub clockid: i32,
    /// 1 where the rest holds.
    pub is_known: u32,
}

/// A related call, written to the ring buffer when it returned; the same layout holds one in
/// flight.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawCall {
    /// Which record.
    pub head: Head,
    /// `CLOCK_MONOTONIC` in nanoseconds when the entry program ran.
    pub entry_ns: u64,
    /// The same at the return; meaningless until [`call_flag::RETURNED`].
    pub exit_ns: u64,
    /// The wrapper's return value; meaningless until [`call_flag::RETURNED`].
    pub ret: i64,
    /// The thread, at entry.
    pub who: Who,
    /// The timer that the call came to, where that is certain.
    pub timer: Timer,
    /// The first four arguments, cut to 32 bits where the wrapper cuts them.
    pub args: [u64; 4],
    /// What the kernel copied; meaningless unless [`call_flag::USED`].
    pub used: Itimerspec64,
    /// What it replaced or was asked for; meaningless unless [`call_flag::OLD`].
    pub old: Itimerspec64,
    /// What the kernel had made of a setting at [`Self::armed_ns`]; of other calls, the clock of
    /// `timer` only.
    pub due: Due,
    /// `CLOCK_MONOTONIC` in nanoseconds when the kernel had set the timer; 0 when it has not.
    pub armed_ns: u64,
    /// The number of a [`Call`].
    pub call: u32,
    /// See [`call_flag`].
    pub flags: u32,
    /// The program's own: address of a structure of the kernel's that is being filled.
    pub filled: u64,
}

/// Bits of [`RawCall::flags`].
pub mod call_flag {
    /// `ret` and `exit_ns` hold.
    pub const RETURNED: u32 = 1 << 0;
    /// `used` holds.
    pub const USED: u32 = 1 << 1;
    /// `old` holds.
    pub const OLD: u32 = 1 << 2;
    /// `cs` was `__USER_CS` (0x33): a 64-bit process called.
    pub const CALLER_64BIT: u32 = 1 << 3;
    /// The return of this call was never seen.
    pub const RESULT_LOST: u32 = 1 << 4;
}

/// When something happened to which timer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Moment {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub ns: u64,
    /// The timer.
    pub timer: Timer,
}

/// A timer was cancelled.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawCancel {
    /// Which record.
    pub head: Head,
    /// When, and which timer.
    pub moment: Moment,
}

/// A call of `timerfd_settime32` set this timer: written before the [`RawEvent`] of that call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawArming {
    /// Which record.
    pub head: Head,
    /// When the kernel had set the timer.
    pub moment: Moment,
    /// As in [`Who::ids`].
    pub ids: u64,
    /// What the kernel made of the setting.
    pub due: Due,
}

/// The last descriptor is closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawRelease {
    /// Which record.
    pub head: Head,
    /// When that began, and which timer. Nothing of that timer comes after this record.
    pub moment: Moment,
    /// The thread.
    pub who: Who,
}

/// A timer expired.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawExpiry {
    /// Which record.
    pub head: Head,
    /// When the handler ran, and of which timer.
    pub moment: Moment,
    /// When it was due.
    pub due: Due,
    /// 1 when it was fired by the call that armed it, and not by the handler.
    pub is_inline: u64,
}

/// A thread was told of a timer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawWakeup {
    /// Which record.
    pub head: Head,
    /// When, and of which timer.
    pub moment: Moment,
    /// The thread.
    pub who: Who,
    /// When the read began; 0 where it is none, or its begin was not seen.
    pub entry_ns: u64,
    /// The read's result.
    pub ret: i64,
    /// What was read; meaningless unless [`wakeup_flag::TICKS`].
    pub ticks: u64,
    /// The number of a [`By`].
    pub by: u32,
    /// See [`wakeup_flag`].
    pub flags: u32,
}

/// Bits of [`RawWakeup::flags`].
pub mod wakeup_flag {
    /// The timer's own read.
    pub const READ: u32 = 1 << 0;
    /// `ticks` holds.
    pub const TICKS: u32 = 1 << 1;
}

/// The kernel has told all timers that a clock was set.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawClockSet {
    /// Which record.
    pub head: Head,
    /// `CLOCK_MONOTONIC` in nanoseconds when it had.
    pub ns: u64,
}

/// `TFD_IOC_SET_TICKS` put expiries there that were none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawTicksSet {
    /// Which record.
    pub head: Head,
    /// When it had, and to which timer.
    pub moment: Moment,
    /// As in [`Who::ids`].
    pub ids: u64,
}

/// Somebody wrote to the switch of ftrace or of kprobes, which takes the effect from programs; of
/// no timer's life, and always there.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawSwitch {
    /// Which record.
    pub head: Head,
}

impl RawSwitch {
    /// Whether a record is one.
    pub fn is(record: &[u8]) -> bool {
        bytemuck::try_pod_read_unaligned(record)
            .is_ok_and(|switch: Self| switch.head.record == Record::Switch as u32)
    }
}

/// In which call a thread was told of a timer.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "wire",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum By {
    /// `read`.
    Read = 0,
    /// `readv`.
    Readv = 1,
    /// `preadv`.
    Preadv = 2,
    /// `preadv2`.
    Preadv2 = 3,
    /// `poll`.
    Poll = 4,
    /// `ppoll`, of either width of time.
    Ppoll = 5,
    /// `select`, old or new.
    Select = 6,
    /// `pselect6`, of either width of time.
    Pselect6 = 7,
    /// `epoll_wait`.
    EpollWait = 8,
    /// `epoll_pwait`.
    EpollPwait = 9,
    /// `epoll_pwait2`.
    EpollPwait2 = 10,
    /// A request to a ring, whichever thread the kernel did it in.
    IoUring = 11,
}

impl By {
    /// All of them, each at the index of its number.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Readv,
        Self::Preadv,
        Self::Preadv2,
        Self::Poll,
        Self::Ppoll,
        Self::Select,
        Self::Pselect6,
        Self::EpollWait,
        Self::EpollPwait,
        Self::EpollPwait2,
        Self::IoUring,
    ];

    /// By a call's number (`arch/x86/entry/syscalls/syscall_{32,64}.tbl`); `None` when it is none
    /// of these.
    #[inline(always)]
    pub const fn of(nr: u32, is_i386: bool) -> Option<Self> {
        /// Calls of the x32 ABI have this bit beside the number.
        const X32: u32 = 1 << 30;
        Some(match (is_i386, nr & !X32) {
            (true, 3) | (false, 0) => Self::Read,
            (true, 145) | (false, 19 | 515) => Self::Readv,
            (true, 333) | (false, 295 | 534) => Self::Preadv,
            (true, 378) | (false, 327 | 546) => Self::Preadv2,
            // With `restart_syscall`, which goes on with a `poll` that was stopped
            // (`do_restart_poll`, `fs/select.c`).
            (true, 168 | 0) | (false, 7 | 219) => Self::Poll,
            (true, 309 | 414) | (false, 271) => Self::Ppoll,
            (true, 82 | 142) | (false, 23) => Self::Select,
            (true, 308 | 413) | (false, 270) => Self::Pselect6,
            (true, 256) | (false, 232) => Self::EpollWait,
            (true, 319) | (false, 281) => Self::EpollPwait,
            (_, 441) => Self::EpollPwait2,
            (_, 426) => Self::IoUring,
            _ => return None,
        })
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Readv => "readv",
            Self::Preadv => "preadv",
            Self::Preadv2 => "preadv2",
            Self::Poll => "poll",
            Self::Ppoll => "ppoll",
            Self::Select => "select",
            Self::Pselect6 => "pselect6",
            Self::EpollWait => "epoll_wait",
            Self::EpollPwait => "epoll_pwait",
            Self::EpollPwait2 => "epoll_pwait2",
            Self::IoUring => "io_uring",
        }
    }
}

/// What a thread is doing inside of the kernel with a timer: kept between a function's entry and
/// its return.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Inside {
    /// `CLOCK_MONOTONIC` at entry, nanoseconds.
    pub entry_ns: u64,
    /// As in [`Who::own_ids`].
    pub own_ids: u64,
    /// Address of the `struct file`; 0 when there is none.
    pub file: u64,
    /// The file's timer, as far as it is known at entry to be one.
    pub timer: Timer,
    /// An address: of a structure of the kernel's that the function fills or has filled, or the
    /// reader's memory (see [`Self::pieces`]); or the events that a poll asks for, or a command.
    pub value: u64,
    /// Of the reader's memory, how much is filled already.
    pub skipped: u64,
    /// How the reader's memory is told by `value`: see [`pieces`].
    pub pieces: u32,
    /// Descriptor, where the function takes one.
    pub fd: i32,
    /// The number of a [`Function`].
    pub function: u32,
    /// 1 when the read is of a ring's request, and not of the call that the thread is in.
    pub is_request: u32,
}

/// What [`Inside::value`] is of a read.
pub mod pieces {
    /// Nothing that is known.
    pub const UNKNOWN: u32 = 0;
    /// The reader's memory itself.
    pub const ONE: u32 = 1;
    /// An array of `struct iovec`.
    pub const SEVERAL: u32 = 2;
}

/// Functions that a thread is [`Inside`] of.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// `do_timerfd_settime`.
    Settime = 1,
    /// `do_timerfd_gettime`.
    Gettime = 2,
    /// `timerfd_read` or `timerfd_read_iter`.
    Read = 3,
    /// `timerfd_poll`.
    Poll = 4,
    /// `timerfd_clock_was_set`.
    ClockWasSet = 5,
    /// `timerfd_release`.
    Release = 6,
    /// `timerfd_ioctl`.
    Ioctl = 7,
}

/// No record is taken for a [`RawEvent`], and each is in whole words.
const _: () = {
    let lengths = [
        size_of::<RawCall>(),
        size_of::<RawCancel>(),
        size_of::<RawArming>(),
        size_of::<RawRelease>(),
        size_of::<RawExpiry>(),
        size_of::<RawWakeup>(),
        size_of::<RawClockSet>(),
        size_of::<RawTicksSet>(),
        size_of::<RawSwitch>(),
    ];
    let mut at = 0;
    while at < lengths.len() {
        assert!(
            lengths[at].is_multiple_of(8)
                && lengths[at] != size_of::<RawEvent>()
                && lengths[at] != SHORT_LEN
        );
        at += 1;
    }
};
