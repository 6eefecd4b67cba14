//! Runs one plan after the other in a guest, each judged by itself, while the tracer stays
//! attached.
//!
//! Behind each plan runs another, of one plain call: the tracer prints events in their order, so
//! that when that call's has come, all of the plan's have that will ever come.

use std::time::Duration;

use settime32_abi::plan::{Call, Clock, FdKind, Plan, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};

use super::Signature;
use crate::boot::{Deadline, Vm};
use crate::failure::Failure;
use crate::oracle::{Finding, Findings, Kind, Oracle};
use crate::session::Session;
use crate::setup::Setup;

/// The plan under trial, and the one behind it.
const TRIED: u64 = 0;
const FENCE: u64 = 1;

/// How long to wait for the event of the fence while nothing comes. It decides only how long a
/// trial of a tracer takes that loses just that event.
const SILENCE: Duration = Duration::from_secs(2);

/// How long a trial may take.
const TRIAL_LIMIT: Duration = Duration::from_secs(120);

/// A guest in which plans are tried.
#[derive(Debug)]
pub struct Trial<'a> {
    setup: &'a Setup,
    guest: Guest,
}

#[derive(Debug)]
enum Guest {
    /// With the tracer attached.
    Traced(Box<Session>),
    /// Without.
    Idle(Box<Vm>),
    /// A trial failed half-way.
    Gone,
}

impl<'a> Trial<'a> {
    /// Tries plans in a guest in which no tracer runs.
    pub fn new(vm: Vm, setup: &'a Setup) -> Self {
        Self { setup, guest: Guest::Idle(Box::new(vm)) }
    }

    /// Tries plans in a session whose tracer is attached, and of which all events have come.
    pub fn of_session(session: Session, setup: &'a Setup) -> Self {
        Self { setup, guest: Guest::Traced(Box::new(session)) }
    }

    /// Runs the plan and says how it fails, if it does so in the way of `signature`.
    ///
    /// # Errors
    ///
    /// When the guest or a program in it fails; nothing more can be tried then.
    pub fn fails(
        &mut self,
        plan: &Plan,
        signature: &Signature,
    ) -> Result<Option<Finding>, Failure> {
        Ok(self
            .findings(plan, Some(signature))?
            .into_iter()
            .find(|finding| signature.is_shown_by(finding)))
    }

    /// Runs the plan and gives all findings; `like` says whether it takes the tracer's last words
    /// to see them.
    ///
    /// # Errors
    ///
    /// As above.
    pub fn findings(
        &mut self,
        plan: &Plan,
        like: Option<&Signature>,
    ) -> Result<Vec<Finding>, Failure> {
        let whole = like.is_some_and(|signature| signature.kind == Kind::Summary);
        let mut findings = if whole { self.whole(plan)? } else { self.running(plan)? }.first;
        findings.retain(|finding| finding.place.plan != Some(FENCE));
        Ok(findings)
    }

    /// Ends the tracer if one runs, and gives the guest back; `None` when it is not fit for more.
    pub fn into_guest(self) -> Option<Vm> {
        match self.guest {
            Guest::Traced(mut session) => session.stop_tracer().is_ok().then(|| session.end().0),
            Guest::Idle(vm) => Some(*vm),
            Guest::Gone => None,
        }
    }

    /// With the tracer that is attached.
    fn running(&mut self, plan: &Plan) -> Result<Findings, Failure> {
        let mut session = self.traced()?;
        session.set_deadline(Deadline::after(TRIAL_LIMIT));
        session.oracle = Oracle::new(self.setup.oracle_config(session.vm()));
        session.run_plan(TRIED, plan.clone())?;
        session.run_plan(FENCE, fence())?;
        session.wait_compared(FENCE, SILENCE)?;
        let fresh = Oracle::new(self.setup.oracle_config(session.vm()));
        let findings = std::mem::replace(&mut session.oracle, fresh).finish_running();
        self.guest = Guest::Traced(session);
        Ok(findings)
    }

    /// With a tracer of its own, for what only its last words show.
    fn whole(&mut self, plan: &Plan) -> Result<Findings, Failure> {
        if let Guest::Traced(_) = self.guest {
            let mut session = self.traced()?;
            session.stop_tracer()?;
            self.guest = Guest::Idle(Box::new(session.end().0));
        }
        let mut session = self.traced()?;
        session.set_deadline(Deadline::after(TRIAL_LIMIT));
        session.run_plan(TRIED, plan.clone())?;
        session.stop_tracer()?;
        let (vm, oracle) = session.end();
        self.guest = Guest::Idle(Box::new(vm));
        Ok(oracle.finish())
    }

    /// The session, taken out so that a failure leaves nothing behind that could be used.
    fn traced(&mut self) -> Result<Box<Session>, Failure> {
        match std::mem::replace(&mut self.guest, Guest::Gone) {
            Guest::Traced(session) => Ok(session),
            Guest::Idle(vm) => {
                let tracer = self.setup.tracer_program(&vm);
                let mut session = self.setup.session(*vm, &tracer, Deadline::after(TRIAL_LIMIT));
                session.attach()?;
                Ok(Box::new(session))
            }
            Guest::Gone => unreachable!("nothing is tried in a guest that failed"),
        }
    }
}

/// One call with nothing odd about it.
fn fence() -> Plan {
    let new = OldItimerspec32 {
        it_value: OldTimespec32 { tv_sec: 1000, tv_nsec: 0 },
        ..OldItimerspec32::default()
    };
    let steps = vec![
        Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) },
        Step::Call(Call::plain(0, new)),
    ];
    Plan { steps, ..Plan::default() }
}
