//! What a fuzzing run, or several that were joined, come to: the same for people and as one JSON
//! object.

use std::path::PathBuf;
use std::time::Duration;

use comfy_table::{Cell as Square, Table, presets};
use serde::Serialize;

use super::FuzzOptions;
use super::state::{Config, Fault, State};
use crate::failure::Failure;
use crate::verdict::Verdict;
use crate::words::grouped;

/// The report; `--json` prints it with these names.
#[derive(Debug, Serialize)]
pub struct FuzzReport {
    /// The verdict on all that was done, in earlier runs of the same folder, too.
    pub verdict: Verdict,
    /// Why the run ended early, when it did.
    pub failure: Option<String>,
    /// It was stopped before its budget was used up.
    pub interrupted: bool,
    /// What the calls were.
    pub config: Config,
    /// Which shards, `I/N`.
    pub shards: Vec<String>,
    /// Seeds that are done, on each kernel and attach mode.
    pub seeds: u64,
    /// Calls of those.
    pub calls: u64,
    /// Calls whose event was there and was compared.
    pub captured: u64,
    /// Events that the tracer counted as lost.
    pub lost: u64,
    /// Calls that this run compared.
    pub captured_now: u64,
    /// Seconds of this run, boots and all.
    pub seconds: f64,
    /// Those calls by those seconds.
    pub calls_per_second: f64,
    /// Regressions that were run first.
    pub regressions: usize,
    /// Kernels and attach modes that could not be run, with the reason.
    pub not_run: Vec<String>,
    /// Seeds that are missing, in words.
    pub gaps: Vec<String>,
    /// What was found.
    pub faults: Vec<Fault>,
    /// Where it is kept.
    pub out: Option<PathBuf>,
}

impl FuzzReport {
    pub(super) fn new(
        options: &FuzzOptions,
        before: &State,
        state: &State,
        took: Duration,
        failure: Option<Failure>,
        interrupted: bool,
        regressions: usize,
    ) -> Self {
        let mut report = Self::of(state);
        report.captured_now = report.captured - before.total(|cell| cell.captured);
        report.seconds = took.as_secs_f64();
        report.calls_per_second = report.captured_now as f64 / report.seconds.max(0.001);
        (report.interrupted, report.regressions, report.out) =
            (interrupted, regressions, options.out.clone());
        // Other shards are for others, and seeds that are left for whoever goes on.
        report.gaps.retain(|gap| !gap.starts_with("shard "));
        if interrupted || !report.gaps.is_empty() {
            report.at_least(Verdict::Inconclusive);
        }
        if let Some(failure) = failure {
            report.at_least(failure.verdict());
            report.failure = Some(failure.to_string());
        }
        report
    }

    /// Of shards that were joined.
    pub fn merged(state: &State, out: Option<PathBuf>) -> Self {
        let mut report = Self { out, seconds: state.seconds, ..Self::of(state) };
        report.calls_per_second = report.captured as f64 / report.seconds.max(0.001);
        if !report.gaps.is_empty() {
            report.at_least(Verdict::Inconclusive);
        }
        report
    }

    fn of(state: &State) -> Self {
        let not_run = state
            .cells
            .iter()
            .filter_map(|cell| Some(format!("{}: {}", cell.name, cell.not_run.as_ref()?)));
        Self {
            verdict: verdict(state),
            failure: None,
            interrupted: false,
            config: state.config.clone(),
            shards: state.shards.iter().map(ToString::to_string).collect(),
            seeds: state.total(|cell| cell.done.len()),
            calls: state.total(|cell| cell.calls),
            captured: state.total(|cell| cell.captured),
            lost: state.total(|cell| cell.lost),
            captured_now: 0,
            seconds: 0.0,
            calls_per_second: 0.0,
            regressions: 0,
            not_run: not_run.collect(),
            gaps: state.gaps(),
            faults: state.faults.clone(),
            out: None,
        }
    }

    fn at_least(&mut self, verdict: Verdict) {
        if verdict.severity() > self.verdict.severity() {
            self.verdict = verdict;
        }
    }

    /// For people.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let rows = [
            ("tracer", self.config.tracer.clone()),
            ("kernels", self.config.cells.join("\n")),
            ("shards", self.shards.join(", ")),
            ("first seed", self.config.seed.to_string()),
            ("seeds", grouped(self.seeds)),
            ("calls", grouped(self.calls)),
            ("captured", grouped(self.captured)),
            ("lost", grouped(self.lost)),
            ("faults", grouped(self.faults.len() as u64)),
            ("calls a second", grouped(self.calls_per_second.round() as u64)),
            ("seconds", format!("{:.1}", self.seconds)),
            ("verdict", self.verdict.to_string()),
        ];
        rows.into_iter()
            .for_each(|(name, value)| _ = table.add_row([Square::new(name), Square::new(value)]));
        let mut text = format!("{table}\n");
        self.not_run.iter().for_each(|line| text += &format!("not run, {line}\n"));
        self.gaps.iter().for_each(|line| text += &format!("{line}\n"));
        self.faults.iter().for_each(|fault| text += &told(fault));
        if self.interrupted {
            text += "\nstopped before the end of its budget; the same command with the same --out goes on\n";
        }
        if let Some(failure) = &self.failure {
            text += &format!("\n{}: {failure}\n", self.verdict);
        }
        text
    }
}

/// A fault: what it is, the smallest plan, the difference, and how to see it again.
fn told(fault: &Fault) -> String {
    let mut text = format!("\n── {}\n{}\n", fault.title, fault.note);
    let seeds: Vec<String> = fault.seen.iter().take(5).map(|(_, seed)| seed.to_string()).collect();
    if !seeds.is_empty() {
        let more = if fault.seen.len() > seeds.len() {
            format!(" and {} more", fault.seen.len() - seeds.len())
        } else {
            String::new()
        };
        text += &format!("seen with seed {}{more}\n", seeds.join(", "));
    }
    for line in fault.words.iter().chain(&fault.finding) {
        text += &format!("  {line}\n");
    }
    text += &format!("kept    {}\n", fault.file.display());
    if !fault.c.is_empty() {
        text += &format!("in C    {}\n", fault.c);
    }
    text + &format!("replay  {}\n", fault.replay)
}

/// What was done comes to this. What was seen to be wrong outweighs what could not be seen, and
/// nothing seen is no pass.
fn verdict(state: &State) -> Verdict {
    let of_fault = |fault: &Fault| {
        if fault.signature.is_some() { Verdict::Violation } else { Verdict::GuestFailure }
    };
    let (calls, captured) = (state.total(|cell| cell.calls), state.total(|cell| cell.captured));
    let seen = if captured == 0 || captured < calls || state.total(|cell| cell.lost) > 0 {
        Verdict::Inconclusive
    } else {
        Verdict::Pass
    };
    let nothing =
        state.cells.iter().all(|cell| cell.not_run.is_some()).then_some(Verdict::Infrastructure);
    let all = state.faults.iter().map(of_fault).chain([seen]).chain(nothing);
    all.max_by_key(|verdict| verdict.severity()).unwrap_or(Verdict::Inconclusive)
}

#[cfg(test)]
mod tests {
    use super::super::shard::Shard;
    use super::super::state::tests::{config, fault};
    use super::*;

    fn ran(captured: u64) -> State {
        let mut state = State::new(config(Some(20_000)), Shard::WHOLE);
        for cell in &mut state.cells {
            cell.done.insert_range(0..2);
            (cell.calls, cell.captured) = (20_000, captured);
        }
        state
    }

    #[test]
    fn only_what_was_seen_whole_and_right_is_a_pass() {
        let of = |state: &State| FuzzReport::merged(state, None).verdict;
        assert_eq!(of(&ran(20_000)), Verdict::Pass);
        assert_eq!(of(&ran(19_999)), Verdict::Inconclusive);
        assert_eq!(
            of(&State::new(config(None), Shard::WHOLE)),
            Verdict::Inconclusive,
            "nothing was verified"
        );
        let mut lossy = ran(20_000);
        lossy.cells[1].lost = 1;
        assert_eq!(of(&lossy), Verdict::Inconclusive);
        let mut wrong = lossy.clone();
        wrong.add(fault(&["ret"], 100));
        assert_eq!(of(&wrong), Verdict::Violation);
        let mut died = ran(20_000);
        died.add(Fault { signature: None, ..fault(&[], 100) });
        assert_eq!(of(&died), Verdict::GuestFailure);
        let mut part = ran(20_000);
        part.cells[0].done = Default::default();
        assert_eq!(of(&part), Verdict::Inconclusive, "there are gaps");
    }

    #[test]
    fn a_kernel_that_cannot_be_traced_is_no_failure_of_the_others() {
        let mut state = ran(20_000);
        state.cells[1] = super::super::state::Cell {
            name: "6.1 kprobe".into(),
            not_run: Some("too old".into()),
            ..Default::default()
        };
        let report = FuzzReport::merged(&state, None);
        assert_eq!(
            (report.verdict, &report.not_run[..]),
            (Verdict::Pass, &["6.1 kprobe: too old".to_owned()][..])
        );
        state.cells[0] =
            super::super::state::Cell { not_run: Some("too old".into()), ..Default::default() };
        assert_eq!(FuzzReport::merged(&state, None).verdict, Verdict::Infrastructure);
    }

    #[test]
    fn a_fault_is_told_with_all_that_one_needs() {
        let mut state = ran(20_000);
        let told = Fault {
            note: "shrunk from 10000 calls to 1 in 30 runs".into(),
            words: vec!["step 1: timerfd_settime32(…)".into()],
            finding: vec!["ret must be 0, is 1".into()],
            c: "a.c".into(),
            replay: "cargo harness replay a.json".into(),
            ..fault(&["ret"], 107)
        };
        state.add(told);
        let text = FuzzReport::merged(&state, None).text();
        for words in [
            "event differs from the call: ret",
            "shrunk from 10000",
            "seed 107",
            "step 1:",
            "ret must be 0",
            "a.json",
            "in C    a.c",
            "replay  cargo",
        ] {
            assert!(text.contains(words), "{words} in {text}");
        }
    }
}
