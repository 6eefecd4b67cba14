//! What `settime32-tracer --output json --events …` prints beside
//! [`CallEvent`](crate::output::CallEvent): the calls that are related to `timerfd_settime32`, and
//! what becomes of a timer.
//!
//! As there, each is an object a line, every key is there unless its comment says otherwise, and a
//! fact that is not known is `null`.

use alloc::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};

pub use crate::moment::By;
pub use crate::output::TimerId;
use crate::output::{Abi, nullable_id};
use crate::timespec::Itimerspec64;

/// What can be asked for by `--events` beside `timerfd_settime32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `timerfd_create` of either table: a [`RelatedCall`].
    TimerfdCreate,
    /// `timerfd_gettime32`, i386 326: a [`RelatedCall`].
    #[serde(rename = "timerfd_gettime32")]
    TimerfdGettime32,
    /// `timerfd_settime` with 64-bit times, x86-64 286 or i386 411: a [`RelatedCall`].
    TimerfdSettime,
    /// `timerfd_gettime` with 64-bit times, x86-64 287 or i386 410: a [`RelatedCall`].
    TimerfdGettime,
    /// `timer_settime32`, i386 260: a [`RelatedCall`].
    #[serde(rename = "timer_settime32")]
    TimerSettime32,
    /// `timer_gettime32`, i386 261: a [`RelatedCall`].
    #[serde(rename = "timer_gettime32")]
    TimerGettime32,
    /// An [`Expiry`], or a [`Cancel`].
    Expiry,
    /// A [`Wakeup`].
    Wakeup,
    /// A [`Release`].
    Release,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::TimerfdCreate,
        Self::TimerfdGettime32,
        Self::TimerfdSettime,
        Self::TimerfdGettime,
        Self::TimerSettime32,
        Self::TimerGettime32,
        Self::Expiry,
        Self::Wakeup,
        Self::Release,
    ];

    /// Its name on the command line, which is the `event` of its objects.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimerfdCreate => "timerfd_create",
            Self::TimerfdGettime32 => "timerfd_gettime32",
            Self::TimerfdSettime => "timerfd_settime",
            Self::TimerfdGettime => "timerfd_gettime",
            Self::TimerSettime32 => "timer_settime32",
            Self::TimerGettime32 => "timer_gettime32",
            Self::Expiry => "expiry",
            Self::Wakeup => "wakeup",
            Self::Release => "release",
        }
    }
}

/// One related call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelatedCall {
    /// Name of its [`Kind`]; first on the line.
    pub event: Cow<'static, str>,
    /// `CLOCK_MONOTONIC` at entry, nanoseconds.
    pub entry_ns: u64,
    /// `CLOCK_MONOTONIC` at return, nanoseconds; null while there was none.
    pub exit_ns: Option<u64>,
    /// Process id (thread group id) in the tracer's pid namespace. 0 stands for null: it has none
    /// there.
    #[serde(with = "nullable_id")]
    pub pid: u32,
    /// Thread id in the tracer's pid namespace. 0 as above.
    #[serde(with = "nullable_id")]
    pub tid: u32,
    /// Name of the thread at entry.
    pub comm: Cow<'static, str>,
    /// CPU of the entry.
    pub cpu: u32,
    /// What kind of process called.
    pub abi: Abi,
    /// Number of the call in its table: that of x86-64, or that of i386.
    pub nr: u32,
    /// The timer. Null when the call failed before it came to one, for a POSIX timer (which `pid`
    /// and `timer_id` name: it cannot be passed on), and when another thread put something else at
    /// the descriptor meanwhile.
    pub timer: Option<TimerId>,
    /// Clock of a timer to be created, or that of `timer`; only there where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clockid: Option<i32>,
    /// Descriptor as passed; only in calls that take one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ufd: Option<i32>,
    /// Timer id as passed; only in calls that take one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer_id: Option<i32>,
    /// Flags as passed; only in calls that take some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<i32>,
    /// Address of the new setting, 32 or 64 bits as the call takes it; only there when the call
    /// takes one and it is not null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utmr: Option<u64>,
    /// The new setting as the kernel copied it and went on with; only there when it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utmr_used: Option<Itimerspec64>,
    /// Address for the old or current setting; only there when the call takes one and it is not
    /// null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otmr: Option<u64>,
    /// The setting that the kernel replaced or that it was asked for, before it is written (and, by
    /// the calls with 32-bit times, cut); only there when the kernel came that far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old: Option<Itimerspec64>,
    /// The result: not negative, or a negative errno; null when the return was not seen.
    pub ret: Option<i64>,
    /// Name of the errno when `ret` is negative; only there then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<Cow<'static, str>>,
    /// The call was still inside the kernel when tracing ended; only there when true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unfinished: bool,
    /// The kernel skipped the return probe of this call; only there when true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub result_lost: bool,
    /// Process id in the initial pid namespace; only there where `pid` or `tid` differ from there,
    /// or when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<u32>,
    /// Thread id in the initial pid namespace; there with `host_pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_tid: Option<u32>,
}

/// A timer expired, and the kernel's handler runs (`timerfd_tmrproc`, `timerfd_alarmproc`), or a
/// call that armed it for a time that had passed, or forwarded it, fired it itself (kernels since
/// 7.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    /// Always `expiry`; first on the line.
    pub event: Cow<'static, str>,
    /// `CLOCK_MONOTONIC` when the handler ran, nanoseconds.
    pub ns: u64,
    /// CPU that it ran on.
    pub cpu: u32,
    /// The timer.
    pub timer: TimerId,
    /// The timer's clock, of `include/uapi/linux/time.h`.
    pub clockid: i32,
    /// When it was due, nanoseconds of the timer's clock (`node.expires` of `struct hrtimer` or
    /// `struct alarm`).
    pub expires_ns: i64,
    /// What is added to `CLOCK_MONOTONIC` to get the timer's clock, as the kernel had it then
    /// (`struct hrtimer_clock_base`).
    pub clock_offset_ns: i64,
    /// `ns + clock_offset_ns - expires_ns`: how late the handler ran. Below zero, the timer fired
    /// before its time.
    pub late_ns: i64,
    /// Nanoseconds that the machine was suspended since the system came up; what differs between an
    /// arming and its expiry is what it slept meanwhile.
    pub suspended_ns: u64,
    /// Fired by the call that armed it, or that forwarded it (`read` and reading back do so with a
    /// period that is over); only there when true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub inline: bool,
}

/// A timer that was armed with `TFD_TIMER_CANCEL_ON_SET` was cancelled, because its clock was set
/// (`timerfd_clock_was_set`, `fs/timerfd.c`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// Always `cancel`; first on the line.
    pub event: Cow<'static, str>,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ns: u64,
    /// CPU that it ran on.
    pub cpu: u32,
    /// The timer.
    pub timer: TimerId,
}

/// A thread's call returns because this timer fired, or was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wakeup {
    /// Always `wakeup`; first on the line.
    pub event: Cow<'static, str>,
    /// `CLOCK_MONOTONIC` when the waiter ran and had been told, nanoseconds: at the return of the
    /// timer's own `read` (`timerfd_read`), or when `timerfd_poll` had said in the waiter's call
    /// that the timer is readable.
    pub ns: u64,
    /// Process id (thread group id) in the tracer's pid namespace. 0 stands for null: it has none
    /// there.
    #[serde(with = "nullable_id")]
    pub pid: u32,
    /// Thread id in the tracer's pid namespace. 0 as above.
    #[serde(with = "nullable_id")]
    pub tid: u32,
    /// Name of the thread.
    pub comm: Cow<'static, str>,
    /// CPU that it ran on.
    pub cpu: u32,
    /// The timer.
    pub timer: TimerId,
    /// The call.
    pub by: By,
    /// When the read began, `CLOCK_MONOTONIC`; only there with a read of the timer itself. Null
    /// when it began before the tracer was there to see it.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub entry_ns: Option<Option<u64>>,
    /// Result of the read: 8; fewer when the rest of the reader's memory was not writable;
    /// `-ECANCELED`, or `-EFAULT`. Only there with a read of the timer itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ret: Option<i64>,
    /// Name of the errno when `ret` is negative; only there then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<Cow<'static, str>>,
    /// Expiries since the last read, as the kernel has just written them to the reader's memory;
    /// null where that could not be read. Only there when `ret` is not negative.
    #[serde(default, deserialize_with = "there", skip_serializing_if = "Option::is_none")]
    pub ticks: Option<Option<u64>>,
    /// Process id in the initial pid namespace; only there where `pid` or `tid` differ from there,
    /// or when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<u32>,
    /// Thread id in the initial pid namespace; there with `host_pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_tid: Option<u32>,
}

/// The last descriptor of a timer was closed (`timerfd_release`, `fs/timerfd.c`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Always `release`; first on the line.
    pub event: Cow<'static, str>,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub ns: u64,
    /// Process id of who closed it, in the tracer's pid namespace; the kernel does it as that
    /// thread returns, or exits. 0 stands for null: it has none there.
    #[serde(with = "nullable_id")]
    pub pid: u32,
    /// Thread id. 0 as above.
    #[serde(with = "nullable_id")]
    pub tid: u32,
    /// Name of the thread.
    pub comm: Cow<'static, str>,
    /// CPU that it ran on.
    pub cpu: u32,
    /// The timer.
    pub timer: TimerId,
    /// Process id in the initial pid namespace; only there where `pid` or `tid` differ from there,
    /// or when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_pid: Option<u32>,
    /// Thread id in the initial pid namespace; there with `host_pid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_tid: Option<u32>,
}

/// A key that is there, be it with null.
fn there<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    from: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(from).map(Some)
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}
