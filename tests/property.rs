//! The property that the project exists for: whatever plan is generated, everything that its calls passed and
//! got is captured exactly. One guest serves all cases; each case is a process of its own in it.

use std::cell::RefCell;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use settime32_abi::plan::Plan;
use settime32_harness::boot::Deadline;
use settime32_harness::generate;
use settime32_harness::session::Session;
use settime32_harness::verify::Setup;

const CASES: u32 = 48;
const CALLS_MAX: usize = 200;

/// Plans that are tried while shrinking; a plan takes about 20 ms, and ten seconds when events are missing.
const SHRINK_MAX: u32 = 200;

/// Set it to the number that a failed run printed, to see the same plans.
const SEED_ENV: &str = "SETTIME32_SEED";

#[test]
fn any_plan_is_captured_exactly() {
    let session = Setup::default().start(Deadline::after(Duration::from_secs(900))).unwrap_or_else(|failure| panic!("{failure}"));
    let cases = RefCell::new(Cases { session, plans: 0, calls: 0 });
    let seed = seed();
    let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: SHRINK_MAX, ..Config::default() };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    match runner.run(&generate::plan_strategy(1..=CALLS_MAX), |plan| cases.borrow_mut().check(plan)) {
        Ok(()) => {}
        Err(TestError::Fail(reason, plan)) => panic!(
            "{reason}\nthe smallest plan that fails so: {plan:?}\nreplay it: cargo harness replay {}\nsame plans again: {SEED_ENV}={seed}",
            keep(&plan).display()
        ),
        Err(error) => panic!("{error}; same plans again: {SEED_ENV}={seed}"),
    }
    let Cases { mut session, calls, .. } = cases.into_inner();
    session.stop_tracer().unwrap();
    let result = session.oracle.finish();
    assert_eq!((result.checked, result.mismatches(), result.lost), (calls, 0, 0), "{:?}", result.first);
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
        let (mismatches, received) = (self.session.oracle.so_far().mismatches(), self.session.oracle.received());
        let calls = plan.calls() as u64;
        self.plans += 1;
        self.calls += calls;
        let fail = |failure: settime32_harness::failure::Failure| TestCaseError::fail(failure.to_string());
        self.session.run_plan(self.plans, plan).map_err(fail)?;
        self.session.wait_received(received + calls).map_err(fail)?;
        prop_assert_eq!(self.session.oracle.received() - received, calls, "events are missing, or too many");
        let found = &self.session.oracle.so_far();
        prop_assert_eq!(found.mismatches(), mismatches, "{}", found.first.last().map(ToString::to_string).unwrap_or_default());
        Ok(())
    }
}

fn seed() -> u64 {
    let chosen = std::env::var(SEED_ENV).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{SEED_ENV}={text} is no number")));
    chosen.unwrap_or_else(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64)
}

/// Writes the plan where it outlives the test.
fn keep(plan: &Plan) -> PathBuf {
    let path = std::env::temp_dir().join(format!("settime32-minimal-{}.plan", std::process::id()));
    std::fs::write(&path, plan.encode()).unwrap();
    path
}
