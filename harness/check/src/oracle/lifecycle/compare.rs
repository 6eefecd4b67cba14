//! Differences, field by field.

use std::fmt::Debug;

use settime32_abi::journal::CPU_UNKNOWN;

use crate::oracle::Difference;

/// Gathers what is not as it must be.
#[derive(Default)]
pub(super) struct Compare(pub Vec<Difference>);

impl Compare {
    /// A field that must be equal.
    pub(super) fn equal<T: PartialEq + Debug>(
        &mut self,
        field: &'static str,
        expected: T,
        found: T,
    ) {
        if expected != found {
            self.0.push(Difference {
                field,
                expected: format!("{expected:?}"),
                found: format!("{found:?}"),
            });
        }
    }

    /// A CPU that the journal knows, or one of so many.
    pub(super) fn cpu(&mut self, known: u16, cpus: u32, found: u32) {
        if known == CPU_UNKNOWN {
            self.must("cpu", found < cpus, format!("below {cpus}"), found);
        } else {
            self.equal("cpu", u32::from(known), found);
        }
    }

    /// A field that must be so, in words.
    pub(super) fn must(
        &mut self,
        field: &'static str,
        right: bool,
        expected: impl ToString,
        found: impl Debug,
    ) {
        if !right {
            self.0.push(Difference {
                field,
                expected: expected.to_string(),
                found: format!("{found:?}"),
            });
        }
    }
}
