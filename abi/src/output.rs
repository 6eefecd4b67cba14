//! What `settime32-tracer --output json` prints: one object a line.
//!
//! Every key of a [`CallEvent`] is on every line unless its comment says otherwise; a fact that is
//! not there is `null`. New keys may be added; none changes its meaning. The last line is a
//! [`Summary`].

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::timespec::{Itimerspec64, OldItimerspec32, OldTimespec32};

/// A timer of `timerfd_create`, as long as the kernel has it: a number that is given by the tracer,
/// from 1, and never used again. It is the kernel object's (`struct timerfd_ctx`, `fs/timerfd.c`),
/// whatever descriptors of whichever processes refer to it.
pub type TimerId = u64;

/// `event` of a [`CallEvent`].
pub const CALL_EVENT: &str = "timerfd_settime32";
/// `event` of a [`Summary`].
pub const SUMMARY_EVENT: &str = "summary";

/// What kind of process called, told by its code segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Abi {
    /// An i386 process (`cs` is `__USER32_CS`, 0x23).
    #[serde(rename = "i386")]
    I386,
    /// A 64-bit process that used the i386 entry (`cs` is `__USER_CS`, 0x33).
    #[serde(rename = "x86_64")]
    X86_64,
}

/// Through which door of the kernel the call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryPath {
    /// `int $0x80`.
    #[serde(rename = "int80")]
    Int80,
    /// `sysenter`, or a compat `syscall`: both through the vDSO.
    #[serde(rename = "fast")]
    Fast,
}

/// The halves of an `old_itimerspec32`, as far as they could be read: the kernel copies them one
/// after the other, 8 bytes each (`get_old_itimerspec32`, `kernel/time/time.c`), and so each is
/// there or not by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Halves {
    /// Period after the first expiry; null when its 8 bytes could not be read.
    pub it_interval: Option<OldTimespec32>,
    /// Time of the first expiry; null when its 8 bytes could not be read.
    pub it_value: Option<OldTimespec32>,
}

impl From<OldItimerspec32> for Halves {
    /// Both are there.
    fn from(times: OldItimerspec32) -> Self {
        Self { it_interval: Some(times.it_interval), it_value: Some(times.it_value) }
    }
}

impl Halves {
    /// Whether a half that is there is not the one of `other`.
    pub fn differs_from(&self, other: &OldItimerspec32) -> bool {
        let differs = |half: Option<OldTimespec32>, other| half.is_some_and(|half| half != other);
        differs(self.it_interval, other.it_interval) || differs(self.it_value, other.it_value)
    }
}

/// One call of `timerfd_settime32`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEvent<'a> {
    /// Always [`CALL_EVENT`]; first on the line.
    #[serde(borrow)]
    pub event: Cow<'a, str>,
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
    /// Name of the thread at entry; bytes that are not UTF-8 are replaced by U+FFFD.
    pub comm: Cow<'a, str>,
    /// CPU at entry.
    pub cpu: u32,
    /// Kind of process.
    pub abi: Abi,
    /// How the call came in; null when the kernel does not let one tell.
    pub entry_path: Option<EntryPath>,
    /// The file descriptor, low 32 bits of the register.
    pub ufd: i32,
    /// The flags, low 32 bits of the register, as the C prototype's `int`.
    pub flags: i32,
    /// Address of the new setting; null is null.
    pub utmr: Option<u32>,
    /// `*utmr` as the probe read it at entry; null when the pointer is null or neither half could
    /// be read.
    pub utmr_entry: Option<Halves>,
    /// Why a half could not be read at entry (`"EFAULT"`); only there when one could not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utmr_entry_errno: Option<Cow<'a, str>>,
    /// `*utmr` as the kernel itself copied it and went on with; null when it could not (`ret` is
    /// then -EFAULT).
    pub utmr_used: Option<OldItimerspec32>,
    /// A half that is known both at entry and as used is not the same in both: memory changed in
    /// between.
    pub toctou: bool,
    /// Address for the old setting; null is null.
    pub otmr: Option<u32>,
    /// The setting that the kernel replaced, as it was handed to `put_old_itimerspec32`
    /// (`kernel/time/time.c`) to be written to `*otmr`; null when it came not that far: the pointer
    /// is null or the call failed before.
    pub old: Option<Itimerspec64>,
    /// `old` does not fit the 32-bit structure and was cut without an error; only there when true.
    #[serde(default, skip_serializing_if = "is_false")]
    pub old_truncated: bool,
    /// What the kernel wrote to `*otmr`: there when the call succeeded and the pointer is not null.
    pub otmr_written: Option<OldItimerspec32>,
    /// The result: 0 or a negative errno; null when the return was not seen.
    pub ret: Option<i64>,
    /// Name of the errno when `ret` is negative; only there then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<Cow<'a, str>>,
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
    /// The timer, as in [`life`](crate::life); only there when other events were asked for as well,
    /// and when the call came to a timer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timer: Option<TimerId>,
    /// The timer's clock, of `include/uapi/linux/time.h`; only there with `timer`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clockid: Option<i32>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if passes a reference"
)]
fn is_false(value: &bool) -> bool {
    !*value
}

/// Ids of processes and threads, of which null is written as 0 in memory: the kernel gives 0 to
/// nobody.
pub(crate) mod nullable_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's with passes a reference")]
    pub(crate) fn serialize<S: Serializer>(id: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        Some(*id).filter(|id| *id != 0).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or(0))
    }
}

impl CallEvent<'_> {
    /// The same, of nobody's text.
    pub fn into_owned(self) -> CallEvent<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        CallEvent {
            event: owned(self.event),
            entry_ns: self.entry_ns,
            exit_ns: self.exit_ns,
            pid: self.pid,
            tid: self.tid,
            comm: owned(self.comm),
            cpu: self.cpu,
            abi: self.abi,
            entry_path: self.entry_path,
            ufd: self.ufd,
            flags: self.flags,
            utmr: self.utmr,
            utmr_entry: self.utmr_entry,
            utmr_entry_errno: self.utmr_entry_errno.map(owned),
            utmr_used: self.utmr_used,
            toctou: self.toctou,
            otmr: self.otmr,
            old: self.old,
            old_truncated: self.old_truncated,
            otmr_written: self.otmr_written,
            ret: self.ret,
            errno: self.errno.map(owned),
            unfinished: self.unfinished,
            result_lost: self.result_lost,
            host_pid: self.host_pid,
            host_tid: self.host_tid,
            timer: self.timer,
            clockid: self.clockid,
        }
    }
}

/// What could not be reported, counted exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Finished calls for which the ring buffer had no room.
    pub buffer: u64,
    /// Calls for which the map of calls in flight had no room, or of which the kernel passed over a
    /// program that sees something else than the return.
    pub in_flight: u64,
    /// Calls whose return was not seen; those that are printed have `result_lost`.
    pub result: u64,
    /// New processes of the traced command that could not be followed.
    pub follow: u64,
}

impl Lost {
    /// The sum of all kinds; 0 says that everything was reported.
    pub const fn total(&self) -> u64 {
        self.buffer + self.in_flight + self.result + self.follow
    }
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Self) {
        self.buffer += other.buffer;
        self.in_flight += other.in_flight;
        self.result += other.result;
        self.follow += other.follow;
    }
}

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Always [`SUMMARY_EVENT`].
    pub event: String,
    /// Call events printed, unfinished ones among them.
    pub reported: u64,
    /// What could not be reported.
    pub lost: Lost,
    /// What the kernel passed over, of which nobody knows whether a filter would have let it
    /// through: so many calls, or new processes of a traced command, are missing at most beside
    /// those that are lost.
    pub unknown: u64,
    /// Calls still inside the kernel when tracing ended, each printed with `unfinished`.
    pub unfinished: u64,
    /// When nothing could be seen although the probes were attached. How many calls were missed
    /// then, nobody can say.
    #[serde(default)]
    pub blind: Vec<Blind>,
}

/// A span of `CLOCK_MONOTONIC` in which calls may have gone unseen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blind {
    /// Until then everything was seen.
    pub from_ns: u64,
    /// From then on everything was seen again, or the tracing ended.
    pub to_ns: u64,
    /// Why, as far as that was found.
    pub reason: String,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;
    use crate::timespec::Timespec64;

    const NEW: OldItimerspec32 = OldItimerspec32 {
        it_interval: OldTimespec32 { tv_sec: 1, tv_nsec: 2 },
        it_value: OldTimespec32 { tv_sec: -3, tv_nsec: 4 },
    };

    /// The text itself is the contract: a renamed key must fail here even though writer and reader
    /// share the type.
    #[test]
    fn a_call_event_reads_as_documented() {
        let event = CallEvent {
            event: CALL_EVENT.into(),
            entry_ns: 5,
            exit_ns: Some(9),
            pid: 10,
            tid: 11,
            comm: "prog".into(),
            cpu: 1,
            abi: Abi::I386,
            entry_path: None,
            ufd: 3,
            flags: -1,
            utmr: Some(4096),
            utmr_entry: Some(NEW.into()),
            utmr_entry_errno: None,
            utmr_used: Some(NEW),
            toctou: false,
            otmr: None,
            old: None,
            old_truncated: false,
            otmr_written: None,
            host_pid: None,
            host_tid: None,
            timer: None,
            clockid: None,
            ret: Some(-22),
            errno: Some("EINVAL".into()),
            unfinished: false,
            result_lost: false,
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            concat!(
                r#"{"event":"timerfd_settime32","entry_ns":5,"exit_ns":9,"pid":10,"tid":11,"comm":"prog","cpu":1,"#,
                r#""abi":"i386","entry_path":null,"ufd":3,"flags":-1,"utmr":4096,"#,
                r#""utmr_entry":{"it_interval":{"tv_sec":1,"tv_nsec":2},"it_value":{"tv_sec":-3,"tv_nsec":4}},"#,
                r#""utmr_used":{"it_interval":{"tv_sec":1,"tv_nsec":2},"it_value":{"tv_sec":-3,"tv_nsec":4}},"#,
                r#""toctou":false,"otmr":null,"old":null,"otmr_written":null,"ret":-22,"errno":"EINVAL"}"#
            )
        );
        assert_eq!(serde_json::from_str::<CallEvent>(&text).unwrap(), event);
        rare_facts_read_as_documented(event);
    }

    /// Those that `event` has not.
    fn rare_facts_read_as_documented(event: CallEvent<'_>) {
        let wide = Timespec64 { tv_sec: 1 << 40, tv_nsec: 5 };
        let event = CallEvent {
            entry_path: Some(EntryPath::Int80),
            utmr_entry: Some(Halves {
                it_interval: None,
                it_value: Some(OldTimespec32 { tv_sec: 7, tv_nsec: 8 }),
            }),
            utmr_entry_errno: Some("EFAULT".into()),
            utmr_used: None,
            toctou: true,
            old: Some(Itimerspec64 { it_interval: wide, it_value: Timespec64::default() }),
            old_truncated: true,
            ..event
        };
        let text = serde_json::to_string(&event).unwrap();
        for part in [
            r#""entry_path":"int80","#,
            r#""utmr_entry":{"it_interval":null,"it_value":{"tv_sec":7,"tv_nsec":8}},"utmr_entry_errno":"EFAULT","utmr_used":null,"toctou":true,"#,
            r#""old":{"it_interval":{"tv_sec":1099511627776,"tv_nsec":5},"it_value":{"tv_sec":0,"tv_nsec":0}},"old_truncated":true,"#,
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert_eq!(serde_json::from_str::<CallEvent>(&text).unwrap(), event);
        assert!(
            serde_json::to_string(&CallEvent { entry_path: Some(EntryPath::Fast), ..event })
                .unwrap()
                .contains(r#""entry_path":"fast""#)
        );
    }

    #[test]
    fn a_half_that_is_not_there_differs_from_nothing() {
        let other = OldTimespec32 { tv_sec: 9, tv_nsec: 9 };
        assert!(!Halves::from(NEW).differs_from(&NEW) && !Halves::default().differs_from(&NEW));
        assert!(Halves { it_interval: Some(other), it_value: None }.differs_from(&NEW));
        assert!(Halves { it_interval: None, it_value: Some(other) }.differs_from(&NEW));
        assert!(!Halves { it_interval: Some(NEW.it_interval), it_value: None }.differs_from(&NEW));
    }

    #[test]
    fn a_summary_reads_as_documented() {
        let summary = Summary {
            event: SUMMARY_EVENT.to_string(),
            reported: 7,
            lost: Lost { buffer: 1, ..Lost::default() },
            unknown: 3,
            unfinished: 2,
            blind: vec![Blind {
                from_ns: 3,
                to_ns: 4,
                reason: "kprobes are switched off".to_string(),
            }],
        };
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            concat!(
                r#"{"event":"summary","reported":7,"lost":{"buffer":1,"in_flight":0,"result":0,"follow":0},"unknown":3,"unfinished":2,"#,
                r#""blind":[{"from_ns":3,"to_ns":4,"reason":"kprobes are switched off"}]}"#
            )
        );
        assert!(
            serde_json::to_string(&Summary { blind: Vec::new(), ..summary })
                .unwrap()
                .ends_with(r#""blind":[]}"#)
        );
    }
}
