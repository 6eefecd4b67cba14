//! A line of the tracer, as an event of nobody's text.

use std::borrow::Cow;

use settime32_abi::life::{Cancel, Expiry, Kind, RelatedCall, Release, Wakeup};
use settime32_abi::output::{CALL_EVENT, CallEvent};

/// What a line told.
#[derive(Clone, Debug)]
pub(in crate::oracle) enum Event {
    /// The call under test.
    Main(Box<CallEvent<'static>>),
    Call(Box<RelatedCall<'static>>),
    Expiry(Expiry<'static>),
    Cancel(Cancel<'static>),
    Wakeup(Wakeup<'static>),
    Release(Release<'static>),
}

impl Event {
    /// When it was, `CLOCK_MONOTONIC`.
    pub(super) fn time(&self) -> i64 {
        let ns = match self {
            Self::Main(call) => call.entry_ns,
            Self::Call(call) => call.entry_ns,
            Self::Expiry(expiry) => expiry.ns,
            Self::Cancel(cancel) => cancel.ns,
            Self::Wakeup(wakeup) => wakeup.ns,
            Self::Release(release) => release.ns,
        };
        i64::try_from(ns).unwrap_or(i64::MAX)
    }

    /// Whether it is known beforehand how many such there are.
    pub(super) fn is_sure(&self) -> bool {
        matches!(self, Self::Main(_) | Self::Call(_) | Self::Release(_))
    }

    /// Whether its result was lost, and whether it was under way at the end.
    pub(in crate::oracle) fn is_cut_short(&self) -> (bool, bool) {
        match self {
            Self::Main(call) => (call.result_lost, call.unfinished),
            Self::Call(call) => (call.result_lost, call.unfinished),
            _ => (false, false),
        }
    }

    /// Reads a line by its `event`; none when that is of no event here.
    pub(in crate::oracle) fn read(line: &[u8]) -> Option<Result<Self, serde_json::Error>> {
        const PREFIX: &[u8] = br#"{"event":""#;
        let name = line.strip_prefix(PREFIX)?;
        let name = std::str::from_utf8(&name[..name.iter().position(|byte| *byte == b'"')?]).ok()?;
        if name == "cancel" {
            return Some(
                serde_json::from_slice(line)
                    .map(|Cancel { event, ns, cpu, timer }| Self::Cancel(Cancel { event: owned(event), ns, cpu, timer })),
            );
        }
        if name == CALL_EVENT {
            return Some(serde_json::from_slice::<CallEvent<'_>>(line).map(|call| Self::Main(Box::new(call.into_owned()))));
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name)?;
        Some(match kind {
            Kind::Expiry => serde_json::from_slice(line).map(expiry),
            Kind::Wakeup => serde_json::from_slice(line).map(wakeup),
            Kind::Release => serde_json::from_slice(line).map(release),
            _ => serde_json::from_slice(line).map(related),
        })
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

fn expiry(expiry: Expiry<'_>) -> Event {
    let Expiry { event, ns, cpu, timer, clockid, expires_ns, clock_offset_ns, late_ns, suspended_ns, inline } = expiry;
    Event::Expiry(Expiry { event: owned(event), ns, cpu, timer, clockid, expires_ns, clock_offset_ns, late_ns, suspended_ns, inline })
}

fn wakeup(wakeup: Wakeup<'_>) -> Event {
    let Wakeup { event, ns, pid, tid, comm, cpu, timer, by, entry_ns, ret, errno, ticks } = wakeup;
    let (event, comm, errno) = (owned(event), owned(comm), errno.map(owned));
    Event::Wakeup(Wakeup { event, ns, pid, tid, comm, cpu, timer, by, entry_ns, ret, errno, ticks })
}

fn release(release: Release<'_>) -> Event {
    let Release { event, ns, pid, tid, comm, cpu, timer } = release;
    Event::Release(Release { event: owned(event), ns, pid, tid, comm: owned(comm), cpu, timer })
}

fn related(call: RelatedCall<'_>) -> Event {
    Event::Call(Box::new(RelatedCall {
        event: owned(call.event),
        entry_ns: call.entry_ns,
        exit_ns: call.exit_ns,
        pid: call.pid,
        tid: call.tid,
        comm: owned(call.comm),
        cpu: call.cpu,
        abi: call.abi,
        nr: call.nr,
        timer: call.timer,
        clockid: call.clockid,
        ufd: call.ufd,
        timer_id: call.timer_id,
        flags: call.flags,
        utmr: call.utmr,
        utmr_used: call.utmr_used,
        otmr: call.otmr,
        old: call.old,
        ret: call.ret,
        errno: call.errno.map(owned),
        unfinished: call.unfinished,
        result_lost: call.result_lost,
    }))
}
