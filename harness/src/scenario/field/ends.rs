//! How tracing begins in the midst of things, and how it ends when nobody can be told.

use settime32_abi::output::CALL_EVENT;
use settime32_abi::plan::Plan;

use super::super::Outcome;
use super::super::stand::{SIGINT, SIGKILL, Stand};
use super::guest::{code, tail};
use super::told::{Lines, Said};
use crate::failure::Failure;
use crate::setup::Format;

/// Who waits this long, milliseconds, waits longer than a tracer takes to end.
const LONG_MS: &str = "120000";
/// Of a timer that ran before: as often as a busy machine can follow, nanoseconds.
const PERIOD_NS: &str = "40000000";
/// Histograms keep three digits.
const ROUNDED: f64 = 1.002;
/// Expiries that show that a timer was seen.
const FIRINGS: i64 = 5;

/// Nobody reads: it ends by itself, before somebody who began to wait after it. A full device is an
/// error.
pub(super) fn reader_gone(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let forms = [
        ("json", stand.calls(&[])),
        ("pretty", stand.words_in_form(Format::Pretty)),
        ("lateness", stand.lateness(&[])),
    ];
    for (form, tracer) in forms {
        let tracer = stand.start(&stand.enter(&["--stdout", "closed"], &tracer));
        stand.is_ready(tracer)?;
        let waiter = stand.start(&stand.field(&["rest", LONG_MS]));
        let runs = |programs: &crate::programs::Programs, id: u32| programs.ran(id).exit.is_none();
        stand.programs.wait_while("a tracer ends", |programs| {
            runs(programs, tracer) && runs(programs, waiter)
        })?;
        let ended = !runs(stand.programs, tracer);
        outcome.must(ended, &format!("{form}: it runs on although nobody reads"));
        outcome.saw(1);
        for left in [tracer, waiter] {
            stand.signals(left, SIGKILL);
            stand.programs.wait(left)?;
        }
    }
    for (form, plan) in [Format::Json, Format::Pretty].into_iter().zip(plans) {
        let file = stand.plan_file(plan)?;
        let tracer = stand.following(stand.words_in_form(form), &file.words);
        let ran = stand.run_words(&stand.enter(&["--stdout", "/dev/full"], &tracer))?;
        let is_said = !matches!(code(&ran), 0 | 3) && ran.said().contains("No space left");
        outcome.must(
            is_said,
            &format!("{} to a full device ends with {}: {}", form.as_str(), code(&ran), tail(&ran)),
        );
        outcome.saw(1);
    }
    Ok(outcome)
}

/// A timer that was armed before the tracer came is as late as its program knows, and is its
/// program's.
pub(super) fn attach_midst(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let end = stand.path("end");
    let program = stand.start(&stand.field(&["metronome", PERIOD_NS, &end]));
    let pid = stand.says(program, "started")?.number("pid");
    let mut ran = Vec::new();
    for (which, filter) in
        [("for all", Vec::new()), ("for its process", vec!["-p".to_owned(), pid.to_string()])]
    {
        let more: Vec<&str> =
            filter.iter().map(String::as_str).chain(["--per", "process"]).collect();
        let tracer = stand.attached(&stand.lateness(&more))?;
        // As long as that takes, the timer is seen.
        stand.situation(&stand.field(&["rest", "1000"]))?;
        stand.signals(tracer, SIGINT);
        ran.push((which, stand.programs.wait(tracer)?));
    }
    stand.make(&end, Vec::new())?;
    let did = stand.programs.wait(program)?;
    let latest = Said::last(&String::from_utf8_lossy(&did.stdout), "metronome").number("latest")
        as f64
        * ROUNDED;
    outcome.must_come_about(latest > 0.0, "the program did not say how late it was");
    for (which, ran) in ran {
        let lines = Lines::of(&ran);
        let rows: Vec<_> = lines
            .named("lateness")
            .filter(|row| row["firings"].as_i64().unwrap_or(0) > 0)
            .collect();
        let [row] = rows[..] else {
            outcome.must(false, &format!("{which}: {} rows of timers that fired", rows.len()));
            continue;
        };
        let owner = (row["pid"].as_i64(), row["comm"].as_str().unwrap_or("?"));
        outcome.must(
            owner == (Some(pid), crate::embedded::WORKLOAD_COMM),
            &format!("{which}: a row of {owner:?}, and not of {pid}"),
        );
        let firings = row["firings"].as_i64().unwrap_or(0);
        outcome.must_come_about(firings >= FIRINGS, &format!("{which}: {firings} firings"));
        for who in ["handler", "waiter"] {
            let most = row[who]["max_ns"].as_f64();
            outcome.must(
                most.is_some_and(|most| most <= latest),
                &format!("{which}: {who} late by {most:?} ns, and at most {latest}"),
            );
        }
        let strange = ["past", "early"].map(|key| row[key].as_i64().unwrap_or(0));
        outcome.must(strange == [0, 0], &format!("{which}: past and early are {strange:?}"));
        outcome.saw(firings.unsigned_abs() as usize);
    }
    Ok(outcome)
}

/// Neither finished nor lost.
pub(super) fn inside_at_end(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let tracer = stand.attached(&stand.calls(&[]))?;
    let go = stand.path("go");
    let program = stand.start(&stand.field(&["held", &go]));
    let held = stand.says(program, "held")?;
    stand.signals(tracer, SIGINT);
    let ran = stand.programs.wait(tracer)?;
    stand.make(&go, Vec::new())?;
    let did = stand.programs.wait(program)?;
    outcome.must_come_about(code(&did) == 0, &tail(&did));
    let lines = Lines::of(&ran);
    let told: Vec<_> =
        lines.named(CALL_EVENT).filter(|event| event["tid"] == held.number("tid")).collect();
    let is_unfinished = |event: &serde_json::Value| {
        event["unfinished"] == true && event["result_lost"].is_null() && event["ret"].is_null()
    };
    let right = told.len() == 1 && is_unfinished(told[0]);
    outcome.must(
        right,
        &format!("a call that is inside at the end is not told as unfinished: {told:?}"),
    );
    let counted = lines.numbers("summary", "unfinished");
    outcome.must(counted == [1], &format!("{counted:?} are counted as unfinished"));
    outcome.must(lines.lost() == 0, &format!("{} lost", lines.lost()));
    outcome.saw(told.len());
    Ok(outcome)
}
