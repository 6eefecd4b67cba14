//! A line of the tracer, as an event of nobody's text.

use settime32_abi::lifecycle::{Cancel, Expiry, Kind, RelatedCall, Release, Wakeup};
use settime32_abi::output::{CALL_EVENT, CallEvent};

use crate::oracle::contract::Contract;

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

    /// Reads a line by its `event`, and says in what it is not as documented; none when that is of
    /// no event here.
    pub(in crate::oracle) fn read(
        line: &[u8],
        contract: &mut Contract,
    ) -> Option<Result<(Self, String), serde_json::Error>> {
        const PREFIX: &[u8] = br#"{"event":""#;
        let name = line.strip_prefix(PREFIX)?;
        let name =
            std::str::from_utf8(&name[..name.iter().position(|byte| *byte == b'"')?]).ok()?;
        if name == "cancel" {
            return Some(
                contract.read(line).map(|(cancel, faults)| (Self::Cancel(cancel), faults)),
            );
        }
        if name == CALL_EVENT {
            let read = contract.read::<CallEvent<'_>>(line);
            return Some(
                read.map(|(call, faults)| (Self::Main(Box::new(call.into_owned())), faults)),
            );
        }
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name)?;
        Some(match kind {
            Kind::Expiry => {
                contract.read(line).map(|(expiry, faults)| (Self::Expiry(expiry), faults))
            }
            Kind::Wakeup => {
                contract.read(line).map(|(wakeup, faults)| (Self::Wakeup(wakeup), faults))
            }
            Kind::Release => {
                contract.read(line).map(|(release, faults)| (Self::Release(release), faults))
            }
            _ => contract.read(line).map(|(call, faults)| (Self::Call(Box::new(call)), faults)),
        })
    }
}
