//! Whether a mutant was caught: by a finding that its error must lead to, and by no other.

use std::fmt;

use serde::Serialize;
use settime32_mutants::Shows;

use crate::oracle::{Finding, Findings, Kind};
use crate::scenario;

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Its error was found.
    Caught,
    /// Nothing was found.
    Survived,
    /// Something was found that is not its error.
    Astray,
    /// The run broke off, so nothing is known.
    Failed,
    /// On this kernel its error cannot be seen.
    NotRun,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Caught => "caught",
            Self::Survived => "survived",
            Self::Astray => "astray: found for another reason",
            Self::Failed => "failed: nothing was compared",
            Self::NotRun => "not run",
        })
    }
}

/// The outcome, and the finding that decides it.
pub(super) fn judge(shows: Shows, findings: &Findings) -> (Outcome, Option<String>) {
    // A workload that does something else proves nothing about a tracer. What the model finds may
    // well come of a wrong event, since it takes the times from events; that the kernel is sound is
    // shown by the right tracer's runs.
    if findings.count(Kind::WorkloadLied) > 0 {
        let lie = findings.first.iter().find(|finding| finding.kind == Kind::WorkloadLied);
        return (Outcome::Astray, lie.map(line));
    }
    if let Some(finding) = findings.first.iter().find(|finding| fits(shows, finding)) {
        return (Outcome::Caught, Some(line(&narrowed(shows, finding))));
    }
    let outcome = if findings.mismatches() > 0 { Outcome::Astray } else { Outcome::Survived };
    (outcome, findings.first.first().map(line))
}

/// The same of a scenario.
pub(super) fn judge_played(shows: Shows, played: &scenario::Outcome) -> (Outcome, Option<String>) {
    let said = played
        .wrong
        .iter()
        .find(|said| matches!(shows, Shows::Said(words) if said.contains(words)));
    if let Some(said) = said {
        return (Outcome::Caught, Some(said.clone()));
    }
    if let Some(finding) = played.findings.iter().find(|finding| fits(shows, finding)) {
        return (Outcome::Caught, Some(line(&narrowed(shows, finding))));
    }
    let outcome = if played.mismatches > 0 { Outcome::Astray } else { Outcome::Survived };
    (outcome, told(played))
}

/// What there is to say of a scenario.
pub(super) fn told(played: &scenario::Outcome) -> Option<String> {
    played
        .findings
        .first()
        .map(line)
        .or_else(|| (!played.note.is_empty()).then(|| played.note.clone()))
}

fn fits(shows: Shows, finding: &Finding) -> bool {
    let differs = |field| finding.differences.iter().any(|difference| difference.field == field);
    match shows {
        Shows::Field(field) => finding.kind == Kind::Field && differs(field),
        Shows::Missing => finding.kind == Kind::Missing,
        Shows::Doubled => finding.kind == Kind::Doubled,
        Shows::Extra => finding.kind == Kind::Extra,
        Shows::Identity => finding.kind == Kind::Identity,
        Shows::Early => finding.kind == Kind::Early,
        Shows::OutOfOrder => finding.kind == Kind::OutOfOrder,
        Shows::BadTimestamp => finding.kind == Kind::BadTimestamp,
        Shows::Unparseable(words) => {
            [Kind::Unparseable, Kind::Undocumented].contains(&finding.kind)
                && finding.note.contains(words)
        }
        Shows::Undocumented(words) => {
            finding.kind == Kind::Undocumented && finding.note.contains(words)
        }
        Shows::Said(_) => false,
        Shows::Summary(field) => finding.kind == Kind::Summary && differs(field),
    }
}

/// A finding without the differences that are not looked for.
fn narrowed(shows: Shows, finding: &Finding) -> Finding {
    let mut finding = finding.clone();
    if let Shows::Field(field) | Shows::Summary(field) = shows {
        finding.differences.retain(|difference| difference.field == field);
    }
    finding
}

pub(super) fn line(finding: &Finding) -> String {
    finding.to_string().split('\n').map(str::trim).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{Difference, Place};
    use crate::verdict::Verdict;

    fn findings(kind: Kind, field: &'static str, note: &str) -> Findings {
        let differences = vec![Difference { field, expected: "1".into(), found: "2".into() }];
        let finding = Finding { place: Place::default(), kind, differences, note: note.into() };
        let mut findings = Findings { first: vec![finding], ..Findings::default() };
        findings.counts.insert(kind, 1);
        findings
    }

    #[test]
    fn only_the_error_itself_is_a_catch() {
        let outcome = |shows, findings: &Findings| judge(shows, findings).0;
        let field = findings(Kind::Field, "ret", "");
        assert_eq!(outcome(Shows::Field("ret"), &field), Outcome::Caught);
        assert_eq!(outcome(Shows::Field("old"), &field), Outcome::Astray);
        assert_eq!(outcome(Shows::Summary("ret"), &field), Outcome::Astray);
        let others = [
            Shows::Missing,
            Shows::Doubled,
            Shows::Extra,
            Shows::Identity,
            Shows::Early,
            Shows::OutOfOrder,
        ];
        for shows in others.into_iter().chain([Shows::BadTimestamp, Shows::Unparseable("")]) {
            assert_eq!(outcome(shows, &field), Outcome::Astray, "{shows:?}");
        }
        assert_eq!(outcome(Shows::Missing, &Findings::default()), Outcome::Survived);
        // Losses that were counted are no finding.
        assert_eq!(
            outcome(Shows::Missing, &Findings { missing: 3, lost: 3, ..Findings::default() }),
            Outcome::Survived
        );
        let garbage = findings(Kind::Unparseable, "", "expected i32 at column 7");
        assert_eq!(outcome(Shows::Unparseable("expected i32"), &garbage), Outcome::Caught);
        assert_eq!(outcome(Shows::Unparseable("expected u32"), &garbage), Outcome::Astray);
    }

    #[test]
    fn a_workload_that_lies_proves_nothing() {
        let mut both = findings(Kind::Field, "ret", "");
        both.counts.insert(Kind::WorkloadLied, 1);
        assert_eq!(judge(Shows::Field("ret"), &both).0, Outcome::Astray);
    }

    #[test]
    fn what_is_told_is_the_difference_that_was_looked_for() {
        let mut many = findings(Kind::Field, "ret", "");
        many.first[0].differences.push(Difference {
            field: "errno",
            expected: "EINVAL".into(),
            found: "none".into(),
        });
        let (_, told) = judge(Shows::Field("errno"), &many);
        assert_eq!(
            told.unwrap(),
            "output: event differs from the call; errno must be EINVAL, is none"
        );
    }

    #[test]
    fn a_scenario_catches_by_what_it_says_or_finds() {
        let first = findings(Kind::Field, "pid", "").first;
        let wrong = vec!["another".to_owned(), "3 lines too many".to_owned()];
        let (verdict, note) = (Verdict::Violation, String::new());
        let played = scenario::Outcome {
            checked: 1,
            mismatches: 3,
            findings: first,
            lost: 0,
            verdict,
            note,
            wrong,
        };
        let outcome = |shows, played: &scenario::Outcome| judge_played(shows, played).0;
        assert_eq!(
            judge_played(Shows::Said("too many"), &played),
            (Outcome::Caught, Some("3 lines too many".into()))
        );
        assert_eq!(outcome(Shows::Field("pid"), &played), Outcome::Caught);
        assert_eq!(outcome(Shows::Said("too few"), &played), Outcome::Astray);
        assert_eq!(outcome(Shows::Missing, &played), Outcome::Astray);
        let passed =
            scenario::Outcome { mismatches: 0, findings: Vec::new(), wrong: Vec::new(), ..played };
        assert_eq!(outcome(Shows::Missing, &passed), Outcome::Survived);
    }
}
