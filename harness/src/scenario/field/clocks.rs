//! Timers whose clock is not the machine's, or is set: what `lateness` makes of them.

use serde_json::Value;

use super::super::Outcome;
use super::super::stand::Stand;
use super::guest::{code, tail};
use super::told::{Lines, Said};
use crate::failure::Failure;
use crate::programs::Ran;

/// Time namespaces that are ahead of the machine, and behind.
const OFFSETS_S: [&str; 2] = ["86400", "-1"];
/// Histograms keep three digits.
const ROUNDED: f64 = 1.002;
/// From here on, a kernel that wakes finds its virtio-serial port closed, and it stays so.
const LOSES_PORT: (u32, u32) = (7, 0);

/// The firings that a tracer tells of, none of which is what no timer of the program's can be.
fn firings<'a>(outcome: &mut Outcome, which: &str, ran: &Ran, lines: &'a Lines) -> Vec<&'a Value> {
    outcome.must(code(ran) == 0, &format!("{which}: {}", tail(ran)));
    for wrong in ["is_early", "was_past"] {
        let count = lines.named("firing").filter(|firing| firing[wrong] == true).count();
        outcome.must(count == 0, &format!("{which}: {count} firings of which {wrong} is said"));
    }
    lines.named("firing").collect()
}

/// The program in a time namespace, and both.
pub(super) fn time_namespace(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let lateness = stand.lateness(&[]);
    for (offset, around) in
        [(OFFSETS_S[0], false), (OFFSETS_S[1], false), (OFFSETS_S[0], true), (OFFSETS_S[1], true)]
    {
        let file = stand.file("said")?;
        let (enter, program) =
            (["--time", offset], stand.field(&["--to", &file, "absolute", "50"]));
        let command = if around { program } else { stand.enter(&enter, &program) };
        let tracer = stand.following(lateness.clone(), &command);
        let ran = stand.run_words(&if around { stand.enter(&enter, &tracer) } else { tracer })?;
        let said = Said::all(&stand.text(&file)?, "fired");
        let which = format!("{offset} s{}", if around { ", with the tracer" } else { "" });
        let lines = Lines::of(&ran);
        let firings = firings(&mut outcome, &which, &ran, &lines);
        outcome.must(
            firings.len() == said.len(),
            &format!("{which}: {} firings of {}", firings.len(), said.len()),
        );
        for (firing, said) in firings.iter().zip(&said) {
            outcome.saw(1);
            in_time(&mut outcome, &which, firing, said);
        }
    }
    Ok(outcome)
}

/// A firing is as late as the program knows it to be at most.
fn in_time(outcome: &mut Outcome, which: &str, firing: &Value, said: &Said) {
    let late = said.number("late");
    for key in ["handler_late_ns", "waiter_late_ns"] {
        let told = firing[key].as_i64();
        outcome.must(
            told.is_some_and(|told| (0..=late).contains(&told)),
            &format!("{which}: {key} is {told:?}, and at most {late}"),
        );
    }
    let between = firing["expires_ns"]
        .as_i64()
        .zip(firing["requested_ns"].as_i64())
        .map(|(expires, requested)| expires - requested);
    let most = if said.text("absolute") == "true" { 0 } else { 1_000_000_000 };
    let right = between.is_some_and(|between| (0..=most).contains(&between));
    outcome.must(
        right,
        &format!("{which}: due {between:?} ns after it was requested, and at most {most}"),
    );
}

/// A timer that goes off since its clock was set is told apart, and no other is.
pub(super) fn clock_set(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    for (kind, is_set_off) in [
        ("past", true),
        ("just-past", true),
        ("not-past", false),
        ("back", false),
        ("periodic", true),
    ] {
        let file = stand.file("said")?;
        let command = stand.field(&["--to", &file, "clock-step", kind]);
        let ran = stand.run_words(&stand.following(stand.lateness(&[]), &command))?;
        let said = Said::last(&stand.text(&file)?, "stepped");
        let lines = Lines::of(&ran);
        let firings = firings(&mut outcome, kind, &ran, &lines);
        outcome.must(!firings.is_empty(), &format!("{kind}: no firing"));
        outcome.saw(firings.len());
        // Rows of processes: of the program's there is one.
        let rows = |key: &str| lines.numbers("lateness", key).iter().sum::<i64>();
        let (past, early, set) = (rows("past"), rows("early"), rows("clock_set"));
        outcome.must(past == 0 && early == 0, &format!("{kind}: {past} past, {early} early"));
        if is_set_off {
            outcome.must(set >= 1, &format!("{kind}: no firing came of setting the clock"));
        }
        for row in lines.named("lateness") {
            let latest = row["handler"]["max_ns"].as_f64().unwrap_or(0.0);
            // Of one that was set off it is known how long the program waited after the setting.
            let last = said.number(if is_set_off { "waited" } else { "late" });
            let most = said.number("first").max(last) as f64 * ROUNDED;
            outcome
                .must(latest <= most, &format!("{kind}: late by {latest} ns, and at most {most}"));
        }
    }
    Ok(outcome)
}

/// Ticks are those of the kernel, and were no expiries.
pub(super) fn set_ticks(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let file = stand.file("said")?;
    let command = stand.field64(&["--to", &file, "set-ticks", "7"]);
    let ran = stand.run_words(&stand.following(stand.calls(&["--events", "all"]), &command))?;
    let said = Said::last(&stand.text(&file)?, "set-ticks");
    let lines = Lines::of(&ran);
    let told = lines.numbers("wakeup", "ticks");
    outcome.must(
        told == [said.number("ticks")],
        &format!("{told:?} ticks, and not {}", said.number("ticks")),
    );
    let expiries = lines.named("expiry").count();
    outcome.must(expiries == 0, &format!("{expiries} expiries of a timer that never went off"));
    let ran = stand.run_words(&stand.following(stand.lateness(&[]), &command))?;
    let lines = Lines::of(&ran);
    for key in ["firings", "overruns"] {
        let count = lines.numbers("lateness", key).iter().sum::<i64>();
        outcome.must(count == 0, &format!("lateness has {count} {key}"));
    }
    outcome.must(lines.named("lateness").count() == 1, "lateness has no row of the program");
    outcome.saw(2);
    Ok(outcome)
}

/// A machine that sleeps: by how much the clocks went apart is known to the program as well.
pub(super) fn suspended(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    if stand.version() >= LOSES_PORT {
        outcome.say("not played: a guest with this kernel that wakes has lost the port by which it is spoken to");
        return Ok(outcome);
    }
    for (job, tracer) in
        [("expiries", stand.calls(&["--events", "expiry"])), ("lateness", stand.lateness(&[]))]
    {
        let file = stand.file("said")?;
        let ran =
            stand.run_words(&stand.following(tracer, &stand.field(&["--to", &file, "suspend"])))?;
        let text = stand.text(&file)?;
        let [before, after] = Said::all(&text, "clocks")
            .try_into()
            .unwrap_or_else(|_| [Said::last("", ""), Said::last("", "")]);
        // Between two readings of the monotonic clock, so that each is known within bounds.
        let shortest = after.number("least") - before.number("most");
        let longest = after.number("most") - before.number("least");
        outcome.must_come_about(shortest > 0, "the machine did not sleep");
        let lines = Lines::of(&ran);
        if job == "lateness" {
            let firings = firings(&mut outcome, job, &ran, &lines);
            let slept = lines.numbers("lateness", "slept").iter().sum::<i64>();
            outcome.must(
                firings.len() == 4 && slept >= 1,
                &format!("{} firings, of which {slept} slept", firings.len()),
            );
            continue;
        }
        let told = lines.numbers("expiry", "suspended_ns");
        let [first, .., last] = told[..] else {
            outcome.must(false, &format!("{} expiries: {}", told.len(), tail(&ran)));
            continue;
        };
        let slept = last - first;
        outcome.must(
            (shortest..=longest).contains(&slept),
            &format!("suspended for {slept} ns, and not {shortest} to {longest}"),
        );
        outcome.saw(told.len());
    }
    Ok(outcome)
}
