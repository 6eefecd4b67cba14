//! The tracer's options: a buffer that is too small, a filter.

use settime32_abi::plan::{Plan, Step};

use super::Outcome;
use super::stand::{SIGCONT, SIGINT, SIGSTOP, Stand};
use crate::failure::Failure;

/// The smallest buffer that there is, a page of a few dozen events.
const SMALLEST: &str = "4K";

/// Every call has its event or is counted as lost: neither more nor less.
pub(super) fn small_buffer(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    for plan in plans {
        // Of threads a kernel that preempts may lose calls for other reasons, each counted.
        let is_alone = !plan.steps.iter().any(|step| matches!(step, Step::Threads { .. }));
        let tracer = stand.tracer_with_buffer(SMALLEST)?;
        let done = stand.run(plan)?;
        let ran = stand.end(tracer, SIGINT)?;
        let findings = stand.judge(&[done], &ran, false);
        let (lost, missing) = (findings.lost, findings.missing);
        let by_buffer = findings.summary.as_ref().map_or(0, |summary| summary.lost.buffer);
        outcome.add(findings, true);
        outcome.must_come_about(by_buffer > 0, "nothing was lost");
        if is_alone {
            let counted = "the losses that were counted are not the calls without an event";
            outcome.must(lost == missing, counted);
            let words = format!(
                "{missing} calls that the buffer had no room for are not counted as such: {by_buffer} are"
            );
            outcome.must(by_buffer == missing, &words);
        }
    }
    Ok(outcome)
}

/// Both call side by side, and one is asked for.
pub(super) fn other_process(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let workloads: Vec<_> = plans.into_iter().map(|plan| stand.workload(plan)).collect();
    workloads.iter().for_each(|workload| stand.signal(workload, SIGSTOP));
    let wanted = stand.pid(&workloads[0])?.to_string();
    let tracer = stand.tracer(&["--pid", &wanted])?;
    workloads.iter().for_each(|workload| stand.signal(workload, SIGCONT));
    let mut done = workloads
        .into_iter()
        .map(|workload| stand.done(workload))
        .collect::<Result<Vec<_>, _>>()?;
    let ran = stand.end(tracer, SIGINT)?;
    let mut outcome = Outcome::nothing();
    done.truncate(1);
    // As in `coming::under_load`.
    outcome.add(stand.judge(&done, &ran, false), true);
    Ok(outcome)
}
