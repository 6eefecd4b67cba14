//! The tracer's coming and going: under load, two at once, ended by signals.

use settime32_abi::plan::Plan;

use super::Outcome;
use super::stand::{Done, SIGINT, SIGKILL, SIGTERM, Stand};
use crate::embedded::WORKLOAD_COMM;
use crate::failure::Failure;

/// Events that it sees at least before it stops.
const EVENTS: usize = 200;

/// Every tracer sees one stretch of each workload's calls, whole and exact.
pub(super) fn under_load(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let mut plans = plans.into_iter();
    while plans.len() > 0 {
        let workloads: Vec<_> = plans.by_ref().take(2).map(|plan| stand.workload(plan)).collect();
        let tracer = stand.tracer(&[])?;
        stand.wait_for_lines(tracer, EVENTS, &workloads)?;
        let ran = stand.end(tracer, SIGINT)?;
        let done = workloads
            .into_iter()
            .map(|workload| stand.done(workload))
            .collect::<Result<Vec<Done>, _>>()?;
        let findings = stand.judge(&done, &ran, true);
        outcome.must_come_about(
            findings.outside > 0,
            "no call was made before a tracer came or after it went",
        );
        // Two workloads are enough for a kernel that preempts to pass programs over.
        outcome.add(findings, true);
    }
    let clean = stand.is_clean()?;
    outcome.must(clean, "a probe is still there");
    Ok(outcome)
}

/// Only of the workload: the second one, as it starts, may make a call that the first one would see
/// and be right.
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
