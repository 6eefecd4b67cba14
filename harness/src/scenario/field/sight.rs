//! Whether a tracer knows that it sees: probes that are switched off before it starts, or while it
//! runs.

use std::collections::HashMap;

use serde_json::Value;
use settime32_abi::exit;
use settime32_abi::output::CALL_EVENT;
use settime32_abi::plan::Plan;

use super::super::Outcome;
use super::super::stand::{Done, SIGINT, Stand};
use super::guest::{PID, code, tail};
use super::told::{Lines, Said};
use crate::failure::Failure;
use crate::oracle::{Config, Findings, Kind};
use crate::programs::Ran;

/// The switches, and the files that name them.
const SWITCHES: [(&str, &str); 2] = [("kprobes", "kprobes/enabled"), ("ftrace", "ftrace_enabled")];
/// The exit code of a tracer that saw nothing from the begin.
const BLIND: i32 = 20;
/// Times that a switch is thrown off and on, and how long it stays, milliseconds.
const THROWS: [&str; 2] = ["10", "15"];

/// It says that it is blind, and why, or it sees all the same.
pub(super) fn blind_from_begin(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    for ((name, file), plan) in SWITCHES.into_iter().zip(plans) {
        let off = stand.run_words(&stand.field(&["switch", name, "0"]))?;
        if code(&off) != 0 {
            outcome.say(&format!("{name} cannot be switched off here"));
            continue;
        }
        let plan = stand.plan_file(plan)?;
        let ran = stand.run_words(&stand.following(stand.calls(&[]), &plan.words));
        stand.situation(&stand.field(&["switch", name, "1"]))?;
        let ran = ran?;
        if code(&ran) == BLIND {
            outcome.must(
                ran.said().contains(file),
                &format!("{name}: it does not name the switch: {}", tail(&ran)),
            );
            outcome.saw(1);
        } else if matches!(code(&ran), 0 | 3) {
            let done = stand.journal(plan)?;
            let findings = stand.judge([&done], &ran, false);
            if findings.mismatches() > 0 {
                outcome.say(&format!("{name} is off: {}", tail(&ran)));
            }
            outcome.add(findings, false);
        } else {
            outcome
                .must(false, &format!("{name} is off: exit code {}: {}", code(&ran), tail(&ran)));
        }
    }
    Ok(outcome)
}

/// By which switches, and whether through the procfs of a container.
const THROWN: [(&str, bool); 3] = [("kprobes", false), ("ftrace", false), ("ftrace", true)];

/// It is followed all the same.
pub(super) fn fork_while_off(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    for (name, _) in SWITCHES {
        let (file, go) = (stand.file("said")?, stand.path("go"));
        let ran = stand.run_words(
            &stand.following(stand.calls(&[]), &stand.field(&["fork-while-off", name, &file, &go])),
        )?;
        let text = stand.text(&file)?;
        if Said::all(&text, "arm").is_empty() {
            outcome.say(&format!("{name} cannot be switched off while it is in use"));
            continue;
        }
        let (called, lines) = (Said::last(&text, "arm").number("pid"), Lines::of(&ran));
        let told =
            lines.named(CALL_EVENT).filter(|event| event["pid"].as_i64() == Some(called)).count();
        outcome.must(told == 1, &format!("{name} was off when process {called} was made: of its one call {told} are told: {}", tail(&ran)));
        outcome.saw(1);
    }
    Ok(outcome)
}

/// Events, counted losses, and the spans in which it was blind explain every call.
pub(super) fn switch_thrown(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    for ((name, in_container), plan) in THROWN.into_iter().zip(plans) {
        let tracer = stand.attached(&stand.calls(&[]))?;
        let workload = stand.workload(plan);
        let throw = stand.field(&["throw", name, THROWS[0], THROWS[1]]);
        let throw = if in_container { stand.enter(&PID, &throw) } else { throw };
        let thrown = stand.run_words(&throw)?;
        if code(&thrown) != 0 {
            // It was left off where it failed on the way back.
            stand.run_words(&stand.field(&["switch", name, "1"]))?;
            outcome.say(&format!(
                "{name} cannot be switched off while it is in use: {}",
                tail(&thrown)
            ));
        }
        let done = stand.done(workload)?;
        stand.signals(tracer, SIGINT);
        let ran = stand.programs.wait(tracer)?;
        let blind = Lines::of(&ran).blind();
        let config = Config { max_findings: done.plan.calls(), ..stand.config() };
        // The oracle excuses any number of calls for a span; here each must lie in one.
        let without_spans = |line: &mut Value| {
            if let Some(spans) = line.get_mut("blind") {
                *spans = Value::Array(Vec::new());
            }
        };
        let findings =
            explained(stand.judge_by(config, [&done], &ran, without_spans), &done, &ran, &blind);
        if !blind.is_empty() {
            outcome.must(
                code(&ran) == i32::from(exit::LOST),
                &format!("{name}: it was blind and ends with {}", code(&ran)),
            );
            outcome.say(&format!("{name}: blind in {} spans", blind.len()));
        }
        outcome.add(findings, true);
    }
    Ok(outcome)
}

/// Takes out what is told as missing and lies where the tracer says that it was blind: between two
/// events of the workload, of which calls one is before it and one after. All calls of the plan set
/// other times, by which an event is known.
fn explained(mut findings: Findings, done: &Done, ran: &Ran, blind: &[(u64, u64)]) -> Findings {
    let times: HashMap<String, (u64, u64)> =
        Lines::of(ran).named("timerfd_settime32").filter_map(time_of).collect();
    let seen: Vec<Option<(u64, u64)>> = done
        .journal
        .operations
        .iter()
        .map(|record| times.get(&key(&record.utmr_before())).copied())
        .collect();
    let is_blind = |call: usize| {
        let from = seen[..call].iter().rev().find_map(|time| *time).map_or(0, |(_, exit)| exit);
        let to = seen[call..].iter().find_map(|time| *time).map_or(u64::MAX, |(entry, _)| entry);
        blind.iter().any(|(begin, end)| *begin < to && from < *end)
    };
    let before = findings.first.len();
    findings.first.retain(|finding| {
        finding.kind != Kind::Missing || !finding.place.call.is_some_and(is_blind)
    });
    if let Some(count) = findings.counts.get_mut(&Kind::Missing) {
        *count -= (before - findings.first.len()) as u64;
    }
    findings
}

/// The times that a call sets, as its event and its record have them.
fn key(utmr: &[u8; 16]) -> String {
    let word = |at: usize| i32::from_le_bytes([utmr[at], utmr[at + 1], utmr[at + 2], utmr[at + 3]]);
    format!("{} {} {} {}", word(0), word(4), word(8), word(12))
}

fn time_of(event: &Value) -> Option<(String, (u64, u64))> {
    let (used, entry) = (&event["utmr_used"], event["entry_ns"].as_u64()?);
    let number = |half: &str, part: &str| used[half][part].as_i64();
    let interval = (number("it_interval", "tv_sec")?, number("it_interval", "tv_nsec")?);
    let value = (number("it_value", "tv_sec")?, number("it_value", "tv_nsec")?);
    let key = format!("{} {} {} {}", interval.0, interval.1, value.0, value.1);
    Some((key, (entry, event["exit_ns"].as_u64().unwrap_or(entry))))
}
