//! The property that the project exists for: whatever plan is generated, everything that its calls
//! passed and got is captured exactly. One guest serves all cases; each case is a process of its
//! own in it. A plan that fails is shrunk there, and kept in `tests/regressions`, which every later
//! run does first.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use settime32_abi::plan::Plan;
use settime32_harness::boot::Deadline;
use settime32_harness::generate;
use settime32_harness::oracle::Finding;
use settime32_harness::regression::{self, Origin, Regression};
use settime32_harness::session::Session;
use settime32_harness::shrink::{self, Outcome, RUNS_MAX, Signature, Trial};
use settime32_harness::verify::Setup;

const CASES: u32 = 48;
const CALLS_MAX: usize = 200;

/// Set it to the number that a failed run printed, to see the same plans.
const SEED_ENV: &str = "SETTIME32_SEED";

#[test]
fn any_plan_is_captured_exactly() {
    let setup = Setup::default();
    let session = setup
        .start(Deadline::after(Duration::from_secs(900)))
        .unwrap_or_else(|failure| panic!("{failure}"));
    let cases = RefCell::new(Cases { session, plans: 0, calls: 0 });
    let kept = regression::all(&folder()).unwrap_or_else(|error| panic!("{error}"));
    for (path, regression) in &kept {
        let outcome = cases.borrow_mut().check(regression.plan());
        outcome.unwrap_or_else(|error| panic!("{} fails again: {error}", path.display()));
    }
    let seed = seed();
    // What fails is shrunk below, where each plan is judged by itself.
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        max_shrink_iters: 0,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match runner.run(&generate::plan_strategy(1..=CALLS_MAX), |plan| cases.borrow_mut().check(plan))
    {
        Ok(()) => {}
        Err(TestError::Fail(reason, plan)) => {
            let told = told(cases.into_inner().session, &setup, &plan);
            panic!("{reason}\n{told}\nsame plans again: {SEED_ENV}={seed}")
        }
        Err(error) => panic!("{error}; same plans again: {SEED_ENV}={seed}"),
    }
    let Cases { mut session, calls, .. } = cases.into_inner();
    session.stop_tracer().unwrap();
    let result = session.oracle.finish();
    assert_eq!(
        (result.checked, result.mismatches(), result.lost),
        (calls, 0, 0),
        "{:?}",
        result.first
    );
    assert!(calls >= u64::from(CASES), "hardly anything was checked: {calls} calls");
}

struct Cases {
    session: Session,
    plans: u64,
    calls: u64,
}

impl Cases {
    /// Runs a plan; only what comes to light with it is held against it.
    fn check(&mut self, plan: Plan) -> Result<(), TestCaseError> {
        let (mismatches, received) =
            (self.session.oracle.so_far().mismatches(), self.session.oracle.received());
        let calls = plan.calls() as u64;
        self.plans += 1;
        self.calls += calls;
        let fail =
            |failure: settime32_harness::failure::Failure| TestCaseError::fail(failure.to_string());
        self.session.run_plan(self.plans, plan).map_err(fail)?;
        self.session.wait_received(received + calls).map_err(fail)?;
        prop_assert_eq!(
            self.session.oracle.received() - received,
            calls,
            "events are missing, or too many"
        );
        let found = &self.session.oracle.so_far();
        prop_assert_eq!(
            found.mismatches(),
            mismatches,
            "{}",
            found.first.last().map(ToString::to_string).unwrap_or_default()
        );
        Ok(())
    }
}

fn seed() -> u64 {
    let chosen = std::env::var(SEED_ENV)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{SEED_ENV}={text} is no number")));
    chosen.unwrap_or_else(|| {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos()
            as u64
    })
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions")
}

/// The smallest plan that fails like this one, which is kept: in words, what differs, and how to
/// see it again.
fn told(session: Session, setup: &Setup, plan: &Plan) -> String {
    let mut trial = Trial::of_session(session, setup);
    let findings = match trial.findings(plan, None) {
        Ok(findings) => findings,
        Err(failure) => {
            return keep(
                setup,
                plan,
                None,
                &format!("kept as it was, since the guest failed: {failure}"),
            );
        }
    };
    let Some(finding) = findings.into_iter().next() else {
        return keep(setup, plan, None, "did not repeat in 1 run; kept as it was");
    };
    let signature = Signature::of(&finding);
    match shrink::shrink(plan, finding.place.step, RUNS_MAX, &mut |plan| {
        trial.fails(plan, &signature)
    }) {
        Ok(Outcome::Shrunk(shrunk)) => {
            let (smallest, finding) = (shrunk.plan.clone(), shrunk.finding.clone());
            keep(
                setup,
                &smallest,
                Some(&finding),
                &regression::note(&Outcome::Shrunk(shrunk), plan.calls()),
            )
        }
        Ok(outcome) => keep(setup, plan, Some(&finding), &regression::note(&outcome, plan.calls())),
        Err(failure) => keep(
            setup,
            plan,
            Some(&finding),
            &format!("kept as it was, since the guest failed while it was being shrunk: {failure}"),
        ),
    }
}

fn keep(setup: &Setup, plan: &Plan, finding: Option<&Finding>, note: &str) -> String {
    let (kernel, attach) = (setup.kernel.clone(), setup.attach.to_string());
    let found = Origin {
        plan: "tests/property.rs".into(),
        kernel,
        attach,
        tracer: "settime32-tracer".into(),
    };
    let said = finding.map(ToString::to_string).unwrap_or_default();
    let regression = Regression::new(found, finding.map(Signature::of), note.into(), &said, plan);
    let path = regression.keep(&folder()).unwrap();
    let replay = format!("cargo harness replay {}", path.display());
    let c = finding.map(|finding| regression.keep_c(&path, finding, &replay).unwrap());
    let c = c.map_or_else(String::new, |c| {
        c.map_or_else(|not| not.to_string(), |path| format!("in C    {}", path.display()))
    });
    format!("{note}\n{}\n{said}\n{c}\nreplay  {replay}", regression.words.join("\n"))
}
