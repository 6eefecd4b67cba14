//! One guest of several: takes seeds, runs their plans under one tracer for a while, has the tracer
//! stop so that its last words are judged, too, and has what failed looked into before the seeds
//! count as done.

use std::thread;
use std::time::{Duration, Instant};

use settime32_abi::plan::Plan;

use super::Run;
use super::found;
use super::state::{Config, Fault};
use crate::boot::{Deadline, Scratch, Vm};
use crate::failure::{Failure, InfraError};
use crate::generate;
use crate::oracle::{Config as OracleConfig, Findings, Oracle};
use crate::regression::Regression;
use crate::session::Session;
use crate::setup::BOOT_TIMEOUT;
use crate::shrink::{Signature, Trial};

/// How long a tracer runs before it is asked to stop; what a run that is killed may have to do
/// again.
const TURN: Duration = Duration::from_secs(15);
/// How long one plan may take.
const PLAN_LIMIT: Duration = Duration::from_secs(120);
/// Findings that are kept of a turn; it ends early when there are half as many.
const FINDINGS_MAX: usize = 10_000;

/// A guest and what it is at.
pub(super) struct Lane<'a> {
    pub(super) run: &'a Run<'a>,
    /// The guest, between turns, and the kernel in it.
    guest: Option<(String, Vm)>,
    /// The files of the guest that was started last, for what its console shows of a failure.
    scratch: Option<Scratch>,
}

/// What a turn is to run.
#[derive(Clone, Copy)]
enum Source {
    /// The seed at this place, and those that follow in the queue.
    From(u64),
    /// The seed at this place.
    Only(u64),
}

impl<'a> Lane<'a> {
    pub(super) const fn new(run: &'a Run<'a>) -> Self {
        Self { run, guest: None, scratch: None }
    }

    /// Works until nothing is left to be done. Fails when no guest can be had.
    pub(super) fn work(&mut self) -> Result<(), Failure> {
        while let Some(cell) = self.run.queue.enter() {
            // Taken before a guest is booted for it.
            let outcome = if self.run.queue.take_regressions(cell) {
                self.regressions(cell)
            } else {
                self.run
                    .queue
                    .take(cell)
                    .map_or(Ok(()), |first| self.turn(cell, Source::From(first)))
            };
            self.run.queue.leave(cell);
            match outcome {
                Err(Failure::Infra(InfraError::KernelCannot { reason })) => {
                    self.guest = None;
                    self.run.queue.close(cell);
                    self.run.state().cells[cell].not_run = Some(reason);
                }
                Err(failure) => {
                    self.run.queue.give_up();
                    return Err(failure);
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// A guest for the cell, with its tracer in it: the one that is there, if it has the right
    /// kernel.
    pub(super) fn guest(&mut self, cell: usize) -> Result<Vm, Failure> {
        let setup = &self.run.options.cells[cell];
        if let Some((_, vm)) = self.guest.take().filter(|(kernel, _)| *kernel == setup.kernel) {
            return Ok(vm);
        }
        let say = |text: &str| self.run.progress.say(text);
        let deadline = Deadline::after(2 * BOOT_TIMEOUT);
        let scratch = self.scratch.insert(Scratch::new()?);
        let mut vm = setup
            .boot(self.run.kernels[cell].clone(), scratch, deadline, &say)
            .inspect_err(|failure| failure.keep_consoles(scratch, &say))?;
        setup.bring_tracer(&mut vm, deadline)?;
        Ok(vm)
    }

    /// Keeps what the console of the guest shows that failed.
    pub(super) fn keep_consoles(&self, failure: &Failure) {
        if let Some(scratch) = &self.scratch {
            failure.keep_consoles(scratch, &|text| self.run.progress.say(text));
        }
    }

    /// Keeps a guest that is sound.
    pub(super) fn keep(&mut self, cell: usize, vm: Vm) {
        self.guest = Some((self.run.options.cells[cell].kernel.clone(), vm));
    }

    /// Runs seeds under one tracer, and judges what came of it.
    fn turn(&mut self, cell: usize, source: Source) -> Result<(), Failure> {
        let mut places = Vec::new();
        match self.trace(cell, source, &mut places) {
            Ok(findings) => {
                found::judge(self, cell, &places, &findings)?;
                self.run.record(cell, &places, &findings);
                Ok(())
            }
            Err(failure) if matches!(failure, Failure::Infra(_)) || places.is_empty() => {
                Err(failure)
            }
            Err(failure) => {
                self.keep_consoles(&failure);
                self.broken(cell, source, places, &failure)
            }
        }
    }

    /// The guest failed: the last plan is run once more by itself, and kept in any case; the others
    /// are to be done again.
    fn broken(
        &mut self,
        cell: usize,
        source: Source,
        mut places: Vec<u64>,
        failure: &Failure,
    ) -> Result<(), Failure> {
        let Some(last) = places.pop() else { return Ok(()) };
        self.run.queue.give_back(cell, places);
        if let Source::Only(_) = source {
            found::keep_guest_failure(
                self,
                cell,
                last,
                failure,
                "failed twice; not shrunk, since each trial would take a new guest",
            )?;
            self.run.record(cell, &[last], &Findings::default());
            return Ok(());
        }
        let text = failure.to_string();
        self.run.progress.say(&format!(
            "{}: {text}; running the last plan again by itself",
            self.run.options.cells[cell]
        ));
        self.turn(cell, Source::Only(last))?;
        let known = self
            .run
            .state()
            .faults
            .iter()
            .any(|fault| fault.signature.is_none() && self.run.saw(fault, cell, last));
        if known {
            Ok(())
        } else {
            found::keep_guest_failure(
                self,
                cell,
                last,
                failure,
                "did not repeat in 1 run; kept as it was",
            )
        }
    }

    fn trace(
        &mut self,
        cell: usize,
        source: Source,
        places: &mut Vec<u64>,
    ) -> Result<Findings, Failure> {
        let setup = &self.run.options.cells[cell];
        let vm = self.guest(cell)?;
        let tracer = setup.tracer_program(&vm);
        let mut session = setup.session(vm, &tracer, Deadline::after(PLAN_LIMIT));
        session.oracle = Oracle::new(OracleConfig {
            max_findings: FINDINGS_MAX,
            ..setup.oracle_config(session.vm())
        });
        session.attach()?;
        self.run_plans(cell, source, &mut session, places)?;
        session.stop_tracer()?;
        let (vm, oracle) = session.end();
        self.keep(cell, vm);
        Ok(oracle.finish())
    }

    /// Each plan is made while the one before it runs.
    fn run_plans(
        &self,
        cell: usize,
        source: Source,
        session: &mut Session,
        places: &mut Vec<u64>,
    ) -> Result<(), Failure> {
        let config = &self.run.config;
        let started = Instant::now();
        let (Source::From(first) | Source::Only(first)) = source;
        let mut first = Some(first);
        let mut take = || match (first.take(), source) {
            (Some(first), _) => Some(first),
            (None, Source::Only(_)) => None,
            (None, Source::From(_)) if started.elapsed() > TURN => None,
            (None, Source::From(_)) => self.run.queue.take(cell),
        };
        thread::scope(|scope| {
            let make = |place| (place, scope.spawn(move || plan_of(config, place)));
            let mut next = take().map(make);
            let mut judged = 0;
            while let Some((place, plan)) = next.take() {
                next = take().map(make);
                places.push(place);
                let plan = plan.join().expect("making a plan does not panic");
                let outcome = self.run_plan(session, place, plan, &mut judged);
                if !matches!(outcome, Ok(false)) {
                    self.run.queue.give_back(cell, next.map(|(place, _)| place));
                    return outcome.map(drop);
                }
            }
            Ok(())
        })
    }

    /// Whether it has to be looked into. `judged` findings were there before.
    fn run_plan(
        &self,
        session: &mut Session,
        place: u64,
        plan: Plan,
        judged: &mut usize,
    ) -> Result<bool, Failure> {
        let calls = plan.calls() as u64;
        session.set_deadline(Deadline::after(PLAN_LIMIT));
        session.run_plan(place, plan)?;
        session.wait_outstanding(calls)?;
        self.run.progress.ran(calls);
        let findings = &session.oracle.so_far().first;
        let new = &findings[*judged..];
        *judged = findings.len();
        let unknown =
            new.iter().any(|finding| self.run.state().known(&Signature::of(finding)).is_none());
        Ok(unknown || findings.len() > FINDINGS_MAX / 2 || session.oracle.outstanding() > calls)
    }

    /// Runs what failed before, each plan by itself.
    fn regressions(&mut self, cell: usize) -> Result<(), Failure> {
        let setup = &self.run.options.cells[cell];
        let vm = self.guest(cell)?;
        let mut trial = Trial::new(vm, setup);
        for (path, regression) in &self.run.regressions {
            match trial.findings(&regression.plan(), regression.signature.as_ref()) {
                Ok(findings) => {
                    let Some(finding) = findings.first() else { continue };
                    let again = Signature::of(finding);
                    self.run.add(self.again(
                        cell,
                        path,
                        regression,
                        Some(again),
                        &finding.to_string(),
                    ));
                }
                Err(failure @ Failure::Infra(_)) => return Err(failure),
                Err(failure) => {
                    self.run.add(self.again(cell, path, regression, None, &failure.to_string()));
                    trial = Trial::new(self.guest(cell)?, setup);
                }
            }
        }
        if let Some(vm) = trial.into_guest() {
            self.keep(cell, vm);
        }
        Ok(())
    }

    fn again(
        &self,
        cell: usize,
        path: &std::path::Path,
        regression: &Regression,
        signature: Option<Signature>,
        said: &str,
    ) -> Fault {
        let title = signature
            .as_ref()
            .map_or_else(|| format!("guest failure: {said}"), ToString::to_string);
        let c = path.with_extension("c");
        Fault {
            title,
            signature,
            seen: Default::default(),
            note: "a regression that fails again".into(),
            words: regression.words.clone(),
            finding: said.lines().map(str::to_owned).collect(),
            file: path.into(),
            c: if c.exists() { c.display().to_string() } else { String::new() },
            replay: self.run.replay(cell, path),
        }
    }
}

/// The plan of the seed at a place.
pub(super) fn plan_of(config: &Config, place: u64) -> Plan {
    let calls =
        usize::try_from(config.calls_of(place)).expect("plans hold at most CALLS_PER_PLAN calls");
    generate::plan(config.seed_at(place), 0, calls)
}
