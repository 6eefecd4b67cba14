//! The property that the project exists for: whatever plan is generated, everything that its calls passed and
//! got is captured exactly. One guest serves all cases; each case is a process of its own in it.

use std::cell::RefCell;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use settime32_harness::boot::Deadline;
use settime32_harness::generate;
use settime32_harness::verify::Setup;

const CASES: u32 = 48;
const CALLS_MAX: usize = 200;

#[test]
fn any_plan_is_captured_exactly() {
    let deadline = Deadline::after(Duration::from_secs(300));
    let session = Setup::default().start(deadline).unwrap_or_else(|failure| panic!("{failure}"));
    let session = RefCell::new((session, 0_u64, 0_u64));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&generate::plan_strategy(1..=CALLS_MAX), |plan| {
        let (session, index, calls) = &mut *session.borrow_mut();
        *index += 1;
        *calls += plan.calls() as u64;
        let fail = |reason: String| TestCaseError::fail(reason);
        session.run_plan(*index, plan).map_err(|failure| fail(failure.to_string()))?;
        session.wait_events(0).map_err(|failure| fail(failure.to_string()))?;
        prop_assert_eq!(session.oracle.received(), *calls, "events are missing");
        prop_assert!(session.oracle.so_far().first.is_empty(), "{:?}", session.oracle.so_far().first);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    let (mut session, _, calls) = session.into_inner();
    session.stop_tracer().unwrap();
    let result = session.oracle.finish();
    assert_eq!((result.checked, result.mismatches(), result.lost), (calls, 0, 0), "{:?}", result.first);
    assert!(calls >= u64::from(CASES), "hardly anything was checked: {calls} calls");
}
