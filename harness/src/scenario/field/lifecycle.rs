//! Which timer an event is of, from the first instant, and who is told how.

use std::collections::BTreeSet;

use super::super::Outcome;
use super::super::stand::{SIGINT, SIGKILL, Stand};
use super::guest::{code, tail, with, words};
use super::told::{Lines, Said};
use crate::embedded::WORKLOAD_COMM;
use crate::failure::Failure;
use crate::setup::FIRES_INLINE;

/// Timers of a run with events.
const TIMERS: i64 = 300;
/// The longest is no shorter than a call takes.
const VALUES_NS: [&str; 2] = ["1", "100000"];

/// Each timer fires once, whatever else is asked for.
pub(super) fn short(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let named = ["--comm", WORKLOAD_COMM];
    for (events, filter) in [
        ("expiry,release", &[][..]),
        ("expiry", &named),
        ("wakeup", &named),
        ("release", &named),
        ("timerfd_create,expiry", &named),
        ("all", &["-p"]),
    ] {
        events_of_short(&mut stand, &mut outcome, events, filter)?;
    }
    for value in VALUES_NS {
        lateness_of_short(&mut stand, &mut outcome, value)?;
    }
    Ok(outcome)
}

fn events_of_short(
    stand: &mut Stand<'_>,
    outcome: &mut Outcome,
    events: &str,
    filter: &[&str],
) -> Result<(), Failure> {
    let go = stand.path("go");
    let program =
        stand.enter(&["--hold", &go], &stand.field(&["short", &TIMERS.to_string(), VALUES_NS[0]]));
    let program = stand.start(&program);
    let pid = stand.pid_of(program)?.to_string();
    let mut more = words(&["--events", events]);
    more.extend(words(filter));
    more.extend(filter.contains(&"-p").then_some(pid));
    let tracer = stand.attached(&with(stand.calls(&[]), &more))?;
    stand.make(&go, Vec::new())?;
    let did = stand.programs.wait(program)?;
    outcome.must_come_about(code(&did) == 0, &tail(&did));
    stand.signals(tracer, SIGINT);
    let ran = stand.programs.wait(tracer)?;
    let lines = Lines::of(&ran);
    for event in ["timerfd_create", "expiry", "wakeup", "release"]
        .into_iter()
        .filter(|event| events == "all" || events.contains(event))
    {
        let timers: Vec<i64> =
            lines.named(event).map(|line| line["timer"].as_i64().unwrap_or(0)).collect();
        let distinct: BTreeSet<&i64> = timers.iter().collect();
        let which = format!(
            "--events {events}: {} of {event}, {} timers, {} lost",
            timers.len(),
            distinct.len(),
            lines.lost()
        );
        outcome.must(
            timers.len() == distinct.len() && !distinct.contains(&0),
            &format!("{which}: not one each"),
        );
        let missing = TIMERS - timers.len() as i64;
        outcome.must(missing >= 0 && missing <= lines.lost().cast_signed(), &which);
        outcome.saw(timers.len());
    }
    let inline = lines.named("expiry").filter(|line| line["inline"] == true).count();
    let may_be = stand.version() >= FIRES_INLINE;
    outcome.must(
        inline == 0 || may_be,
        &format!("--events {events}: {inline} inline, where the kernel fires none so"),
    );
    Ok(())
}

fn lateness_of_short(
    stand: &mut Stand<'_>,
    outcome: &mut Outcome,
    value_ns: &str,
) -> Result<(), Failure> {
    let file = stand.file("said")?;
    let command = stand.field(&["--to", &file, "short", &TIMERS.to_string(), value_ns]);
    let ran = stand.run_words(&stand.following(stand.lateness(&[]), &command))?;
    let lines = Lines::of(&ran);
    let count = |key| lines.numbers("lateness", key).iter().sum::<i64>();
    let counts = ["armings", "firings", "disarmed", "rearmed", "past", "early"].map(count);
    let right = [TIMERS, TIMERS, 0, 0, 0, 0];
    outcome
        .must(counts == right, &format!("{value_ns} ns: armed, fired, disarmed, re-armed, past, early are {counts:?} and not {right:?}"));
    outcome.saw(counts[1].unsigned_abs() as usize);
    Ok(())
}

/// What a tracer keeps does not grow, and a creation is a new timer whatever was lost.
pub(super) fn churn(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    /// So many timers that what is kept of each would show.
    const MANY: &str = "40000";
    /// What a tracer's own bookkeeping may come to.
    const GROWTH_KIB: u64 = 1024;
    let mut outcome = Outcome::nothing();
    let (half, end) = (stand.path("half"), stand.path("end"));
    let tracer = stand.attached(&stand.lateness(&["--per", "process"]))?;
    let program = stand.start(&stand.field(&["churn", MANY, &half, &end]));
    stand.says(program, "half")?;
    let before = stand.memory_kib(tracer)?;
    stand.make(&half, Vec::new())?;
    stand.says(program, "churn")?;
    let after = stand.memory_kib(tracer)?;
    stand.make(&end, Vec::new())?;
    stand.programs.wait(program)?;
    stand.signals(tracer, SIGINT);
    stand.programs.wait(tracer)?;
    outcome.must_come_about(before > 0, "the tracer's memory is not known");
    outcome.must(
        after <= before + GROWTH_KIB,
        &format!("memory grew from {before} to {after} KiB with timers that were closed"),
    );
    outcome.saw(1);
    creations(&mut stand, &mut outcome)?;
    Ok(outcome)
}

fn creations(stand: &mut Stand<'_>, outcome: &mut Outcome) -> Result<(), Failure> {
    let tracer = stand.tracer_with("4K", &["--events", "all"]);
    let tracer = stand.attached(&tracer)?;
    stand.situation(&stand.field(&["churn", "10000"]))?;
    stand.signals(tracer, SIGINT);
    let lines = Lines::of(&stand.programs.wait(tracer)?);
    let timers: Vec<i64> = lines.numbers("timerfd_create", "timer");
    let distinct: BTreeSet<&i64> = timers.iter().collect();
    outcome.must_come_about(lines.lost() > 0, "nothing was lost");
    outcome.must(
        timers.len() == distinct.len(),
        &format!("{} creations of {} timers", timers.len(), distinct.len()),
    );
    outcome.saw(timers.len());
    Ok(())
}

/// Its files are closed when a process has exited for everybody else.
pub(super) fn taken(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    for sees in [&["--events", "all"][..], &["--events", "release"]] {
        let (taken, closed) = (stand.path("taken"), stand.path("closed"));
        let giver = stand.start(&stand.field(&["give", &taken, &closed]));
        let (pid, fd) = (
            stand.says(giver, "give")?.number("pid").to_string(),
            stand.says(giver, "give")?.number("fd").to_string(),
        );
        let ran = stand.run_words(
            &stand
                .following(stand.calls(sees), &stand.field(&["take", &pid, &fd, &taken, &closed])),
        )?;
        // Where the tracer did not start its command, nobody takes what there is to give.
        stand.signals(giver, SIGKILL);
        stand.programs.wait(giver)?;
        outcome.must_come_about(code(&ran) == 0, &format!("nothing was taken: {}", ran.said()));
        let released = Lines::of(&ran).named("release").count();
        outcome.must(
            released == 1,
            &format!("{sees:?}: {released} releases of one timer: {}", tail(&ran)),
        );
        outcome.saw(1);
    }
    Ok(outcome)
}

/// Two pieces of four bytes: the kernel's ticks, or none.
pub(super) fn readv(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let file = stand.file("said")?;
    let command = stand.field(&["--to", &file, "readv"]);
    let ran = stand.run_words(&stand.following(stand.calls(&["--events", "all"]), &command))?;
    let said = Said::last(&stand.text(&file)?, "readv");
    let lines = Lines::of(&ran);
    let ticks: Vec<_> = lines.named("wakeup").map(|wakeup| wakeup["ticks"].clone()).collect();
    if said.number("got") != 8 {
        // Before 6.10 each piece is a read of its own, for which four bytes are too few
        // (`do_loop_readv_writev`, `fs/read_write.c`).
        outcome.say("this kernel reads no timer in pieces");
        outcome.must(ticks.is_empty(), &format!("a wake-up of a read that failed: {ticks:?}"));
        outcome.saw(1);
        return Ok(outcome);
    }
    let right = ticks.len() == 1 && (ticks[0].is_null() || ticks[0] == said.number("ticks"));
    outcome.must(right, &format!("ticks are {ticks:?} and not {}", said.number("ticks")));
    outcome.saw(ticks.len());
    Ok(outcome)
}

/// A wake-up for each timer, or a loss that is counted.
pub(super) fn uring(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    for kind in ["plain", "sqpoll", "poll", "aio"] {
        let file = stand.file("said")?;
        let command = stand.field(&["--to", &file, "uring", kind]);
        let ran = stand.run_words(&stand.following(stand.calls(&["--events", "all"]), &command))?;
        let text = stand.text(&file)?;
        if let [missing, ..] = Said::all(&text, "missing").as_slice() {
            outcome.say(&format!(
                "{kind}: this kernel has no such requests ({})",
                missing.text("errno")
            ));
            continue;
        }
        let said = Said::last(&text, "uring");
        outcome.must_come_about(
            said.number("ticks") == 1,
            &format!("{kind}: the program read nothing"),
        );
        let lines = Lines::of(&ran);
        let told: Vec<_> = lines
            .named("wakeup")
            .map(|wakeup| (wakeup["by"].as_str().unwrap_or("?"), wakeup["ticks"].as_i64()))
            .collect();
        // The program itself reads what a poll request told it of.
        let by_ring = told.iter().filter(|(by, _)| by.contains("uring")).count();
        let which = format!("{kind}: wake-ups {told:?}, {} lost", lines.lost());
        outcome.must(by_ring > 0 || lines.lost() > 0, &which);
        outcome.must(told.iter().all(|(_, ticks)| ticks.is_none_or(|ticks| ticks == 1)), &which);
        outcome.must(lines.named("expiry").count() == 1, &format!("{kind}: not one expiry"));
        outcome.saw(1);
    }
    Ok(outcome)
}

/// In the order of the calls, each by its name.
pub(super) fn waits_by_name(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let file = stand.file("said")?;
    let command = stand.field(&["--to", &file, "waits"]);
    let ran = stand.run_words(&stand.following(stand.calls(&["--events", "wakeup"]), &command))?;
    let text = stand.text(&file)?;
    for missing in Said::all(&text, "missing") {
        outcome.say(&format!("this kernel has no {}", missing.text("by")));
    }
    let said = Said::all(&text, "woken");
    let lines = Lines::of(&ran);
    let told: Vec<&str> =
        lines.named("wakeup").map(|wakeup| wakeup["by"].as_str().unwrap_or("?")).collect();
    let wanted: Vec<&str> = said.iter().map(|said| said.text("by")).collect();
    outcome.must(told == wanted, &format!("told {told:?}, and not {wanted:?}"));
    outcome.saw(told.len());
    Ok(outcome)
}
