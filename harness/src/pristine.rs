//! Guests for tests: each is pristine, in a fraction of a second ([`crate::warm`]), and gone when
//! it is dropped. A test takes one as a fixture.
//!
//! ```no_run
//! use rstest::{fixture, rstest};
//! use settime32_harness::generate;
//! use settime32_harness::pristine::Traced;
//! use settime32_harness::verify::Setup;
//!
//! #[fixture]
//! fn guest() -> Traced {
//!     Traced::start(&Setup::default()).unwrap_or_else(|failure| panic!("{failure}"))
//! }
//!
//! #[rstest]
//! fn any_plan_is_captured_exactly(mut guest: Traced, #[values(1, 2, 3)] seed: u64) {
//!     let done = guest.run(generate::plan(seed, 0, 20)).unwrap();
//!     assert!(done.is_exact(), "{:?}", done.findings);
//! }
//! ```
//!
//! It works in threads (`cargo test`) and in processes of their own (`cargo nextest`) alike: what
//! they share is in the cache, behind locks.

use std::time::Duration;

use settime32_abi::journal::Journal;
use settime32_abi::output::CallEvent;
use settime32_abi::plan::{Call, FdKind, Plan, Step};

use crate::boot::Deadline;
use crate::failure::Failure;
use crate::oracle::{Finding, Findings};
use crate::programs::Programs;
use crate::session::Session;
use crate::setup::Setup;

/// A test that is not over by then hangs.
const LIMIT: Duration = Duration::from_secs(300);

/// A guest in which nothing runs but the agent.
pub fn plain(setup: &Setup) -> Result<Programs, Failure> {
    let deadline = Deadline::after(LIMIT);
    Ok(Programs::new(setup.boot_alone(deadline)?, deadline))
}

/// A guest in which the tracer is attached.
#[derive(Debug)]
pub struct Traced {
    session: Session,
    plans: u64,
}

/// What came of a plan.
#[derive(Clone, Debug)]
pub struct Done {
    /// What the workload passed and got.
    pub journal: Journal,
    /// Findings that came with this plan, the first of them; empty when all is right.
    pub findings: Vec<Finding>,
    /// All of them.
    pub mismatches: u64,
    /// Calls that the plan makes.
    pub calls: u64,
    lines: Vec<Vec<u8>>,
}

impl Done {
    /// The events that the tracer printed, in its order. Lines that are none are among the
    /// findings.
    pub fn events(&self) -> Vec<CallEvent<'_>> {
        self.lines.iter().filter_map(|line| serde_json::from_slice(line).ok()).collect()
    }

    /// Whether each call was captured once, and every field is right.
    pub fn is_exact(&self) -> bool {
        self.mismatches == 0 && self.events().len() as u64 == self.calls
    }
}

impl Traced {
    /// A new guest.
    pub fn start(setup: &Setup) -> Result<Self, Failure> {
        let mut session = setup.start(Deadline::after(LIMIT))?;
        session.keep_what_comes();
        Ok(Self { session, plans: 0 })
    }

    /// Runs a plan, and waits for its events; those of a tracer that says nothing for ten seconds
    /// count as missing.
    pub fn run(&mut self, plan: Plan) -> Result<Done, Failure> {
        let calls = plan.calls() as u64;
        let so_far = self.session.oracle.so_far();
        let (received, known, mismatches) =
            (self.session.oracle.received(), so_far.first.len(), so_far.mismatches());
        self.session.run_plan(self.plans, plan)?;
        self.plans += 1;
        self.session.wait_received(received + calls)?;
        let (journal, lines) = self.session.take_kept();
        let so_far = self.session.oracle.so_far();
        let findings = so_far.first[known..].to_vec();
        Ok(Done {
            journal: journal.expect("the plan is done"),
            findings,
            mismatches: so_far.mismatches() - mismatches,
            calls,
            lines,
        })
    }

    /// Makes one call, on a descriptor of this kind that is opened for it as the call's slot.
    /// Nothing is started anew but the workload.
    pub fn call(&mut self, kind: FdKind, call: Call) -> Result<Done, Failure> {
        self.run(Plan {
            steps: vec![Step::Open { slot: call.slot, kind }, Step::Call(call)],
            ..Plan::default()
        })
    }

    /// The guest's session, for what is not here: files of the guest, the oracle.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Ends the tracer, and gives everything that was found.
    pub fn end(mut self) -> Result<Findings, Failure> {
        self.session.stop_tracer()?;
        Ok(self.session.end().1.finish())
    }
}
