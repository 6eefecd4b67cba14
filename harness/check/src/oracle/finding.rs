//! What the oracle found: one finding a fault, with its place, in words. All are counted, the first
//! are kept.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use settime32_abi::output::{Lost, Summary};

use super::facts::Facts;
use crate::model::Bounds;

/// One field that is not what it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Name of the field.
    pub field: &'static str,
    /// What it must be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} must be {}, is {}", self.field, self.expected, self.found)
    }
}

/// What kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// An event's fields differ from the journal.
    Field,
    /// A call has no event, and the tracer did not count it as lost.
    Missing,
    /// An event came twice.
    Doubled,
    /// An event came before one of an earlier call of the same thread.
    OutOfOrder,
    /// An event of no call that was made.
    Extra,
    /// Timestamps that contradict the order of the calls or the workload's clock.
    BadTimestamp,
    /// An event names another timer than that which its descriptor is of.
    Identity,
    /// A timer is said to have fired before its time.
    Early,
    /// An expiry of a timer that was stopped, set anew or closed.
    Stale,
    /// The kernel's answer in the journal is not what the model says.
    Model,
    /// The journal is not what the plan asks for, so the workload is at fault.
    WorkloadLied,
    /// A line that is neither an event nor a summary.
    Unparseable,
    /// A line of JSON that lacks a key, or has one that is not documented, or a value of another
    /// type.
    Undocumented,
    /// The summary is missing, not last, or contradicts the events.
    Summary,
}

impl Kind {
    /// The kind in words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Field => "event differs from the call",
            Self::Missing => "no event, and no loss counted for it",
            Self::Doubled => "event came twice",
            Self::OutOfOrder => "event came before that of an earlier call of its thread",
            Self::Extra => "event of no call that was made",
            Self::BadTimestamp => "timestamps cannot be right",
            Self::Identity => "the timer is not the one that it was",
            Self::Early => "a timer fired before its time",
            Self::Stale => "expiry of a timer that was stopped, set anew or closed",
            Self::Model => "the kernel's answer is not what its sources say",
            Self::WorkloadLied => "the workload did not do what the plan asks for",
            Self::Unparseable => "line is neither an event nor a summary",
            Self::Undocumented => "line is not as documented",
            Self::Summary => "the summary is not right",
        }
    }
}

/// Where in a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Index of the plan, where it is known.
    pub plan: Option<u64>,
    /// Index of the step in the plan.
    pub step: Option<usize>,
    /// Which call of the plan, from 0.
    pub call: Option<usize>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(plan) = self.plan else { return write!(f, "output") };
        write!(f, "plan {plan}")?;
        if let Some(step) = self.step {
            write!(f, ", step {step}")?;
        }
        if let Some(call) = self.call {
            write!(f, ", call {call}")?;
        }
        Ok(())
    }
}

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// What kind.
    pub kind: Kind,
    /// Field by field.
    pub differences: Vec<Difference>,
    /// What else there is to say; may be empty.
    pub note: String,
}

impl Finding {
    /// What is wrong, without the place.
    pub fn fault(&self) -> String {
        let mut text = self.kind.as_str().to_owned();
        if !self.note.is_empty() {
            text.push_str(&format!(" ({})", self.note));
        }
        self.differences.iter().for_each(|difference| text.push_str(&format!("\n  {difference}")));
        text
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.fault())
    }
}

/// What was found of one plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Calls in its journal.
    pub calls: u64,
    /// As [`Findings::checked`].
    pub checked: u64,
    /// Findings of all kinds.
    pub mismatches: u64,
    /// As [`Findings::missing`].
    pub missing: u64,
    /// Events that say that memory changed between probe and kernel.
    pub toctou: u64,
    /// Events that say that their result was lost.
    pub results_lost: u64,
}

impl Tally {
    /// Both together.
    pub const fn plus(self, other: &Self) -> Self {
        Self {
            calls: self.calls + other.calls,
            checked: self.checked + other.checked,
            mismatches: self.mismatches + other.mismatches,
            missing: self.missing + other.missing,
            toctou: self.toctou + other.toctou,
            results_lost: self.results_lost + other.results_lost,
        }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// The first findings, up to the limit that was asked for.
    pub first: Vec<Finding>,
    /// All findings, by kind.
    pub counts: BTreeMap<Kind, u64>,
    /// Calls in the journals.
    pub calls: u64,
    /// Calls whose event was compared with the journal, and the journal with the model.
    pub checked: u64,
    /// Call events that came.
    pub events: u64,
    /// Calls without an event, those among them that the tracer counted as lost.
    pub missing: u64,
    /// Calls that were made before the tracer came, or after it went ([`super::Config::partial`]).
    pub outside: u64,
    /// Timers that were there when the tracer was ready, where it came in the midst of them
    /// ([`super::Config::since_ns`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub across: Option<u64>,
    /// What the tracer says that it lost.
    pub lost: u64,
    /// By plan, as far as they can be laid at one's door; complete when the oracle has finished.
    pub plans: BTreeMap<u64, Tally>,
    /// What the tracer said at its end, when it did.
    pub summary: Option<Summary>,
    /// Field by field, of tracers that do not tell all of them ([`super::Config::of_others`]).
    #[serde(skip_serializing_if = "Facts::is_empty")]
    pub facts: Facts,
}

impl Findings {
    /// Number of findings of all kinds; losses that were counted by the tracer are none.
    pub fn mismatches(&self) -> u64 {
        self.counts.values().sum()
    }

    /// Number of findings of a kind.
    pub fn count(&self, kind: Kind) -> u64 {
        self.counts.get(&kind).copied().unwrap_or(0)
    }

    /// Where a plan's numbers are kept.
    pub(super) fn tally(&mut self, plan: u64) -> &mut Tally {
        self.plans.entry(plan).or_default()
    }

    pub(super) fn add(&mut self, limit: usize, finding: Finding) {
        if let Some(plan) = finding.place.plan {
            self.tally(plan).mismatches += 1;
        }
        self.count_only(finding.kind, 1);
        if self.first.len() < limit {
            self.first.push(finding);
        }
    }

    pub(super) fn count_only(&mut self, kind: Kind, more: u64) {
        *self.counts.entry(kind).or_default() += more;
    }
}

/// How many calls may be without an event: those that the tracer could not keep at all. `None` is
/// any number, since nobody can count the calls of processes that were not followed.
pub(super) fn excused(lost: &Lost) -> Option<u64> {
    (lost.follow == 0).then_some(lost.buffer + lost.in_flight)
}

/// Whether something that happened at some time in these bounds may have happened while the tracer
/// says that it was blind.
pub(super) fn was_blind(summary: Option<&Summary>, when: Bounds) -> bool {
    let nanos = |ns| i64::try_from(ns).unwrap_or(i64::MAX);
    summary.is_some_and(|summary| {
        summary
            .blind
            .iter()
            .any(|span| nanos(span.from_ns) <= when.high && when.low <= nanos(span.to_ns))
    })
}
