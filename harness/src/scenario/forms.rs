//! The forms of the tracer's output that are not its own JSON: what stands in them is read back,
//! and compared as another tracer's is.

use serde_json::Value;
use settime32_abi::exit;
use settime32_abi::frame::Exit;
use settime32_abi::plan::{Plan, Step};

use super::Outcome;
use super::stand::{Done, SIGINT, Stand};
use crate::compare::definition::Definition;
use crate::failure::Failure;
use crate::oracle::Kind;
use crate::programs::Ran;
use crate::setup::Format;

/// Nanoseconds that a clock may be set by while it is set to the time that it shows, and more.
const CLOCK_SLACK_NS: i64 = 1_000_000_000;

/// Every line tells of its call what the definition of the form's reader claims.
pub(super) fn read_back(
    mut stand: Stand<'_>,
    plans: Vec<Plan>,
    form: Format,
) -> Result<Outcome, Failure> {
    let definition = Definition::of_form(form);
    // Where threads call side by side, a kernel that preempts passes programs of trampolines over.
    let is_crowd = |plan: &Plan| plan.steps.iter().any(|step| matches!(step, Step::Threads { .. }));
    let (crowds, others): (Vec<Plan>, Vec<Plan>) = plans.into_iter().partition(is_crowd);
    let mut outcome = Outcome::nothing();
    for (plans, may_lose) in [(others, false), (crowds, true)] {
        let tracer = stand.tracer_in_form(form)?;
        let done = plans.into_iter().map(|plan| stand.run(plan)).collect::<Result<Vec<_>, _>>()?;
        let ran = stand.end(tracer, SIGINT)?;
        let findings = stand.judge_read(&definition, &done, &ran);
        let unread = findings.count(Kind::Unparseable);
        let lost = findings.lost > 0 && may_lose;
        outcome.add(findings, may_lose);
        // Lost, blind, or worse; the last words are compared in the form of the oracle.
        let expected = if lost { exit::LOST } else { exit::SEEN };
        outcome.must_come_about(
            ran.exit == Some(Exit::Code(expected.into())),
            "the tracer does not say that it saw everything",
        );
        outcome.must(unread == 0, "lines of the form could not be read");
        if form == Format::Tracee {
            tracee_lines(&mut outcome, &done, &ran);
        }
    }
    Ok(outcome)
}

fn tracee_lines(outcome: &mut Outcome, done: &[Done], ran: &Ran) {
    let odd = ran
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .find(|line| !is_of_this_host(line, done));
    let words = odd.map(|line| {
        format!("own ids or the date are not right in {}", String::from_utf8_lossy(line))
    });
    outcome.must(odd.is_none(), &words.unwrap_or_default());
}

/// Outside of containers a thread's ids are those of the host; and an event's date is one at which
/// plans were done.
fn is_of_this_host(line: &[u8], done: &[Done]) -> bool {
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return false };
    let same = |one: &str, other: &str| event[one].is_u64() && event[one] == event[other];
    let begin = done.iter().map(|done| done.journal.header.start.realtime_ns).min().unwrap_or(0);
    let end = done.iter().map(|done| done.journal.header.end.realtime_ns).max().unwrap_or(0);
    let date = event["timestamp"].as_i64().unwrap_or(0);
    same("processId", "hostProcessId")
        && same("threadId", "hostThreadId")
        && (begin - CLOCK_SLACK_NS..end + CLOCK_SLACK_NS).contains(&date)
}
