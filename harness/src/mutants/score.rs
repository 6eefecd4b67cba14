//! What the mutants and the right one came to: a table for people, one object for programs.

use std::time::Duration;

use comfy_table::{Cell, Table, presets};
use serde::Serialize;
use settime32_mutants::About;

use super::judge::{self, Outcome};
use super::{Asked, CaughtBy, MutantsOptions, described};
use crate::failure::Failure;
use crate::generate::catalogue;
use crate::oracle::{Findings, Tally};
use crate::scenario;
use crate::verdict::{Provoked, Verdict};
use crate::words::grouped;

/// Widest column of findings, in characters.
const FINDING_WIDTH: usize = 110;

/// Everything.
#[derive(Clone, Debug, Serialize)]
pub struct Score {
    /// `uname -r` of the guest.
    pub kernel: String,
    /// How the tracers attached.
    pub attach: String,
    /// Where the calls came from.
    pub seed: u64,
    /// Tracers without an error.
    pub right: Vec<Passed>,
    /// Mutants.
    pub wrong: Vec<Caught>,
    /// How many of them were caught.
    pub caught: usize,
    /// Seconds from the boot on.
    pub seconds: f64,
    /// Pass, when all of them were caught and the right ones passed; else violation.
    pub verdict: Verdict,
}

/// A right tracer on the calls that wrong ones are caught by.
#[derive(Clone, Debug, Serialize)]
pub struct Passed {
    /// Which.
    pub tracer: &'static str,
    /// The calls.
    pub caught_by: Vec<String>,
    /// How many events were compared and how many lost and counted.
    pub checked: u64,
    /// As [`Findings::lost`].
    pub lost: u64,
    /// A run that is starved on purpose passes when each of its losses was counted.
    pub verdict: Verdict,
    /// The first finding, or why there is none.
    pub finding: Option<String>,
}

/// A mutant on its calls.
#[derive(Clone, Debug, Serialize)]
pub struct Caught {
    /// Its name.
    pub name: &'static str,
    /// Its error.
    pub error: &'static str,
    /// The calls.
    pub caught_by: String,
    /// What became of it.
    pub outcome: Outcome,
    /// The finding that decides, or why there is none.
    pub finding: Option<String>,
}

impl Passed {
    pub(super) fn new(
        tracer: &'static str,
        works: &[CaughtBy],
        findings: Result<Findings, Failure>,
    ) -> Self {
        let caught_by = works.iter().map(|work| described(*work)).collect();
        let passed = Self {
            tracer,
            caught_by,
            checked: 0,
            lost: 0,
            verdict: Verdict::Inconclusive,
            finding: None,
        };
        let findings = match findings {
            Ok(findings) => findings,
            Err(failure) => {
                return Self {
                    verdict: failure.verdict(),
                    finding: Some(failure.to_string()),
                    ..passed
                };
            }
        };
        let starved = works.iter().any(|work| Asked::for_work(*work) == Asked::Starved);
        let lost = findings.plans.values().fold(Tally::default(), Tally::plus);
        let provoking = works.iter().any(|work| provokes_losses(*work));
        let provoked = if provoking {
            Provoked { calls: lost.missing, results: lost.results_lost }
        } else {
            Provoked::default()
        };
        let verdict = if starved {
            of_starved(&findings)
        } else {
            Verdict::of(&findings, findings.calls, provoked)
        };
        let finding = findings.first.first().map(judge::line);
        Self { checked: findings.checked, lost: findings.lost, verdict, finding, ..passed }
    }
}

impl Passed {
    /// The same of a scenario.
    pub(super) fn played(
        tracer: &'static str,
        work: CaughtBy,
        played: Result<scenario::Outcome, Failure>,
    ) -> Self {
        let passed = Self {
            tracer,
            caught_by: vec![described(work)],
            checked: 0,
            lost: 0,
            verdict: Verdict::Inconclusive,
            finding: None,
        };
        match played {
            Ok(played) => Self {
                checked: played.checked,
                lost: played.lost,
                verdict: played.verdict,
                finding: judge::told(&played),
                ..passed
            },
            Err(failure) => {
                Self { verdict: failure.verdict(), finding: Some(failure.to_string()), ..passed }
            }
        }
    }
}

fn provokes_losses(work: CaughtBy) -> bool {
    matches!(work, CaughtBy::Case(name) if catalogue::find(name).is_some_and(|case| case.may_lose))
}

/// A buffer that is too small must lose something, or it showed nothing.
fn of_starved(findings: &Findings) -> Verdict {
    let all_counted =
        findings.missing == findings.lost && findings.checked + findings.lost == findings.calls;
    match findings.mismatches() {
        0 if all_counted && findings.lost > 0 && findings.checked > 0 => Verdict::Pass,
        0 => Verdict::Inconclusive,
        _ => Verdict::Violation,
    }
}

impl Caught {
    pub(super) fn new(about: &About, findings: Result<Findings, Failure>) -> Self {
        Self::judged(about, findings.map(|findings| judge::judge(about.shows, &findings)))
    }

    /// The same in a scenario.
    pub(super) fn played(about: &About, played: Result<scenario::Outcome, Failure>) -> Self {
        Self::judged(about, played.map(|played| judge::judge_played(about.shows, &played)))
    }

    /// Its error cannot be seen on this kernel.
    pub(super) fn not_run(about: &About) -> Self {
        let (major, minor) = about.since;
        let finding = Some(format!("its error can be seen from kernel {major}.{minor} on"));
        Self {
            name: about.name,
            error: about.error,
            caught_by: described(about.caught_by),
            outcome: Outcome::NotRun,
            finding,
        }
    }

    fn judged(about: &About, judged: Result<(Outcome, Option<String>), Failure>) -> Self {
        let (outcome, finding) = match judged {
            Ok(judged) => judged,
            Err(failure) => (Outcome::Failed, Some(failure.to_string())),
        };
        Self {
            name: about.name,
            error: about.error,
            caught_by: described(about.caught_by),
            outcome,
            finding,
        }
    }
}

impl Score {
    pub(super) fn new(options: &MutantsOptions) -> Self {
        let (kernel, attach) = (options.setup.kernel.clone(), options.setup.attach.to_string());
        let (right, wrong) = (Vec::new(), Vec::new());
        Self {
            kernel,
            attach,
            seed: options.seed,
            right,
            wrong,
            caught: 0,
            seconds: 0.0,
            verdict: Verdict::Inconclusive,
        }
    }

    pub(super) fn conclude(&mut self, took: Duration) {
        self.seconds = took.as_secs_f64();
        self.caught = self.wrong.iter().filter(|wrong| wrong.outcome == Outcome::Caught).count();
        let all_passed =
            !self.right.is_empty() && self.right.iter().all(|right| right.verdict == Verdict::Pass);
        self.verdict = match self.run() {
            0 if !self.wrong.is_empty() => Verdict::Inconclusive,
            run if run > 0 && run == self.caught && all_passed => Verdict::Pass,
            _ => Verdict::Violation,
        };
    }

    /// How many mutants were run.
    fn run(&self) -> usize {
        self.wrong.iter().filter(|wrong| wrong.outcome != Outcome::NotRun).count()
    }

    /// The table and the score, for people.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["tracer", "calls", "outcome", "first finding"]);
        for right in &self.right {
            let calls = match right.caught_by.as_slice() {
                [one] => one.clone(),
                several => format!("all {} below", several.len()),
            };
            let lost = if right.lost > 0 {
                format!(", {} lost and counted", grouped(right.lost))
            } else {
                String::new()
            };
            let outcome = format!("{} ({} compared{lost})", right.verdict, grouped(right.checked));
            table.add_row(
                [right.tracer, &calls, &outcome, &shortened(right.finding.as_deref())]
                    .map(Cell::new),
            );
        }
        for wrong in &self.wrong {
            let (outcome, finding) =
                (wrong.outcome.to_string(), shortened(wrong.finding.as_deref()));
            table.add_row([wrong.name, &wrong.caught_by, &outcome, &finding].map(Cell::new));
        }
        let Self { kernel, attach, seed, caught, seconds, verdict, .. } = self;
        let of = self.run();
        format!(
            "{table}\n{caught} of {of} mutants caught ({kernel}, {attach}, seed {seed}, {seconds:.1} s): {verdict}\n"
        )
    }
}

fn shortened(finding: Option<&str>) -> String {
    let finding = finding.unwrap_or_default();
    match finding.char_indices().nth(FINDING_WIDTH) {
        Some((at, _)) => format!("{}…", &finding[..at]),
        None => finding.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Kind;

    fn right(verdict: Verdict) -> Passed {
        Passed {
            tracer: "t",
            caught_by: vec!["c".into()],
            checked: 1,
            lost: 0,
            verdict,
            finding: None,
        }
    }

    fn wrong(outcome: Outcome) -> Caught {
        Caught { name: "n", error: "e", caught_by: "c".into(), outcome, finding: Some("f".into()) }
    }

    fn score(right: Vec<Passed>, wrong: Vec<Caught>) -> Score {
        let (kernel, attach) = ("k".into(), "kprobe".into());
        let mut score = Score {
            kernel,
            attach,
            seed: 7,
            right,
            wrong,
            caught: 0,
            seconds: 0.0,
            verdict: Verdict::Inconclusive,
        };
        score.conclude(Duration::from_secs(1));
        score
    }

    #[test]
    fn anything_but_all_caught_is_a_violation() {
        let pass = || vec![right(Verdict::Pass)];
        assert_eq!(score(pass(), vec![wrong(Outcome::Caught)]).verdict, Verdict::Pass);
        for outcome in [Outcome::Survived, Outcome::Astray, Outcome::Failed] {
            let score = score(pass(), vec![wrong(Outcome::Caught), wrong(outcome)]);
            assert_eq!((score.verdict, score.caught), (Verdict::Violation, 1), "{outcome}");
            assert!(
                score
                    .text()
                    .contains("1 of 2 mutants caught (k, kprobe, seed 7, 1.0 s): violation")
            );
        }
        assert_eq!(score(pass(), vec![]).verdict, Verdict::Violation);
        assert_eq!(
            score(pass(), vec![wrong(Outcome::Caught), wrong(Outcome::NotRun)]).verdict,
            Verdict::Pass
        );
        assert_eq!(
            score(pass(), vec![wrong(Outcome::Survived), wrong(Outcome::NotRun)]).verdict,
            Verdict::Violation
        );
        assert_eq!(
            score(pass(), vec![wrong(Outcome::NotRun)]).verdict,
            Verdict::Inconclusive,
            "nothing was shown"
        );
    }

    #[test]
    fn a_right_tracer_that_does_not_pass_is_a_violation() {
        for verdict in [Verdict::Violation, Verdict::Inconclusive, Verdict::GuestFailure] {
            assert_eq!(
                score(vec![right(Verdict::Pass), right(verdict)], vec![wrong(Outcome::Caught)])
                    .verdict,
                Verdict::Violation
            );
        }
        assert_eq!(score(vec![], vec![wrong(Outcome::Caught)]).verdict, Verdict::Violation);
    }

    #[test]
    fn a_starved_run_passes_when_it_lost_and_counted() {
        let starved = [CaughtBy::Starved { calls: 10 }];
        let lost = Findings { calls: 10, checked: 7, missing: 3, lost: 3, ..Findings::default() };
        let verdict =
            |findings: &Findings| Passed::new("t", &starved, Ok(findings.clone())).verdict;
        assert_eq!(verdict(&lost), Verdict::Pass);
        assert_eq!(verdict(&Findings { lost: 4, ..lost.clone() }), Verdict::Inconclusive);
        assert_eq!(
            verdict(&Findings { checked: 10, missing: 0, lost: 0, ..lost.clone() }),
            Verdict::Inconclusive
        );
        let mut wrong = lost.clone();
        wrong.counts.insert(Kind::Field, 1);
        assert_eq!(verdict(&wrong), Verdict::Violation);
        let plain = Passed::new("t", &[CaughtBy::Bulk { calls: 10 }], Ok(lost));
        assert_eq!(plain.verdict, Verdict::Inconclusive);
    }
}
