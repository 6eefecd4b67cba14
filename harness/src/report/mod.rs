//! What a run says at its end: for people a table and, after a failure, what differed and how to
//! see it again; for machines the same as one JSON object.

mod case;

use std::borrow::Cow;
use std::fmt::Write;
use std::path::PathBuf;

use comfy_table::{Cell, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::boot::{Accelerator, Scratch, Start, Vm};
use crate::cache;
use crate::failure::{Failure, InfraError};
use crate::generate::catalogue::CASES;
use crate::oracle::{EventSet, Finding, Place};
use crate::scenario::Outcome;
use crate::session::Session;
use crate::setup::{Setup, VerifyOptions};
use crate::verdict::{Provoked, Verdict};
use crate::words::grouped;
use crate::work::{self, PLANS_PER_CASE, Tells, Work};
pub use case::CaseReport;

/// Seconds that each stage took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// Finding, fetching and checking the kernel.
    pub prepare: f64,
    /// QEMU's start to the agent's first frame.
    pub boot: f64,
    /// The tracer's start to its ready line.
    pub attach: f64,
    /// All plans, compared as they come.
    pub calls: f64,
    /// The tracer's end, and the rest of its output.
    pub drain: f64,
    /// Cases that start tracers of their own.
    pub scenarios: f64,
    /// All of it.
    pub total: f64,
}

/// The kernel that was booted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct KernelReport {
    /// As asked for; `here` for the running one.
    pub name: String,
    /// Version of its package, for a kernel by name.
    pub package_version: Option<String>,
    /// `uname -r` in the guest; null when it never came up.
    pub release: Option<String>,
}

/// The report; `--json` prints it with these names.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The verdict.
    pub verdict: Verdict,
    /// Why the run ended early, when it did.
    pub failure: Option<String>,
    /// Why nothing could be run, in the tracer's words, when the kernel cannot be traced in this
    /// way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
    /// The kernel.
    pub kernel: KernelReport,
    /// What ran the guest; null when there was none.
    pub accelerator: Option<Accelerator>,
    /// Whether the guest went on from a saved state (`warm`) or was booted; null when there was
    /// none.
    pub start: Option<Start>,
    /// How the tracer attached.
    pub attach: String,
    /// Events that the tracer was asked for, where those are not all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events: Option<String>,
    /// Timers that were there when a tracer was ready that came in their midst.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub across: Option<u64>,
    /// Seed of the calls.
    pub seed: u64,
    /// Calls asked for.
    pub calls: u64,
    /// Calls whose event was there and was compared.
    pub captured: u64,
    /// Differences found.
    pub mismatches: u64,
    /// Events that the tracer counted as lost.
    pub lost: u64,
    /// Calls a second, from the first call to the last comparison.
    pub calls_per_second: f64,
    /// Seconds by stage.
    pub seconds: Seconds,
    /// The first differences, in words.
    pub findings: Vec<String>,
    /// The cases of the catalogue that were asked for, each with its own verdict; empty for other
    /// runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cases: Vec<CaseReport>,
    /// The command that does it again, after anything but a pass.
    pub replay: Option<String>,
    /// Folder with the console, the tracer's stderr and the plan, after anything but a pass.
    pub record: Option<PathBuf>,
    /// What a call is here: one under test, or a timer with its whole life.
    #[serde(skip)]
    unit: &'static str,
    /// Those of them that plans make.
    #[serde(skip)]
    calls_of_plans: u64,
    #[serde(skip)]
    findings_whole: Vec<Finding>,
    /// What the guest's console showed.
    #[serde(skip)]
    pub console: String,
    #[serde(skip)]
    qemu_stderr: String,
    #[serde(skip)]
    tracer_stderr: String,
}

impl Report {
    /// A report of a run that has not begun.
    pub fn new(options: &VerifyOptions) -> Self {
        Self {
            verdict: Verdict::Inconclusive,
            failure: None,
            not_run: None,
            kernel: KernelReport {
                name: options.setup.kernel_name().into(),
                ..KernelReport::default()
            },
            accelerator: None,
            start: None,
            attach: options.setup.attach.to_string(),
            events: Some(&options.setup.events)
                .filter(|events| **events != EventSet::all())
                .map(EventSet::to_argument),
            across: None,
            seed: options.seed,
            calls: options.work.calls(),
            unit: if options.setup.tells == Tells::Calls { "calls" } else { "timers" },
            calls_of_plans: options.work.calls_of_plans(),
            captured: 0,
            mismatches: 0,
            lost: 0,
            calls_per_second: 0.0,
            seconds: Seconds::default(),
            findings: Vec::new(),
            cases: CaseReport::expected(&options.work),
            replay: None,
            record: None,
            findings_whole: Vec::new(),
            console: String::new(),
            qemu_stderr: String::new(),
            tracer_stderr: String::new(),
        }
    }

    /// Takes down what the guest turned out to be.
    pub fn booted(&mut self, vm: &Vm) {
        self.accelerator = vm.accelerator;
        self.start = vm.start;
        self.kernel.release = Some(vm.kernel_release.clone());
    }

    /// Takes down what a guest that did not come up left behind.
    pub fn not_booted(&mut self, scratch: &Scratch) {
        self.console = scratch.console();
        self.qemu_stderr = scratch.qemu_stderr();
    }

    /// Takes down what was compared of the plans. Nothing counts as missing in a run that was cut
    /// short (`whole` is false). Gives the guest back.
    pub fn ran(&mut self, session: Session, whole: bool) -> Vm {
        self.tracer_stderr = session.tracer_stderr();
        let (vm, oracle) = session.end();
        let findings = if whole { oracle.finish() } else { oracle.so_far().clone() };
        for (case, index) in self.cases.iter_mut().zip(0..) {
            case.compared(index, &findings);
        }
        self.captured = findings.checked;
        self.mismatches = findings.mismatches();
        self.lost = findings.lost;
        self.across = findings.across;
        let provoked =
            self.cases.iter().map(CaseReport::provoked).fold(Provoked::default(), |sum, one| {
                Provoked { calls: sum.calls + one.calls, results: sum.results + one.results }
            });
        self.verdict = Verdict::of(&findings, self.calls_of_plans, provoked);
        self.findings = findings.first.iter().map(|finding| self.named(finding)).collect();
        self.findings_whole = findings.first;
        vm
    }

    /// A finding in words; of a case by the case's name, for which a plan's number says nothing.
    fn named(&self, finding: &Finding) -> String {
        let case =
            finding.place.plan.and_then(|plan| self.cases.get((plan / PLANS_PER_CASE) as usize));
        let Some(case) = case else { return finding.to_string() };
        let place =
            Place { plan: finding.place.plan.map(|plan| plan % PLANS_PER_CASE), ..finding.place };
        format!("{}: {}", case.name, Finding { place, ..finding.clone() })
    }

    /// Takes down what came of a scenario, which is case number `index`.
    pub fn played(&mut self, index: usize, outcome: Outcome) {
        self.cases[index].played(&outcome);
        self.captured += outcome.checked;
        self.mismatches += outcome.mismatches;
        let name = self.cases[index].name;
        self.findings.extend(outcome.wrong.iter().map(|wrong| format!("{name}: {wrong}")));
        self.findings.extend(outcome.findings.iter().map(|finding| format!("{name}: {finding}")));
    }

    /// Takes down what the guest's console showed.
    pub fn console(&mut self, console: String) {
        self.console = console;
    }

    /// Ends the report: the verdict, and after anything but a pass a record and the way back.
    pub fn conclude(
        &mut self,
        options: &VerifyOptions,
        seconds: Seconds,
        outcome: Result<(), Failure>,
    ) {
        self.seconds = seconds;
        let judged = seconds.calls + seconds.drain;
        self.calls_per_second = if judged > 0.0 { self.captured as f64 / judged } else { 0.0 };
        if let Err(failure) = &outcome {
            self.verdict = failure.verdict();
            self.failure = Some(failure.to_string());
            self.cases.iter_mut().for_each(|case| case.cut_off(failure.verdict()));
        }
        // Without a plan there is nothing but the cases to judge by.
        let of_plans = Some(self.verdict)
            .filter(|_| self.calls_of_plans > 0 || self.cases.is_empty() || outcome.is_err());
        let verdicts = self.cases.iter().map(|case| case.verdict).chain(of_plans);
        self.verdict =
            verdicts.max_by_key(|verdict| verdict.severity()).unwrap_or(Verdict::Inconclusive);
        if let Err(Failure::Infra(InfraError::KernelCannot { reason })) = outcome {
            // It would be the same the next time, and there is nothing to look into.
            self.not_run = Some(reason);
        } else if self.verdict != Verdict::Pass {
            self.replay = Some(self.replay_command(options));
            match self.keep_record(options) {
                Ok(folder) => self.record = Some(folder),
                Err(error) => {
                    self.findings.push(format!("the record of this run could not be kept: {error}"))
                }
            }
        }
    }

    /// The plan to which all findings belong, when there is one.
    fn only_plan(&self) -> Option<u64> {
        let mut plans = self.findings_whole.iter().map(|finding| finding.place.plan);
        let first = plans.next()??;
        plans.all(|plan| plan == Some(first)).then_some(first)
    }

    fn replay_command(&self, options: &VerifyOptions) -> String {
        if !self.cases.is_empty() {
            return self.cases_command(options) + &guest_words(options);
        }
        let mut command = String::from("cargo harness replay");
        let single = self.only_plan().filter(|_| self.failure.is_none());
        match (&options.work, single) {
            (Work::Literal { file, .. }, _) => {
                write!(command, " {}", quoted(&file.display().to_string()))
            }
            (Work::Run { calls }, Some(index)) => {
                let size = work::CALLS_PER_PLAN.min(calls - index * work::CALLS_PER_PLAN);
                write!(command, " --seed {} --plan {index} --calls {size}", options.seed)
            }
            (Work::Cases { .. }, _) => Ok(()),
            (Work::Run { calls }, None) => {
                write!(command, " --seed {} --calls {calls}", options.seed)
            }
            (Work::Lifecycle { timers, .. }, None) => {
                command =
                    format!("cargo harness lifecycle --seed {} --timers {timers}", options.seed);
                Ok(())
            }
            (Work::Lifecycle { timers, per_plan }, Some(index)) => {
                let timers = (*per_plan).min(timers - index * per_plan);
                command = format!(
                    "cargo harness lifecycle --seed {} --plan {index} --timers {timers}",
                    options.seed
                );
                Ok(())
            }
            (Work::OneLifecyclePlan { index, timers }, _) => {
                command = format!(
                    "cargo harness lifecycle --seed {} --plan {index} --timers {timers}",
                    options.seed
                );
                Ok(())
            }
            (Work::OnePlan { index, calls }, _) => {
                write!(command, " --seed {} --plan {index} --calls {calls}", options.seed)
            }
        }
        .expect("a string takes everything");
        command + &guest_words(options)
    }

    /// The words that ask for the cases of this run.
    fn all_words(&self) -> String {
        if self.cases.len() == CASES.len() {
            return " --catalogue".into();
        }
        self.cases.iter().map(|case| format!(" --case {}", case.name)).collect()
    }

    /// Runs the cases that did not pass.
    fn cases_command(&self, options: &VerifyOptions) -> String {
        let failed = self.cases.iter().filter(|case| case.verdict != Verdict::Pass);
        let names: String = failed.map(|case| format!(" --case {}", case.name)).collect();
        let all = self.cases.len() == CASES.len()
            && self.cases.iter().all(|case| case.verdict != Verdict::Pass);
        // What no case is to blame for takes all of them to show again.
        let which = if names.is_empty() || all { self.all_words() } else { names };
        let least = match options.work {
            Work::Cases { least: least @ 1.., .. } => format!(" --calls {least}"),
            _ => String::new(),
        };
        format!("cargo harness verify --seed {}{which}{least}", options.seed)
    }

    /// Keeps what a person needs to look into the failure.
    fn keep_record(&self, options: &VerifyOptions) -> Result<PathBuf, InfraError> {
        let folder = cache::record_folder();
        cache::write_whole(&folder.join("console.log"), self.console.as_bytes())?;
        cache::write_whole(&folder.join("qemu-stderr.log"), self.qemu_stderr.as_bytes())?;
        cache::write_whole(&folder.join("tracer-stderr.log"), self.tracer_stderr.as_bytes())?;
        let json = serde_json::to_vec_pretty(self).expect("a report is plain data");
        cache::write_whole(&folder.join("report.json"), &json)?;
        if let Some(plan) = options.work.plan(options.seed, self.only_plan()) {
            cache::write_whole(&folder.join("plan"), &plan.encode())?;
        }
        cache::keep_newest(&folder, cache::RECORDS_KEPT)?;
        Ok(folder)
    }

    /// The table and what follows it.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.table(), self.details())
    }

    /// What there is to say below the table: cases, differences, failure, record, and the way back.
    pub fn details(&self) -> String {
        let mut text = String::new();
        if !self.cases.is_empty() {
            text += &format!("{}\n", case::table(&self.cases));
        }
        for line in &self.findings {
            text += &format!("\n{line}\n");
        }
        if self.mismatches > self.findings.len() as u64 {
            text += &format!(
                "\n… and {} more differences\n",
                self.mismatches - self.findings.len() as u64
            );
        }
        if let Some(failure) = &self.failure {
            text += &format!("\n{}: {failure}\n", self.verdict);
        }
        if let Some(record) = &self.record {
            text += &format!("\nkept    {}\n", record.display());
        }
        if let Some(replay) = &self.replay {
            text += &format!("replay  {replay}\n");
        }
        text
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::UTF8_FULL_CONDENSED)
            .set_content_arrangement(ContentArrangement::Disabled);
        let release = self.kernel.release.clone().unwrap_or_else(|| self.kernel.name.clone());
        let kernel = match &self.kernel.package_version {
            Some(version) => format!("{release} (Debian {version})"),
            None => release,
        };
        let Seconds { prepare, boot, attach, calls, drain, scenarios, total } = self.seconds;
        let mut stages = format!(
            "prepare {prepare:.1} + boot {boot:.1} + attach {attach:.1} + calls {calls:.1} + drain {drain:.1}"
        );
        if scenarios > 0.0 {
            stages += &format!(" + scenarios {scenarios:.1}");
        }
        stages += &format!(" = {total:.1} in all");
        let rows = [
            ("kernel", kernel),
            (
                "accelerator",
                self.accelerator
                    .map_or_else(|| "none".into(), |accelerator| accelerator.to_string()),
            ),
            ("start", self.start.map_or_else(|| "none".into(), |start| start.to_string())),
            ("attach mode", self.attach.clone()),
            ("events", self.events.clone().unwrap_or_default()),
            ("alive when ready", self.across.map(grouped).unwrap_or_default()),
            ("seed", self.seed.to_string()),
            (self.unit, grouped(self.calls)),
            ("captured", grouped(self.captured)),
            ("mismatches", grouped(self.mismatches)),
            ("lost", grouped(self.lost)),
            (
                if self.unit == "calls" { "calls a second" } else { "timers a second" },
                grouped(self.calls_per_second.round() as u64),
            ),
            ("seconds", stages),
            ("verdict", self.verdict.to_string()),
        ];
        for (name, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
            table.add_row([Cell::new(name), Cell::new(value)]);
        }
        table
    }
}

/// A choice as the command line spells it.
fn value_name(value: &impl clap::ValueEnum) -> String {
    value.to_possible_value().expect("no choice is hidden").get_name().to_string()
}

/// The words of a command line that make the same guest and the same tracer.
fn guest_words(options: &VerifyOptions) -> String {
    let mut command = setup_words(&options.setup);
    if options.timeout != options.work.default_timeout() {
        command += &format!(
            " --timeout {}",
            quoted(&humantime::format_duration(options.timeout).to_string())
        );
    }
    command
}

/// The same without a limit of time.
pub(crate) fn setup_words(setup: &Setup) -> String {
    let kernel =
        if setup.here { "--here".into() } else { format!("--kernel {}", quoted(&setup.kernel)) };
    let mut command = format!(" {kernel} --attach {}", setup.attach);
    let defaults = Setup::default();
    if let Some(wrong) = setup.mutant {
        command += &format!(" --mutant {wrong}");
    }
    if setup.cpu != defaults.cpu {
        command += &format!(" --cpu {}", value_name(&setup.cpu));
    }
    if !setup.append.is_empty() {
        command += &format!(" --append {}", quoted(&setup.append));
    }
    if setup.tells == Tells::Nothing {
        command += " --no-tracer";
    }
    if setup.events != defaults.events {
        command += &format!(" --events {}", setup.events.to_argument());
    }
    if setup.by_name {
        command += " --by-name";
    }
    if setup.midway {
        command += " --midway";
    }
    if let Some(buffer) = &setup.buffer {
        command += &format!(" --buffer {buffer}");
    }
    if setup.start != defaults.start {
        command += " --cold";
    }
    if setup.accelerator != defaults.accelerator {
        command += &format!(" --accel {}", value_name(&setup.accelerator));
    }
    if setup.qemu != defaults.qemu {
        command += &format!(" --qemu {}", quoted(&setup.qemu.display().to_string()));
    }
    if let Some(inject) = &setup.inject {
        command += &format!(" --inject {}", value_name(inject));
    }
    command
}

/// A word as a shell takes it.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    shlex::try_quote(word).expect("no argument of a program has a NUL")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options_of(names: &[&'static str], least: u64) -> VerifyOptions {
        let work = Work::Cases { names: names.to_vec(), least };
        VerifyOptions {
            work,
            seed: 3,
            setup: Setup::default(),
            timeout: std::time::Duration::from_secs(1),
        }
    }

    #[test]
    fn only_what_did_not_pass_is_run_again() {
        let options = options_of(&["values/any", "pointers/null"], 0);
        let mut report = Report::new(&options);
        assert_eq!(
            report.cases_command(&options),
            "cargo harness verify --seed 3 --case values/any --case pointers/null"
        );
        report.cases[0].verdict = Verdict::Pass;
        assert_eq!(
            report.cases_command(&options),
            "cargo harness verify --seed 3 --case pointers/null"
        );
        report.cases[1].verdict = Verdict::Pass;
        assert_eq!(
            report.cases_command(&options),
            "cargo harness verify --seed 3 --case values/any --case pointers/null"
        );
        let all: Vec<&str> = CASES.iter().map(|case| case.name).collect();
        let options = options_of(&all, 5000);
        assert_eq!(
            Report::new(&options).cases_command(&options),
            "cargo harness verify --seed 3 --catalogue --calls 5000"
        );
    }

    #[test]
    fn a_finding_names_its_case() {
        let report = Report::new(&options_of(&["values/any", "pointers/null"], 0));
        let place = Place { plan: Some(PLANS_PER_CASE + 2), step: Some(4), call: Some(3) };
        let finding = Finding {
            place,
            kind: crate::oracle::Kind::Doubled,
            differences: Vec::new(),
            note: String::new(),
        };
        assert_eq!(
            report.named(&finding),
            "pointers/null: plan 2, step 4, call 3: event came twice"
        );
    }

    #[test]
    fn words_survive_the_shell() {
        for word in ["plain-word_1.0", "two words", "it's", "", "a;b", "$HOME"] {
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(format!("printf %s {}", quoted(word)))
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout), word);
        }
    }
}
