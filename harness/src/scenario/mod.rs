//! Situations of the tracer itself, which no plan can say: its coming and going, its options, and
//! what it leaves behind. Each starts its own tracers and workloads in a guest that is up, and has
//! what they wrote compared by the oracle.

mod coming;
mod field;
mod forms;
mod limits;
mod stand;

use crate::failure::Failure;
use crate::generate::catalogue::{Scenario, scenario_plans};
use crate::oracle::{Finding, Findings};
use crate::programs::Programs;
use crate::setup::Format;
use crate::setup::Setup;
use crate::verdict::Verdict;
use stand::{SIGINT, Stand};

/// What came of a scenario.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Calls that were compared.
    pub checked: u64,
    /// Differences found.
    pub mismatches: u64,
    /// The first of them.
    pub findings: Vec<Finding>,
    /// Calls and results that were lost, and counted.
    pub lost: u64,
    /// What it comes to.
    pub verdict: Verdict,
    /// What there is to say besides; may be empty.
    pub note: String,
    /// All that was said to be wrong, of which the note has the first.
    pub wrong: Vec<String>,
}

impl Outcome {
    /// An outcome of nothing yet, to which what tracers wrote is added.
    fn nothing() -> Self {
        Self {
            checked: 0,
            mismatches: 0,
            findings: Vec::new(),
            lost: 0,
            verdict: Verdict::Pass,
            note: String::new(),
            wrong: Vec::new(),
        }
    }

    /// Takes what was found of one tracer. What it lost counts against it, unless that was
    /// provoked; and so does having been blind.
    fn add(&mut self, findings: Findings, lossy: bool) {
        self.checked += findings.checked;
        self.mismatches += findings.mismatches();
        self.lost += findings.lost;
        let was_blind = findings.summary.as_ref().is_some_and(|summary| !summary.blind.is_empty());
        let lost = was_blind || !lossy && findings.lost > 0;
        if findings.mismatches() > 0 {
            self.verdict = Verdict::Violation;
        } else if (lost || findings.checked == 0) && self.verdict == Verdict::Pass {
            self.verdict = Verdict::Inconclusive;
        }
        self.findings.extend(findings.first);
    }

    /// Something that must be so whatever the events say.
    fn must(&mut self, right: bool, otherwise: &str) {
        if !right {
            self.verdict = Verdict::Violation;
            self.mismatches += 1;
            if self.wrong.is_empty() {
                self.say(otherwise);
            }
            self.wrong.push(otherwise.to_owned());
        }
    }

    /// Something to say besides, whatever the verdict.
    fn say(&mut self, what: &str) {
        let separator = if self.note.is_empty() { "" } else { "; " };
        self.note.push_str(&format!("{separator}{what}"));
    }

    /// So many facts were compared that are no calls under test.
    fn saw(&mut self, facts: usize) {
        self.checked += facts as u64;
    }

    /// The situation did not come about, so that nothing is said of it.
    fn must_come_about(&mut self, came: bool, otherwise: &str) {
        if !came && self.verdict == Verdict::Pass {
            (self.verdict, self.note) = (Verdict::Inconclusive, otherwise.into());
        }
    }
}

/// Fails where the guest's kernel cannot be traced in the way that is asked for.
pub fn can_attach(programs: &mut Programs, setup: &Setup) -> Result<(), Failure> {
    let mut stand = Stand::new(programs, setup);
    let tracer = stand.tracer(&[])?;
    stand.end(tracer, SIGINT).map(drop)
}

/// Does a scenario in a guest in which no tracer runs.
pub fn play(
    scenario: Scenario,
    programs: &mut Programs,
    setup: &Setup,
    seed: u64,
) -> Result<Outcome, Failure> {
    let stand = Stand::new(programs, setup);
    let plans = scenario_plans(scenario, seed);
    let mut outcome = match scenario {
        Scenario::UnderLoad => coming::under_load(stand, plans),
        Scenario::TwoTracers => coming::two_tracers(stand, plans),
        Scenario::Terminated => coming::terminated(stand, plans),
        Scenario::Killed => coming::killed(stand, plans),
        Scenario::SmallBuffer => limits::small_buffer(stand, plans),
        Scenario::OtherProcess => limits::other_process(stand, plans),
        Scenario::Pretty => forms::read_back(stand, plans, Format::Pretty),
        Scenario::Tracee => forms::read_back(stand, plans, Format::Tracee),
        Scenario::Field(field) => field::play(field, stand, plans),
    }?;
    if outcome.lost > 0 && outcome.note.is_empty() {
        outcome.note = format!("{} lost, each counted", outcome.lost);
    }
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_outweighs_what_did_not_come_about() {
        let findings = Findings { checked: 5, ..Findings::default() };
        let mut outcome = Outcome::nothing();
        outcome.add(findings.clone(), false);
        assert_eq!((outcome.verdict, outcome.checked), (Verdict::Pass, 5));
        outcome.add(Findings { lost: 1, ..findings.clone() }, true);
        assert_eq!(outcome.verdict, Verdict::Pass, "the loss was provoked");
        outcome.add(Findings { lost: 1, ..findings }, false);
        assert_eq!(outcome.verdict, Verdict::Inconclusive);
        outcome.must(false, "something is wrong");
        outcome.must_come_about(false, "nothing came about");
        assert_eq!(
            (outcome.verdict, outcome.note.as_str(), outcome.mismatches),
            (Verdict::Violation, "something is wrong", 1)
        );
        let mut empty = Outcome::nothing();
        empty.add(Findings::default(), false);
        assert_eq!(empty.verdict, Verdict::Inconclusive, "nothing was checked");
    }
}
