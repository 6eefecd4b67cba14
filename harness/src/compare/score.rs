//! The scoreboard: what each tracer was right and wrong about, what it lost, and what it cost.

use serde::Serialize;

use super::definition::Definition;
use crate::oracle::{FactTally, Fields, Findings, Kind};
use crate::verdict::Verdict;

/// A fact, and the keys of an event that tell it. Every fact has one key, but for those that are told in parts.
pub const FACTS: [&str; 17] = [
    "ufd",
    "flags",
    "utmr",
    "otmr",
    "utmr_entry",
    "utmr_used",
    "toctou",
    "old",
    "otmr_written",
    "ret",
    "errno",
    "pid",
    "tid",
    "comm",
    "cpu",
    "abi",
    "entry_path",
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
    /// The first findings that are about no fact.
    pub first: Vec<String>,
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
    /// Over all calls with an event.
    #[serde(flatten)]
    pub tally: FactTally,
}

/// What a traced call costs above an untraced one.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Cost {
    /// Guest instructions: repeatable.
    pub instructions: Option<i64>,
    /// Nanoseconds of guest time under this machine's accelerator: not repeatable, for the proportion only.
    pub time_ns: Option<i64>,
    /// Why there is no figure.
    pub note: Option<String>,
}

/// Findings that are kept with a row.
const FIRST: usize = 5;

impl Row {
    /// Of nothing so far.
    pub(super) fn new(definition: &Definition, reproduce: String) -> Self {
        let claims = definition.reader.claims;
        let claimed = |fact| Fields::named(fact).is_some_and(|field| field.within(claims));
        let facts = FACTS.map(|fact| Fact { fact, claimed: claimed(fact), tally: FactTally::default() });
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
            first: Vec::new(),
            cost: Cost::default(),
            reproduce,
        }
    }

    pub(super) fn fail(&mut self, verdict: Verdict, reason: &str) {
        (self.verdict, self.failure) = (verdict, Some(reason.to_owned()));
    }

    pub(super) fn judge(&mut self, findings: &Findings, verdict: Verdict) {
        for fact in self.facts.iter_mut().filter(|fact| fact.claimed) {
            fact.tally = findings.facts.of(fact.fact);
        }
        self.verdict = verdict;
        (self.events, self.missing) = (findings.events, findings.missing);
        self.lost_counted = findings.lost.min(findings.missing);
        self.lost_silently = findings.missing - self.lost_counted;
        self.invented = findings.count(Kind::Extra) + findings.count(Kind::Doubled);
        self.out_of_order = findings.count(Kind::OutOfOrder);
        self.unreadable_lines = findings.count(Kind::Unparseable);
        let others = findings.first.iter().filter(|finding| finding.kind != Kind::Field);
        self.first = others.take(FIRST).map(ToString::to_string).collect();
    }

    /// Whether everything that it claims was right in every event, and no event was lost or made up.
    pub fn is_exact(&self) -> bool {
        self.not_run.is_none() && self.verdict == Verdict::Pass
    }

    /// The part, from 0 to 1, of all calls times all facts that it told as they were.
    pub fn exactness(&self, calls: u64) -> f64 {
        let right: u64 = self.facts.iter().map(|fact| fact.tally.right).sum();
        right as f64 / (calls.max(1) * self.facts.len() as u64) as f64
    }

    /// In a few words.
    pub fn outcome(&self) -> String {
        match (&self.not_run, &self.failure) {
            (Some(reason), _) => format!("not run, because {reason}"),
            (None, Some(failure)) => format!("{}: {failure}", self.verdict),
            (None, None) => self.verdict.to_string(),
        }
    }
}

impl Scoreboard {
    /// The worst of all rows that could be run. A scoreboard of nothing is no pass.
    pub fn verdict(&self) -> Verdict {
        let ran = self.rows.iter().filter(|row| row.not_run.is_none()).map(|row| row.verdict);
        ran.max_by_key(|verdict| verdict.severity()).unwrap_or(Verdict::Infrastructure)
    }
}
