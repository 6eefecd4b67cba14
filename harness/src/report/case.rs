//! The cases of the catalogue in a run, each with its own verdict.

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::generate::catalogue::{Case, Memory};
use crate::oracle::{Findings, Tally};
use crate::scenario::Outcome;
use crate::verdict::{Provoked, Verdict};
use crate::words::grouped;
use crate::work::{self, PLANS_PER_CASE, Work};

/// One case of the catalogue in a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CaseReport {
    /// Its name.
    pub name: &'static str,
    /// Its calls.
    pub calls: u64,
    /// Those that were compared.
    pub checked: u64,
    /// Those of which the event says that memory changed between the probe's reading and the
    /// kernel's.
    pub toctou: u64,
    /// Those without an event.
    pub missing: u64,
    /// Those of which the result was lost and counted.
    pub results_lost: u64,
    /// What became of it.
    pub verdict: Verdict,
    /// What there is to say besides.
    pub note: Option<String>,
    #[serde(skip)]
    may_lose: bool,
    #[serde(skip)]
    memory: Memory,
}

impl CaseReport {
    /// The cases that a run is to go through, none of which was run yet.
    pub(super) fn expected(work: &Work) -> Vec<Self> {
        let Work::Cases { names, least } = work else { return Vec::new() };
        let one = |case: &Case| Self {
            name: case.name,
            calls: case.calls(*least),
            checked: 0,
            toctou: 0,
            missing: 0,
            results_lost: 0,
            verdict: Verdict::Inconclusive,
            note: Some("not run".into()),
            may_lose: case.may_lose,
            memory: case.memory,
        };
        work::cases(names).map(one).collect()
    }

    /// Takes down what was compared of the plans of case number `index`, if any were.
    pub(super) fn compared(&mut self, index: u64, findings: &Findings) {
        let plans = index * PLANS_PER_CASE..(index + 1) * PLANS_PER_CASE;
        let tallies: Vec<&Tally> = findings.plans.range(plans).map(|(_, tally)| tally).collect();
        if tallies.is_empty() {
            return;
        }
        self.ran(tallies.into_iter().fold(Tally::default(), |sum, tally| sum.plus(tally)));
    }

    fn ran(&mut self, tally: Tally) {
        self.checked = tally.checked;
        self.toctou = tally.toctou;
        self.results_lost = tally.results_lost;
        self.missing = tally.missing;
        let lost = tally.results_lost + tally.missing;
        self.verdict = if tally.mismatches > 0 {
            Verdict::Violation
        } else if (self.memory == Memory::Changed && tally.toctou == 0)
            || (lost > 0 && !self.may_lose)
            || tally.checked + lost < self.calls
            || tally.checked == 0
        {
            Verdict::Inconclusive
        } else {
            Verdict::Pass
        };
        // A loss that was not counted is a mismatch.
        let notes = [
            (tally.toctou, "saw memory change, each flagged"),
            (tally.results_lost, "lost their result, each counted"),
            (tally.missing, "were lost, each counted"),
        ];
        let still = (self.memory != Memory::Still && tally.toctou == 0)
            .then(|| "no memory changed".to_string());
        let notes: Vec<String> = still
            .into_iter()
            .chain(
                notes
                    .iter()
                    .filter(|(calls, _)| *calls > 0)
                    .map(|(calls, what)| format!("{} {what}", grouped(*calls))),
            )
            .collect();
        self.note = Some(notes.join(", "))
            .filter(|note| !note.is_empty() && self.verdict != Verdict::Violation);
    }

    /// Losses that the case is there to provoke.
    pub(super) const fn provoked(&self) -> Provoked {
        match self.verdict {
            Verdict::Pass => Provoked { calls: self.missing, results: self.results_lost },
            _ => Provoked { calls: 0, results: 0 },
        }
    }

    /// Takes down what came of a scenario.
    pub(super) fn played(&mut self, outcome: &Outcome) {
        self.checked = outcome.checked;
        self.verdict = outcome.verdict;
        self.note = Some(outcome.note.clone()).filter(|note| !note.is_empty());
    }

    /// The run ended before the case did.
    pub(super) fn cut_off(&mut self, verdict: Verdict) {
        if self.verdict == Verdict::Inconclusive {
            (self.verdict, self.note) =
                (verdict, Some("the run ended before this case did".into()));
        }
    }
}

/// One line a case.
pub(super) fn table(cases: &[CaseReport]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["case", "calls", "checked", "verdict"]);
    for case in cases {
        let verdict = case
            .note
            .as_ref()
            .map_or(case.verdict.to_string(), |note| format!("{}: {note}", case.verdict));
        table.add_row([case.name.to_string(), grouped(case.calls), grouped(case.checked), verdict]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &'static str) -> CaseReport {
        CaseReport::expected(&Work::Cases { names: vec![name], least: 0 }).remove(0)
    }

    fn findings(plan: u64, tally: Tally) -> Findings {
        Findings { plans: [(plan, tally)].into(), ..Findings::default() }
    }

    #[test]
    fn a_case_passes_only_whole() {
        let mut case = one("values/any");
        case.compared(3, &findings(0, Tally { checked: case.calls, ..Tally::default() }));
        assert_eq!(
            (case.verdict, case.note.as_deref()),
            (Verdict::Inconclusive, Some("not run")),
            "that was another case's plan"
        );
        let whole = Tally { calls: case.calls, checked: case.calls, ..Tally::default() };
        for (tally, verdict) in [
            (whole, Verdict::Pass),
            (Tally { mismatches: 1, ..whole }, Verdict::Violation),
            (Tally { missing: 1, ..whole }, Verdict::Inconclusive),
            (Tally { checked: case.calls - 1, ..whole }, Verdict::Inconclusive),
            (Tally { checked: case.calls - 1, results_lost: 1, ..whole }, Verdict::Inconclusive),
        ] {
            case.compared(3, &findings(3 * PLANS_PER_CASE, tally));
            assert_eq!(case.verdict, verdict, "{tally:?}");
        }
    }

    #[test]
    fn memory_that_did_not_change_is_told_and_on_purpose_it_must() {
        for (name, still) in [
            ("threads/toctou-on-purpose", Verdict::Inconclusive),
            ("threads/toctou-race", Verdict::Pass),
        ] {
            let mut case = one(name);
            let whole = Tally { calls: case.calls, checked: case.calls, ..Tally::default() };
            case.ran(whole);
            assert_eq!(
                (case.verdict, case.note.as_deref()),
                (still, Some("no memory changed")),
                "{name}"
            );
            case.ran(Tally { toctou: 1, ..whole });
            assert_eq!(
                (case.verdict, case.note.as_deref()),
                (Verdict::Pass, Some("1 saw memory change, each flagged"))
            );
        }
    }

    #[test]
    fn losses_pass_where_they_are_provoked() {
        let mut case = one("pointers/held-by-many");
        let tally = Tally {
            calls: case.calls,
            checked: case.calls - 9,
            results_lost: 9,
            ..Tally::default()
        };
        case.ran(tally);
        assert_eq!(
            (case.verdict, case.note.as_deref()),
            (Verdict::Pass, Some("9 lost their result, each counted"))
        );
        case.ran(Tally { results_lost: 8, missing: 1, ..tally });
        assert_eq!(
            (case.verdict, case.provoked()),
            (Verdict::Pass, Provoked { calls: 1, results: 8 })
        );
        case.ran(Tally { results_lost: 8, ..tally });
        assert_eq!((case.verdict, case.provoked()), (Verdict::Inconclusive, Provoked::default()));
    }

    #[test]
    fn all_plans_of_a_case_count() {
        let mut case = one("volume/million");
        let half = Tally { calls: 500_000, checked: 500_000, ..Tally::default() };
        let both = Findings { plans: [(0, half), (1, half)].into(), ..Findings::default() };
        case.compared(0, &both);
        assert_eq!((case.verdict, case.checked), (Verdict::Pass, 1_000_000));
        case.compared(0, &findings(0, half));
        assert_eq!(case.verdict, Verdict::Inconclusive);
    }
}
