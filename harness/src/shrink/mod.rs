//! Makes a plan that fails small: the fewest calls, then the simplest values, as long as it still
//! fails the same way.
//!
//! It decides which plans are tried and in which order, and knows no guest: whoever asks says by a
//! function whether a plan fails ([`Trial`] says so by running it). The order depends on the plan
//! and the answers alone, and the end on the number of plans that were run, never on a clock. Every
//! plan that is tried is a valid one.

mod drop;
mod simplify;
mod trial;

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use settime32_abi::plan::Plan;

use crate::cache::sha256;
use crate::oracle::{Finding, Kind};

pub use trial::Trial;

/// Plans that are run at most.
pub const RUNS_MAX: u32 = 500;

/// How often the plan is run until it fails once more, and the smallest one at the end.
const REPEATS: u32 = 3;

/// What kind of failure: two that are alike in this are taken for one fault.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signature {
    /// Of the finding.
    pub kind: Kind,
    /// The fields that differ, in alphabetical order.
    pub fields: Vec<String>,
}

impl Signature {
    /// Of a finding.
    pub fn of(finding: &Finding) -> Self {
        let mut fields: Vec<String> =
            finding.differences.iter().map(|difference| difference.field.to_owned()).collect();
        fields.sort();
        fields.dedup();
        Self { kind: finding.kind, fields }
    }

    /// Whether another failure is of this kind: while a plan gets smaller, other fields may come to
    /// differ with it or cease to, but one at least must stay.
    pub fn is_shown_by(&self, finding: &Finding) -> bool {
        let shared = |field: &String| {
            finding.differences.iter().any(|difference| difference.field == *field)
        };
        self.kind == finding.kind
            && (self.fields.is_empty() == finding.differences.is_empty())
            && (self.fields.is_empty() || self.fields.iter().any(shared))
    }

    /// Whether this one, of a smallest plan, says all that there is to say of another.
    pub fn explains(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.fields.is_empty() == other.fields.is_empty()
            && self.fields.iter().all(|field| other.fields.contains(field))
    }
}

impl std::fmt::Display for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.kind.as_str())?;
        if self.fields.is_empty() { Ok(()) } else { write!(f, ": {}", self.fields.join(", ")) }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The smallest plan that was found.
    Shrunk(Shrunk),
    /// The plan did not fail again.
    DidNotRepeat {
        /// How often it was run.
        runs: u32,
    },
}

/// A plan of which nothing can be left out.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// How it fails.
    pub finding: Finding,
    /// Plans that were run.
    pub runs: u32,
    /// Whether it could have become smaller still, with more runs.
    pub cut_off: bool,
    /// How often it failed when it was run [`Shrunk::confirmed_of`] times at the end.
    pub confirmed: u32,
    /// See there.
    pub confirmed_of: u32,
}

/// Shrinks. `step` is the place of the finding, which is tried first; `run` says how a plan fails,
/// if it does.
///
/// # Errors
///
/// Those of `run`, at once.
pub fn shrink<E>(
    plan: &Plan,
    step: Option<usize>,
    runs_max: u32,
    run: &mut dyn FnMut(&Plan) -> Result<Option<Finding>, E>,
) -> Result<Outcome, E> {
    let mut finding = None;
    let mut runs = 0;
    while finding.is_none() && runs < REPEATS {
        runs += 1;
        finding = run(plan)?;
    }
    let Some(finding) = finding else { return Ok(Outcome::DidNotRepeat { runs }) };
    let mut search = Search {
        best: plan.clone(),
        finding,
        runs,
        runs_max,
        cut_off: false,
        passed: HashSet::new(),
        run,
    };
    search.guess(step)?;
    loop {
        let before = search.best.clone();
        search.drop_steps()?;
        search.simplify()?;
        if search.best == before || search.cut_off {
            break;
        }
    }
    search.renumber()?;
    search.end()
}

/// A search under way.
struct Search<'a, E> {
    /// The smallest plan that fails so far.
    best: Plan,
    /// How it fails.
    finding: Finding,
    runs: u32,
    runs_max: u32,
    cut_off: bool,
    /// Digests of plans that did not fail.
    passed: HashSet<String>,
    run: &'a mut dyn FnMut(&Plan) -> Result<Option<Finding>, E>,
}

impl<E> Search<'_, E> {
    /// Goes on with this plan if it fails, too.
    fn attempt(&mut self, plan: Plan) -> Result<bool, E> {
        if plan == self.best || plan.calls() == 0 || plan.validate().is_err() {
            return Ok(false);
        }
        let digest = sha256(&plan.encode());
        if self.passed.contains(&digest) {
            return Ok(false);
        }
        if self.runs == self.runs_max {
            self.cut_off = true;
            return Ok(false);
        }
        self.runs += 1;
        match (self.run)(&plan)? {
            Some(finding) => {
                (self.best, self.finding) = (plan, finding);
                Ok(true)
            }
            None => {
                self.passed.insert(digest);
                Ok(false)
            }
        }
    }

    /// Runs the smallest plan again, since chance may have had a part in it.
    fn end(mut self) -> Result<Outcome, E> {
        let mut confirmed = 0;
        for _ in 0..REPEATS {
            self.runs += 1;
            if let Some(finding) = (self.run)(&self.best)? {
                confirmed += 1;
                self.finding = finding;
            }
        }
        let Self { best: plan, finding, runs, cut_off, .. } = self;
        Ok(Outcome::Shrunk(Shrunk {
            plan,
            finding,
            runs,
            cut_off,
            confirmed,
            confirmed_of: REPEATS,
        }))
    }
}

#[cfg(test)]
mod tests;
