//! Differences, field by field.

use std::fmt::Debug;

use crate::oracle::Difference;

/// Gathers what is not as it must be.
#[derive(Default)]
pub(super) struct Compare(pub Vec<Difference>);

impl Compare {
    /// A field that must be equal.
    pub(super) fn equal<T: PartialEq + Debug>(&mut self, field: &'static str, expected: T, found: T) {
        if expected != found {
            self.0.push(Difference { field, expected: format!("{expected:?}"), found: format!("{found:?}") });
        }
    }

    /// A field that must be so, in words.
    pub(super) fn must(&mut self, field: &'static str, right: bool, expected: impl ToString, found: impl Debug) {
        if !right {
            self.0.push(Difference { field, expected: expected.to_string(), found: format!("{found:?}") });
        }
    }
}
