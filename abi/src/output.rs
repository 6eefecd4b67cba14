//! What `settime32-tracer --output json` prints: one object a line.
//!
//! Every key of a [`CallEvent`] is on every line unless its comment says otherwise; a fact that is not there is
//! `null`. New keys may be added; none changes its meaning. The last line is a [`Summary`].

use alloc::borrow::Cow;
use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::timespec::OldItimerspec32;

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
    /// Process id (thread group id) in the initial pid namespace.
    pub pid: u32,
    /// Thread id in the initial pid namespace.
    pub tid: u32,
    /// Name of the thread at entry; bytes that are not UTF-8 are replaced by U+FFFD.
    pub comm: Cow<'a, str>,
    /// CPU at entry.
    pub cpu: u32,
    /// Kind of process.
    pub abi: Abi,
    /// The file descriptor, low 32 bits of the register.
    pub ufd: i32,
    /// The flags, low 32 bits of the register, as the C prototype's `int`.
    pub flags: i32,
    /// Address of the new setting; null is null.
    pub utmr: Option<u32>,
    /// `*utmr` as the probe read it at entry; null when the pointer is null or the read failed.
    pub utmr_entry: Option<OldItimerspec32>,
    /// Why the read at entry failed (`"EFAULT"`); only there when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utmr_entry_errno: Option<Cow<'a, str>>,
    /// Address for the old setting; null is null.
    pub otmr: Option<u32>,
    /// `*otmr` after a successful return; null when the pointer is null, the call failed or the read failed.
    pub otmr_written: Option<OldItimerspec32>,
    /// Why the read after the return failed; only there when it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub otmr_written_errno: Option<Cow<'a, str>>,
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
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's skip_serializing_if passes a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

/// What could not be reported, counted exactly.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// Finished calls for which the ring buffer had no room.
    pub buffer: u64,
    /// Calls for which the map of calls in flight had no room.
    pub in_flight: u64,
    /// Calls reported with `result_lost`.
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

/// The last line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// Always [`SUMMARY_EVENT`].
    pub event: String,
    /// Call events printed, unfinished ones among them.
    pub reported: u64,
    /// What could not be reported.
    pub lost: Lost,
    /// Calls still inside the kernel when tracing ended, each printed with `unfinished`.
    pub unfinished: u64,
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::timespec::OldTimespec32;

    /// The text itself is the contract: a renamed key must fail here even though writer and reader share the type.
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
            ufd: 3,
            flags: -1,
            utmr: Some(4096),
            utmr_entry: Some(OldItimerspec32 {
                it_interval: OldTimespec32 { tv_sec: 1, tv_nsec: 2 },
                it_value: OldTimespec32 { tv_sec: -3, tv_nsec: 4 },
            }),
            utmr_entry_errno: None,
            otmr: None,
            otmr_written: None,
            otmr_written_errno: None,
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
                r#""abi":"i386","ufd":3,"flags":-1,"utmr":4096,"#,
                r#""utmr_entry":{"it_interval":{"tv_sec":1,"tv_nsec":2},"it_value":{"tv_sec":-3,"tv_nsec":4}},"#,
                r#""otmr":null,"otmr_written":null,"ret":-22,"errno":"EINVAL"}"#
            )
        );
        assert_eq!(serde_json::from_str::<CallEvent>(&text).unwrap(), event);
    }

    #[test]
    fn a_summary_reads_as_documented() {
        let summary = Summary { event: SUMMARY_EVENT.to_string(), reported: 7, lost: Lost { buffer: 1, ..Lost::default() }, unfinished: 2 };
        assert_eq!(
            serde_json::to_string(&summary).unwrap(),
            r#"{"event":"summary","reported":7,"lost":{"buffer":1,"in_flight":0,"result":0,"follow":0},"unfinished":2}"#
        );
    }
}
