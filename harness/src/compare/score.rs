//! The scoreboard: what each tracer was right and wrong about, what it lost, and what it cost.

use std::collections::BTreeSet;

use serde::Serialize;

use super::definition::Definition;
use crate::oracle::{Example, Fields, Findings, Kind, Place};
use crate::verdict::Verdict;

/// What there is to know of a call, by the keys of an event.
pub const FACTS: [&str; 21] = [
    "ufd",
    "flags",
    "utmr",
    "otmr",
    "utmr_entry",
    "utmr_entry_errno",
    "utmr_used",
    "toctou",
    "old",
    "old_truncated",
    "otmr_written",
    "ret",
    "errno",
    "pid",
    "tid",
    "comm",
    "cpu",
    "abi",
    "entry_path",
    "entry_ns",
    "exit_ns",
];

/// Everything that was compared.
#[derive(Clone, Debug, Serialize)]
pub struct Scoreboard {
    /// Name of the kernel.
    pub kernel: String,
    /// Seed of the calls.
    pub seed: u64,
    /// Calls that every tracer was given.
    pub calls: u64,
    /// One for each tracer.
    pub rows: Vec<Row>,
}

/// What came of one tracer.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// What it is.
    pub about: String,
    /// Why it was not run, in the tool's own words where it has any.
    pub not_run: Option<String>,
    /// The verdict on it.
    pub verdict: Verdict,
    /// Why there is nothing to judge, when the run broke off.
    pub failure: Option<String>,
    /// In the order of [`FACTS`].
    pub facts: Vec<Fact>,
    /// Events that it told of.
    pub events: u64,
    /// Calls without an event.
    pub missing: u64,
    /// Those that the tracer itself says it lost.
    pub lost_counted: u64,
    /// The rest: lost in silence.
    pub lost_silently: u64,
    /// Events of no call: of other system calls, or told twice.
    pub invented: u64,
    /// Events before that of an earlier call of the same thread.
    pub out_of_order: u64,
    /// Lines of which its reader could make nothing.
    pub unreadable_lines: u64,
    /// Facts that it claims and told in no event.
    pub never_told: Vec<&'static str>,
    /// The first finding of each kind that is about no fact.
    pub first: Vec<Shown>,
    /// What a call costs more under it.
    pub cost: Cost,
    /// Does this row again.
    pub reproduce: String,
}

/// What a tracer knows of one fact.
#[derive(Clone, Debug, Serialize)]
pub struct Fact {
    /// The key of an event.
    pub fact: &'static str,
    /// Whether the tracer claims to tell it; if it does not, nothing of it is counted.
    pub claimed: bool,
    /// Events that tell it as it was.
    pub right: u64,
    /// Events that tell something else.
    pub wrong: u64,
    /// Events that do not tell it.
    pub not_reported: u64,
    /// The first that is wrong.
    pub first: Option<Shown>,
}

/// A fault, and what it takes to see it again.
#[derive(Clone, Debug, Serialize)]
pub struct Shown {
    /// What is wrong.
    pub fault: String,
    /// The case of the catalogue that the call is of; `None` of generated calls.
    pub case: Option<String>,
    /// The call.
    #[serde(flatten)]
    pub place: Place,
    /// What was asked for there, in words.
    pub asked: Option<String>,
    /// What the tracer printed of it.
    pub lines: String,
    /// Makes the calls of that plan again.
    pub again: String,
}

/// What a traced call costs above an untraced one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// Guest instructions: repeatable.
    pub instructions: Option<i64>,
    /// Nanoseconds of guest time under this machine's accelerator: not repeatable, for the
    /// proportion only.
    pub time_ns: Option<i64>,
    /// Why there is no figure.
    pub note: Option<String>,
}

impl Row {
    /// Of nothing so far.
    pub(super) fn new(definition: &Definition, reproduce: String) -> Self {
        let claims = definition.reader.claims;
        let claimed = |fact| Fields::named(fact).is_some_and(|field| field.within(claims));
        let fact = |fact| Fact {
            fact,
            claimed: claimed(fact),
            right: 0,
            wrong: 0,
            not_reported: 0,
            first: None,
        };
        let facts = FACTS.map(fact);
        Self {
            name: definition.name.clone(),
            about: definition.about.clone(),
            not_run: None,
            verdict: Verdict::Infrastructure,
            failure: None,
            facts: facts.into(),
            events: 0,
            missing: 0,
            lost_counted: 0,
            lost_silently: 0,
            invented: 0,
            out_of_order: 0,
            unreadable_lines: 0,
            never_told: Vec::new(),
            first: Vec::new(),
            cost: Cost::default(),
            reproduce,
        }
    }

    pub(super) fn fail(&mut self, verdict: Verdict, reason: &str) {
        (self.verdict, self.failure) = (verdict, Some(reason.to_owned()));
    }

    /// Takes what the oracle found. `show` says how to see the fault of a place again.
    pub(super) fn judge(
        &mut self,
        findings: &Findings,
        verdict: Verdict,
        show: impl Fn(String, Place, String) -> Shown,
    ) {
        for fact in self.facts.iter_mut().filter(|fact| fact.claimed) {
            let tally = findings.facts.of(fact.fact);
            (fact.right, fact.wrong, fact.not_reported) =
                (tally.right, tally.wrong, tally.not_reported);
            fact.first =
                tally.first.map(|Example { place, fault, lines }| show(fault, place, lines));
        }
        let never_told =
            self.facts.iter().filter(|fact| fact.claimed && fact.right + fact.wrong == 0);
        self.never_told = never_told.map(|fact| fact.fact).collect();
        let passes = verdict == Verdict::Pass && !self.never_told.is_empty();
        self.verdict = if passes { Verdict::Inconclusive } else { verdict };
        (self.events, self.missing) = (findings.events, findings.missing);
        self.lost_counted = findings.lost.min(findings.missing);
        self.lost_silently = findings.missing - self.lost_counted;
        self.invented = findings.count(Kind::Extra) + findings.count(Kind::Doubled);
        self.out_of_order = findings.count(Kind::OutOfOrder);
        self.unreadable_lines = findings.count(Kind::Unparseable);
        let mut shown = BTreeSet::from([Kind::Field]);
        let firsts = findings.first.iter().filter(|finding| shown.insert(finding.kind));
        self.first =
            firsts.map(|finding| show(finding.fault(), finding.place, String::new())).collect();
    }

    /// Whether everything that it claims was right in every event, and no event was lost or made
    /// up.
    pub fn is_exact(&self) -> bool {
        self.not_run.is_none() && self.verdict == Verdict::Pass
    }

    /// Whether something that it told was not so, or calls have no event and it does not say so.
    pub fn is_wrong(&self) -> bool {
        self.verdict == Verdict::Violation
    }

    /// The part, from 0 to 1, of all calls times all facts that it told as they were.
    pub fn exactness(&self, calls: u64) -> f64 {
        let right: u64 = self.facts.iter().map(|fact| fact.right).sum();
        right as f64 / (calls.max(1) * self.facts.len() as u64) as f64
    }

    /// In a few words.
    pub fn outcome(&self) -> String {
        match (&self.not_run, &self.failure) {
            (Some(reason), _) => format!("not run, because {reason}"),
            (None, Some(failure)) => format!("{}: {failure}", self.verdict),
            (None, None) if self.never_told.is_empty() => self.verdict.to_string(),
            (None, None) => format!(
                "{}; it claims to tell {} and told it of no call",
                self.verdict,
                self.never_told.join(", ")
            ),
        }
    }

    /// The first fault of each kind.
    pub fn faults(&self) -> impl Iterator<Item = &Shown> {
        self.facts.iter().filter_map(|fact| fact.first.as_ref()).chain(&self.first)
    }
}

impl Scoreboard {
    /// The worst of all rows; one that could not be run is not passed.
    pub fn verdict(&self) -> Verdict {
        let verdicts = self.rows.iter().map(|row| row.verdict);
        verdicts.max_by_key(|verdict| verdict.severity()).unwrap_or(Verdict::Infrastructure)
    }
}

impl Shown {
    /// The call, in words.
    pub fn whereabouts(&self) -> String {
        let of = self
            .case
            .as_ref()
            .map_or_else(|| "generated calls".to_owned(), |case| format!("case {case}"));
        if self.place.plan.is_some() {
            format!("{of}, {}", self.place)
        } else {
            "of no call".to_owned()
        }
    }
}
