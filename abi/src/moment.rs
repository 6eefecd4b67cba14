//! What the programs of `--events` hand to the tracer beside [`RawEvent`](crate::event::RawEvent): layouts fixed by
//! `repr(C)`. They share its ring buffer, and the length of a record tells which it is.

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

    /// Its number in the table by whose wrapper it came (`arch/x86/entry/syscalls/syscall_{32,64}.tbl`).
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

/// A related call, written to the ring buffer when it returned; the same layout holds one in flight.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawCall {
    /// `CLOCK_MONOTONIC` in nanoseconds when the entry program ran.
    pub entry_ns: u64,
    /// The same at the return; meaningless until [`call_flag::RETURNED`].
    pub exit_ns: u64,
    /// The wrapper's return value; meaningless until [`call_flag::RETURNED`].
    pub ret: i64,
    /// Thread id in the lower half, thread group id in the upper one (`bpf_get_current_pid_tgid`).
    pub ids: u64,
    /// Address of the kernel's `struct timerfd_ctx`; 0 when the call came to none, or it is not certain to which.
    pub timer: u64,
    /// The first four arguments, cut to 32 bits where the wrapper cuts them.
    pub args: [u64; 4],
    /// What the kernel copied; meaningless unless [`call_flag::USED`].
    pub used: Itimerspec64,
    /// What it replaced or was asked for; meaningless unless [`call_flag::OLD`].
    pub old: Itimerspec64,
    /// Name of the thread at entry, NUL-padded.
    pub comm: [u8; COMM_LEN],
    /// The number of a [`Call`].
    pub call: u32,
    /// See [`call_flag`].
    pub flags: u32,
    /// CPU of the entry.
    pub cpu: u32,
    /// The clock of `timer`; meaningless where there is none.
    pub clockid: i32,
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

/// When and where something happened to which timer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Moment {
    /// `CLOCK_MONOTONIC` in nanoseconds.
    pub ns: u64,
    /// Address of the kernel's `struct timerfd_ctx`.
    pub timer: u64,
}

/// A timer was cancelled.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawCancel {
    /// When, and which timer.
    pub moment: Moment,
    /// CPU.
    pub cpu: u64,
}

/// A call came to this timer by its descriptor: written before the [`RawEvent`] of that call.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawArming {
    /// When the kernel had set the timer.
    pub moment: Moment,
    /// As in [`RawCall::ids`].
    pub ids: u64,
    /// The timer's clock.
    pub clockid: i32,
    /// Always 0.
    pub zero: u32,
}

/// The last descriptor is closed.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawRelease {
    /// When, and which timer.
    pub moment: Moment,
    /// As in [`RawCall::ids`].
    pub ids: u64,
    /// Name of the thread.
    pub comm: [u8; COMM_LEN],
    /// CPU.
    pub cpu: u64,
}

/// A timer expired.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawExpiry {
    /// When the handler ran, and of which timer.
    pub moment: Moment,
    /// When it was due, in nanoseconds of its clock.
    pub expires_ns: i64,
    /// Its clock less `CLOCK_MONOTONIC`, as the kernel had it.
    pub clock_offset_ns: i64,
    /// `CLOCK_BOOTTIME` less `CLOCK_MONOTONIC`, as the kernel had it.
    pub suspended_ns: u64,
    /// Its clock.
    pub clockid: i32,
    /// CPU.
    pub cpu: u32,
    /// 1 when it was fired by the call that armed it, and not by the handler.
    pub is_inline: u64,
}

/// A thread was told of a timer.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct RawWakeup {
    /// When, and of which timer.
    pub moment: Moment,
    /// As in [`RawCall::ids`].
    pub ids: u64,
    /// Name of the thread.
    pub comm: [u8; COMM_LEN],
    /// When the read began; 0 where it is none.
    pub entry_ns: u64,
    /// The read's result.
    pub ret: i64,
    /// What was read; meaningless unless [`wakeup_flag::TICKS`].
    pub ticks: u64,
    /// Number of the system call that the thread is in; of the i386 table with [`wakeup_flag::I386`]. Meaningless for a read.
    pub nr: u32,
    /// See [`wakeup_flag`].
    pub flags: u16,
    /// CPU; the kernel knows of 8,192 at most.
    pub cpu: u16,
}

/// Bits of [`RawWakeup::flags`].
pub mod wakeup_flag {
    /// The timer's own read.
    pub const READ: u16 = 1 << 0;
    /// `ticks` holds.
    pub const TICKS: u16 = 1 << 1;
    /// The call came by the i386 table.
    pub const I386: u16 = 1 << 2;
}

/// What a thread is doing inside of the kernel with a timer: kept between a function's entry and its return.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Pod, Zeroable)]
pub struct Inside {
    /// `CLOCK_MONOTONIC` at entry, nanoseconds.
    pub entry_ns: u64,
    /// Address of the timer's `struct file`; 0 when there is none.
    pub file: u64,
    /// An address: of a structure of the kernel's that the function fills or has filled, or the reader's buffer; or the events that a
    /// poll asks for.
    pub value: u64,
    /// Descriptor, where the function takes one.
    pub fd: i32,
    /// The number of a [`Function`].
    pub function: u32,
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
}

/// The records' lengths, which tell them apart.
pub const LENGTHS: [usize; 8] = [
    size_of::<RawEvent>(),
    SHORT_LEN,
    size_of::<RawCall>(),
    size_of::<RawCancel>(),
    size_of::<RawArming>(),
    size_of::<RawRelease>(),
    size_of::<RawExpiry>(),
    size_of::<RawWakeup>(),
];

const _: () = {
    let mut at = 0;
    while at < LENGTHS.len() {
        assert!(LENGTHS[at].is_multiple_of(8));
        let mut other = at + 1;
        while other < LENGTHS.len() {
            assert!(LENGTHS[at] != LENGTHS[other]);
            other += 1;
        }
        at += 1;
    }
};
