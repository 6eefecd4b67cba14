//! Counts of right, wrong and untold facts, field by field: for tracers that do not tell
//! everything. Whether a field is right is decided elsewhere.

use std::collections::BTreeMap;

use serde::Serialize;

use super::field::Fields;
use super::finding::{Difference, Place};

/// What was found of one field, over all calls with an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FactTally {
    /// Events that tell it as it was.
    pub right: u64,
    /// Events that tell something else.
    pub wrong: u64,
    /// Events that do not tell it.
    pub not_reported: u64,
    /// The first that is wrong.
    pub first: Option<Example>,
}

/// A wrong fact of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Example {
    /// The call.
    #[serde(flatten)]
    pub place: Place,
    /// What it must be and what it is.
    pub fault: String,
    /// What the tracer printed of the call.
    pub lines: String,
}

/// By the field's name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Facts(BTreeMap<&'static str, FactTally>);

impl Facts {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was found of a field.
    pub fn of(&self, field: &str) -> FactTally {
        self.0.get(field).cloned().unwrap_or_default()
    }

    /// Counts one event, told by `lines`. `describe` gives the differences of those that are
    /// `wrong`.
    pub(super) fn count(
        &mut self,
        event: (Fields, &str),
        wrong: Fields,
        place: Place,
        describe: impl FnOnce() -> Vec<Difference>,
    ) {
        let (reported, lines) = event;
        for field in Fields::ALL.without(reported).names() {
            self.0.entry(field).or_default().not_reported += 1;
        }
        for field in reported.without(wrong).names() {
            self.0.entry(field).or_default().right += 1;
        }
        if wrong.is_empty() {
            return;
        }
        for difference in describe() {
            self.count_wrong(difference.field, || Example {
                place,
                fault: difference.to_string(),
                lines: lines.to_owned(),
            });
        }
    }

    /// A time that contradicts those around it, of an event that was counted as right.
    pub(super) fn count_bad_time(&mut self, place: Place, fault: &str, lines: &str) {
        if let Some(tally) = self.0.get_mut("entry_ns") {
            tally.right -= tally.right.min(1);
            self.count_wrong("entry_ns", || Example {
                place,
                fault: fault.to_owned(),
                lines: lines.to_owned(),
            });
        }
    }

    fn count_wrong(&mut self, field: &'static str, example: impl FnOnce() -> Example) {
        let tally = self.0.entry(field).or_default();
        tally.wrong += 1;
        tally.first.get_or_insert_with(example);
    }
}
