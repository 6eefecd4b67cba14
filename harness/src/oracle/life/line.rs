//! A line of the tracer, as an event of nobody's text.

use settime32_abi::life::{Cancel, Expiry, Kind, RelatedCall, Release, Wakeup};
use settime32_abi::output::{CALL_EVENT, CallEvent};

/// What a line told.
#[derive(Clone, Debug)]
pub(in crate::oracle) enum Event {
    /// The call under test.
    Main(Box<CallEvent<'static>>),
    Call(Box<RelatedCall>),
    Expiry(Expiry),
    Cancel(Cancel),
    Wakeup(Wakeup),
    Release(Release),
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
            return Some(serde_json::from_slice(line).map(Self::Cancel));
        }
        if name == CALL_EVENT {
            return Some(serde_json::from_slice::<CallEvent<'_>>(line).map(|call| Self::Main(Box::new(call.into_owned()))));
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name)?;
        Some(match kind {
            Kind::Expiry => serde_json::from_slice(line).map(Self::Expiry),
            Kind::Wakeup => serde_json::from_slice(line).map(Self::Wakeup),
            Kind::Release => serde_json::from_slice(line).map(Self::Release),
            _ => serde_json::from_slice(line).map(|call| Self::Call(Box::new(call))),
        })
    }
}
