//! The tracer's coming and going: under load, two at once, ended by signals.

use settime32_abi::plan::{Call, Clock, Plan, Step};

use super::Outcome;
use super::stand::{Done, SIGINT, SIGKILL, SIGTERM, Stand};
use crate::boot::WORKLOAD_COMM;
use crate::failure::Failure;
use crate::generate::catalogue::script::Script;

/// Times that a tracer starts and stops under load.
const ROUNDS: usize = 2;
/// Events that it sees at least before it stops.
const EVENTS: usize = 200;

/// Calls that differ from each other in all that they pass, now and then with a pause that lets the plan last.
pub(super) fn steady(name: &str, seed: u64, bursts: u32, pause: bool) -> Plan {
    const BURST: u32 = 10;
    let mut script = Script::new(name, seed);
    script.timer(0, Clock::Monotonic);
    // Never armed, so that a wait for it lasts its whole time.
    script.timer(1, Clock::Monotonic);
    for _ in 0..bursts {
        for _ in 0..BURST {
            let call = Call::plain(0, script.valid());
            script.call(call);
        }
        if pause {
            script.step(Step::Wait { slot: 1, timeout_ms: 1 });
        }
    }
    script.into_plan()
}

/// Two workloads for each round.
pub(super) fn load(seed: u64) -> Vec<Plan> {
    (0..2 * ROUNDS).map(|number| steady(&format!("restart/load-{number}"), seed, 1000, true)).collect()
}

pub(super) fn one(seed: u64) -> Vec<Plan> {
    vec![steady("restart/one", seed, 200, false)]
}

pub(super) fn two(seed: u64) -> Vec<Plan> {
    vec![steady("restart/first", seed, 400, true), steady("restart/second", seed, 200, false)]
}

/// Every tracer sees one stretch of each workload's calls, whole and exact.
pub(super) fn under_load(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let mut plans = plans.into_iter();
    for _ in 0..ROUNDS {
        let workloads: Vec<_> = plans.by_ref().take(2).map(|plan| stand.workload(plan)).collect();
        let tracer = stand.tracer(&[])?;
        stand.wait_for_lines(tracer, EVENTS, &workloads)?;
        let ran = stand.end(tracer, SIGINT)?;
        let done = workloads.into_iter().map(|workload| stand.done(workload)).collect::<Result<Vec<Done>, _>>()?;
        let findings = stand.judge(&done, &ran, true);
        outcome.must_come_about(findings.outside > 0, "no call was made before a tracer came or after it went");
        // Two workloads are enough for a kernel that preempts to pass programs over.
        outcome.add(findings, true);
    }
    let clean = stand.is_clean()?;
    outcome.must(clean, "a probe is still there");
    Ok(outcome)
}

/// Only of the workload: the second one, as it starts, may make a call that the first one would see and be right.
pub(super) fn two_tracers(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let of_workload = ["--comm", WORKLOAD_COMM];
    let tracers = [stand.tracer(&of_workload)?, stand.tracer(&of_workload)?];
    let done = plans.into_iter().map(|plan| stand.run(plan)).collect::<Result<Vec<Done>, _>>()?;
    let mut outcome = Outcome::nothing();
    for tracer in tracers {
        let ran = stand.end(tracer, SIGINT)?;
        outcome.add(stand.judge(&done, &ran, false), false);
    }
    Ok(outcome)
}

pub(super) fn terminated(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let tracer = stand.tracer(&[])?;
    let hooked = !stand.is_clean()?;
    outcome.must_come_about(hooked, "the kernel's lists do not show the probes");
    let done = plans.into_iter().map(|plan| stand.run(plan)).collect::<Result<Vec<Done>, _>>()?;
    let ran = stand.end(tracer, SIGTERM)?;
    outcome.add(stand.judge(&done, &ran, false), false);
    let clean = stand.is_clean()?;
    outcome.must(clean, "a probe is still there");
    Ok(outcome)
}

/// One tracer is killed in the middle of the first plan; another one sees all of the second.
pub(super) fn killed(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let mut plans = plans.into_iter();
    let tracer = stand.tracer(&[])?;
    let hooked = !stand.is_clean()?;
    outcome.must_come_about(hooked, "the kernel's lists do not show the probes");
    let workloads: Vec<_> = plans.next().map(|plan| stand.workload(plan)).into_iter().collect();
    stand.wait_for_lines(tracer, EVENTS, &workloads)?;
    stand.end(tracer, SIGKILL)?;
    let clean = stand.is_clean()?;
    outcome.must(clean, "a probe is still there");
    // The call goes on as if nothing had been there.
    workloads.into_iter().try_for_each(|workload| stand.done(workload).map(drop))?;
    let tracer = stand.tracer(&[])?;
    let done = plans.map(|plan| stand.run(plan)).collect::<Result<Vec<Done>, _>>()?;
    let ran = stand.end(tracer, SIGINT)?;
    outcome.add(stand.judge(&done, &ran, false), false);
    Ok(outcome)
}
