//! Runs the mutants of `settime32-mutants`, one after the other in one guest, each on the calls
//! that it is to be caught by; before them the shipped tracer, and the mutants' program with
//! no error in it, on all of those. What is a catch is decided by [`judge`], what the whole comes
//! to by [`score`].

mod judge;
mod score;

use std::time::{Duration, Instant};

use settime32_abi::plan::Plan;
use settime32_mutants::{About, RIGHT};

use crate::boot::{self, Deadline, Scratch, Vm};
use crate::embedded::{self, TRACER_PATH};
use crate::failure::Failure;
use crate::generate::catalogue::{self, Does, Field, Scenario};
use crate::generate::lifecycle::TIMERS_PER_PLAN;
use crate::kernels::{self, Kernel};
use crate::oracle::Findings;
use crate::programs::Programs;
use crate::scenario;
use crate::setup::{MUTANT_PATH, Setup};
use crate::verify::Watch;
use crate::work::{Tells, Work};

pub use judge::Outcome;
pub use score::{Caught, Passed, Score};

/// What a mutant is caught by.
pub type CaughtBy = settime32_mutants::Work;

/// A ring buffer that a bulk plan fills many times over.
const STARVED_BUFFER: &str = "4K";

/// What to run, and on what.
#[derive(Clone, Debug)]
pub struct MutantsOptions {
    /// The mutants.
    pub wrong: Vec<About>,
    /// Where the calls come from.
    pub seed: u64,
    /// The guest, and how tracers attach in it.
    pub setup: Setup,
    /// Wall-clock limit of the whole, from the boot on.
    pub timeout: Duration,
}

/// Runs everything. Fails when there is no guest to run it in; whatever else happens is in the
/// score.
pub fn run(options: &MutantsOptions, watch: &dyn Watch) -> Result<Score, Failure> {
    boot::check_qemu(&options.setup.qemu)?;
    let kernel = kernels::resolve(&options.setup.kernel, &|text| watch.say(text))?;
    let deadline = Deadline::after(options.timeout);
    let started = Instant::now();
    let mut lane = Lane { options, kernel, deadline, watch, guest: None, calls_made: 0 };
    let mut score = Score::new(options);
    for (tracer, command) in
        [("settime32-tracer", vec![TRACER_PATH]), ("settime32-mutant none", mutant_command(RIGHT))]
    {
        for asked in [Asked::Calls, Asked::Starved, Asked::Lifecycle] {
            let mut works: Vec<CaughtBy> =
                distinct(&options.wrong).filter(|work| Asked::for_work(*work) == asked).collect();
            works.sort_by_key(|work| place(*work));
            if works.is_empty() {
                continue;
            }
            let findings = lane.trace(&command, &works)?;
            let passed = Passed::new(tracer, &works, findings);
            watch.say(&format!("{tracer}: {}", passed.verdict));
            score.right.push(passed);
        }
    }
    for (tracer, wrong) in [("settime32-tracer", None), ("settime32-mutant none", Some(RIGHT))] {
        for work in distinct(&options.wrong) {
            let Some(scenario) = scenario_of(work) else { continue };
            let passed = Passed::played(tracer, work, lane.play(scenario, wrong)?);
            watch.say(&format!("{tracer}: {}", passed.verdict));
            score.right.push(passed);
        }
    }
    for about in &options.wrong {
        let caught = match scenario_of(about.caught_by) {
            _ if lane.version()? < about.since => Caught::not_run(about),
            Some(scenario) => Caught::played(about, lane.play(scenario, Some(about.name))?),
            None => {
                Caught::new(about, lane.trace(&mutant_command(about.name), &[about.caught_by])?)
            }
        };
        watch.say(&format!("{}: {}", about.name, caught.outcome));
        score.wrong.push(caught);
    }
    score.kernel = lane.kernel_release().unwrap_or(score.kernel);
    score.conclude(started.elapsed());
    Ok(score)
}

/// Calls that a run makes.
pub fn calls(options: &MutantsOptions) -> u64 {
    let wrong: u64 = options.wrong.iter().map(|about| work(about.caught_by).calls()).sum();
    let right: u64 = distinct(&options.wrong).map(|caught_by| work(caught_by).calls()).sum();
    wrong + 2 * right
}

/// In words.
pub fn described(caught_by: CaughtBy) -> String {
    match caught_by {
        CaughtBy::Case(name) | CaughtBy::Scenario(name) => name.to_owned(),
        CaughtBy::Bulk { calls } => format!("{calls} generated calls"),
        CaughtBy::Starved { calls } => {
            format!("{calls} generated calls, --buffer {STARVED_BUFFER}")
        }
        CaughtBy::Lifecycle { timers } => format!("{timers} lifecycles"),
    }
}

/// The scenario, when it is one.
fn scenario_of(caught_by: CaughtBy) -> Option<Scenario> {
    let CaughtBy::Scenario(name) = caught_by else { return None };
    match catalogue::find(name)?.does {
        Does::Scenario(scenario) => Some(scenario),
        _ => None,
    }
}

fn mutant_command(name: &'static str) -> Vec<&'static str> {
    vec![MUTANT_PATH, name]
}

/// How a tracer is asked to trace; one process of it does all works of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Calls,
    Starved,
    Lifecycle,
    /// Each scenario starts tracers of its own.
    Scenario,
}

impl Asked {
    const fn for_work(work: CaughtBy) -> Self {
        match work {
            CaughtBy::Case(_) | CaughtBy::Bulk { .. } => Self::Calls,
            CaughtBy::Starved { .. } => Self::Starved,
            CaughtBy::Lifecycle { .. } => Self::Lifecycle,
            CaughtBy::Scenario(_) => Self::Scenario,
        }
    }
}

/// What the tracers are caught by, each once, in the order of the tracers.
fn distinct(wrong: &[About]) -> impl Iterator<Item = CaughtBy> {
    let first =
        |at: usize| !wrong[..at].iter().any(|earlier| earlier.caught_by == wrong[at].caught_by);
    (0..wrong.len()).filter(move |at| first(*at)).map(|at| wrong[at].caught_by)
}

/// In the catalogue's order: what loses results on purpose is there behind what must not wait for
/// them.
fn place(caught_by: CaughtBy) -> Option<usize> {
    let CaughtBy::Case(name) = caught_by else { return None };
    catalogue::CASES.iter().position(|case| case.name == name)
}

fn work(caught_by: CaughtBy) -> Work {
    match caught_by {
        CaughtBy::Case(name) | CaughtBy::Scenario(name) => {
            Work::Cases { names: vec![name], least: 0 }
        }
        CaughtBy::Bulk { calls } | CaughtBy::Starved { calls } => Work::Run { calls },
        CaughtBy::Lifecycle { timers } => Work::Lifecycle { timers, per_plan: TIMERS_PER_PLAN },
    }
}

/// One guest, in which one tracer runs after the other.
struct Lane<'a> {
    options: &'a MutantsOptions,
    kernel: Kernel,
    deadline: Deadline,
    watch: &'a dyn Watch,
    /// The guest, while there is a sound one.
    guest: Option<Vm>,
    calls_made: u64,
}

impl Lane<'_> {
    /// Has a tracer trace, and gives what the oracle finds, or why it could find nothing; the guest
    /// is then given up, as nobody knows what is left in it. Fails itself when no guest comes up.
    fn trace(
        &mut self,
        tracer: &[&str],
        works: &[CaughtBy],
    ) -> Result<Result<Findings, Failure>, Failure> {
        let guest = self.take_guest()?;
        match self.trace_in(guest, tracer, works) {
            Ok((guest, findings)) => {
                self.guest = Some(guest);
                Ok(Ok(findings))
            }
            Err(failure) => Ok(Err(failure)),
        }
    }

    /// Does a scenario with a tracer; likewise.
    fn play(
        &mut self,
        scenario: Scenario,
        mutant: Option<&'static str>,
    ) -> Result<Result<scenario::Outcome, Failure>, Failure> {
        let guest = self.take_guest()?;
        let setup = Setup { mutant, ..self.options.setup.clone() };
        let mut programs = Programs::new(guest, self.deadline);
        let played = scenario::play(scenario, &mut programs, &setup, self.options.seed);
        // The model takes a guest for one that never slept.
        if played.is_ok() && scenario != Scenario::Field(Field::Suspended) {
            self.guest = Some(programs.into_vm());
        }
        Ok(played)
    }

    /// The guest that is up, or another one.
    fn take_guest(&mut self) -> Result<Vm, Failure> {
        self.guest.take().map_or_else(|| self.boot(), Ok)
    }

    fn boot(&self) -> Result<Vm, Failure> {
        self.watch.say(&format!("booting {}", self.kernel.name));
        let program = embedded::mutant()?;
        let mut guest = self.options.setup.boot(
            self.kernel.clone(),
            &Scratch::new()?,
            self.deadline,
            &|text| self.watch.say(text),
        )?;
        guest.put(MUTANT_PATH, 0o755, program.to_vec(), self.deadline)?;
        Ok(guest)
    }

    fn trace_in(
        &mut self,
        guest: Vm,
        tracer: &[&str],
        works: &[CaughtBy],
    ) -> Result<(Vm, Findings), Failure> {
        let any = |asked| works.iter().any(|work| Asked::for_work(*work) == asked);
        let buffer = any(Asked::Starved).then(|| STARVED_BUFFER.to_owned());
        let tells = if any(Asked::Lifecycle) { Tells::Lifecycle } else { Tells::Calls };
        let setup = Setup { buffer, tells, ..self.options.setup.clone() };
        let mut session = setup.session(guest, tracer, self.deadline);
        session.attach()?;
        let plans = works.iter().flat_map(|caught_by| {
            plans(*caught_by, self.options.seed).map(move |plan| (*caught_by, plan))
        });
        for (index, (caught_by, plan)) in (0..).zip(plans) {
            let calls = if let CaughtBy::Lifecycle { timers } = caught_by {
                timers
            } else {
                plan.calls() as u64
            };
            session.run_plan(index, plan)?;
            self.calls_made += calls;
            self.watch.calls_made(self.calls_made);
            session.wait_outstanding(calls)?;
        }
        session.stop_tracer()?;
        let (guest, oracle) = session.end();
        Ok((guest, oracle.finish()))
    }

    /// The version of the guest's kernel.
    fn version(&mut self) -> Result<(u32, u32), Failure> {
        self.guest = Some(self.take_guest()?);
        Ok(self.kernel_release().map_or((0, 0), |release| kernels::version(&release)))
    }

    fn kernel_release(&self) -> Option<String> {
        self.guest.as_ref().map(|guest| guest.kernel_release.clone())
    }
}

fn plans(caught_by: CaughtBy, seed: u64) -> impl Iterator<Item = Plan> {
    work(caught_by).plans(seed).map(|(_, plan)| plan)
}

#[cfg(test)]
mod tests {
    use settime32_mutants::MUTANTS;

    use super::*;

    #[test]
    fn every_case_that_catches_is_in_the_catalogue() {
        for about in MUTANTS {
            if let CaughtBy::Scenario(name) = about.caught_by {
                assert!(
                    scenario_of(about.caught_by).is_some(),
                    "{} is caught by {name}, which is no scenario",
                    about.name
                );
                continue;
            }
            assert!(calls_of(about) > 0, "{} is caught by no calls", about.name);
            if let CaughtBy::Lifecycle { .. } = about.caught_by {
                assert_eq!(plans(about.caught_by, 1).count(), 1, "{}", about.name);
            }
            if let CaughtBy::Case(name) = about.caught_by {
                assert!(
                    catalogue::find(name).is_some(),
                    "{} is caught by {name}, which is no case",
                    about.name
                );
            }
        }
    }

    fn calls_of(about: &About) -> u64 {
        work(about.caught_by).calls()
    }

    #[test]
    fn what_several_are_caught_by_is_run_once_for_the_right_one() {
        let by = |caught_by| About { caught_by, ..About::RIGHT };
        let (one, other) = (CaughtBy::Case("values/any"), CaughtBy::Bulk { calls: 5 });
        assert_eq!(distinct(&[by(one), by(other), by(one)]).collect::<Vec<_>>(), [one, other]);
    }
}
