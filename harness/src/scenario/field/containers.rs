//! Who calls, and who looks: pid namespaces, large ids, names.

use serde_json::Value;
use settime32_abi::output::CALL_EVENT;
use settime32_abi::plan::Plan;

use super::super::Outcome;
use super::super::stand::{Done, SIGINT, SIGKILL, Stand};
use super::guest::{PID, PlanFile, code, innermost, tail};
use super::told::{Lines, Said};
use crate::failure::Failure;
use crate::oracle::Config;
use crate::programs::{Programs, Ran};

/// Who waits this long waits longer than a tracer takes to end.
const LONG_MS: &str = "30000";
/// A namespace is held for longer than any case takes.
const HOLD_MS: &str = "600000";
/// How the names of a tracer's threads begin.
const TRACER_COMM: &str = "settime32-";
/// Where ids begin again when a case has set them.
const USUAL_ID: &str = "400";
/// Of both a process inside of a namespace and one outside.
const SAME_ID: &str = "20000";
/// Beyond what fits any table that a tracer would have, and where an id has the same low bits.
const LARGE_IDS: [&str; 2] = ["500000", "1548576"];

/// The tracer inside with a command, inside for a process, two deep, inside of who watches another
/// inside, outside of its command, and inside while somebody outside calls.
pub(super) fn pid_namespace(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let mut plans = plans.into_iter();
    let mut next = || plans.next().expect("there are as many plans as situations take");
    for (which, [deep, command_deeper]) in [
        ("inside, with a command", [1, 0]),
        ("two deep", [2, 0]),
        ("around its command", [1, 1]),
        ("outside of its command", [0, 1]),
    ] {
        let file = stand.plan_file(next())?;
        let command =
            (0..command_deeper).fold(file.words.clone(), |program, _| stand.enter(&PID, &program));
        let tracer = stand.following(stand.calls(&[]), &command);
        let tracer = (0..deep).fold(tracer, |program, _| stand.enter(&PID, &program));
        let ran = stand.run_words(&tracer)?;
        if !matches!(code(&ran), 0 | 3) {
            outcome.must(false, &format!("{which}: exit code {}: {}", code(&ran), tail(&ran)));
            continue;
        }
        let done = stand.journal(file)?;
        let done = if command_deeper > 0 { known_as(done, innermost(&ran)) } else { done };
        judge(&stand, &mut outcome, which, &[done], &ran);
    }
    of_a_process(&mut stand, &mut outcome, [next(), next()])?;
    of_a_stranger(&mut stand, &mut outcome, next())?;
    Ok(outcome)
}

/// What a tracer of a situation wrote; what is wrong is said with its name.
fn judge(stand: &Stand<'_>, outcome: &mut Outcome, which: &str, done: &[Done], ran: &Ran) {
    let findings = stand.judge(done, ran, false);
    if findings.mismatches() > 0 {
        outcome.say(&format!("{which}: {}", tail(ran)));
    }
    outcome.add(findings, true);
}

/// The journal of a process that has another id where the tracer is.
fn known_as(mut done: Done, pid: u32) -> Done {
    done.journal.header.pid = pid;
    done.journal.operations.iter_mut().for_each(|record| (record.pid, record.tid) = (pid, pid));
    done
}

/// A namespace that stays: who holds it, and the words that join it.
fn held(stand: &mut Stand<'_>, options: &[&str]) -> Result<(u32, String), Failure> {
    let holder = stand.start(&stand.enter(options, &stand.field(&["rest", HOLD_MS])));
    stand.says(holder, "rest")?;
    let pid = stand.entered(holder, 1)?;
    Ok((holder, pid.to_string()))
}

/// `-p` is an id of the namespace; outside another process has the same.
fn of_a_process(
    stand: &mut Stand<'_>,
    outcome: &mut Outcome,
    [wanted, unwanted]: [Plan; 2],
) -> Result<(), Failure> {
    let (holder, holder_pid) = held(stand, &PID)?;
    let (wanted, unwanted, go) =
        (stand.plan_file(wanted)?, stand.plan_file(unwanted)?, stand.path("go"));
    let inside = stand.start(&stand.enter(
        &["--join", &holder_pid],
        &stand.enter(&["--last-pid", SAME_ID, "--hold", &go], &wanted.words),
    ));
    let pid = stand.entered(inside, 2)?;
    let (outside, other) = outside_with(stand, pid, &go, &unwanted.words)?;
    outcome.must_come_about(pid == other, "no process outside had the same id as the one inside");
    let tracer = stand.attached(
        &stand.enter(&["--join", &holder_pid], &stand.calls(&["-p", &pid.to_string()])),
    )?;
    stand.make(&go, Vec::new())?;
    for program in [inside, outside] {
        stand.programs.wait(program)?;
    }
    stand.signals(tracer, SIGINT);
    let ran = stand.programs.wait(tracer)?;
    let done = stand.journal(wanted)?;
    judge(stand, outcome, "inside, for a process", &[done], &ran);
    stand.signals(holder, SIGKILL);
    usual_ids(stand)
}

/// A process outside that waits, with this id if that can be had: others may take it first.
fn outside_with(
    stand: &mut Stand<'_>,
    pid: u32,
    go: &str,
    words: &[String],
) -> Result<(u32, u32), Failure> {
    const TRIES: u32 = 20;
    let mut tries = 0;
    loop {
        let outside =
            stand.start(&stand.enter(&["--last-pid", &(pid - 1).to_string(), "--hold", go], words));
        let other = stand.entered(outside, 1)?;
        tries += 1;
        if other == pid || tries == TRIES {
            return Ok((outside, other));
        }
        stand.signals(outside, SIGKILL);
        stand.programs.wait(outside)?;
    }
}

/// Somebody who has no id where the tracer is.
fn of_a_stranger(stand: &mut Stand<'_>, outcome: &mut Outcome, plan: Plan) -> Result<(), Failure> {
    let tracer = stand.attached(&stand.enter(&PID, &stand.calls(&[])))?;
    let done = stand.run(plan)?;
    stand.signals(tracer, SIGINT);
    let ran = stand.programs.wait(tracer)?;
    let lines = Lines::of(&ran);
    let named = lines
        .named(CALL_EVENT)
        .filter(|event| !event["pid"].is_null() || !event["tid"].is_null())
        .count();
    outcome.must(
        named == 0,
        &format!("{named} events name a process by an id that it has not where the tracer is"),
    );
    let by_host = |event: &mut Value| {
        if event["event"] != CALL_EVENT {
            return;
        }
        for (own, host) in [("pid", "host_pid"), ("tid", "host_tid")] {
            event[own] = event[host].clone();
        }
    };
    let findings = stand.judge_by(stand.config(), [&done], &ran, by_host);
    outcome.add(findings, true);
    Ok(())
}

/// The next processes have ids as before.
fn usual_ids(stand: &mut Stand<'_>) -> Result<(), Failure> {
    stand.situation(&stand.enter(&["--last-pid", USUAL_ID], &stand.field(&["rest", "0"]))).map(drop)
}

/// Not even the tracer's own calls are told of.
pub(super) fn own_call(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let (calls, all) = (
        stand.calls(&["--duration", "1500ms"]),
        stand.calls(&["--duration", "500ms", "--events", "all"]),
    );
    let late = stand.lateness(&["--duration", "500ms"]);
    let tracers = [
        ("calls", calls.clone()),
        ("calls, inside", stand.enter(&PID, &calls)),
        ("all events", all.clone()),
        ("all events, inside", stand.enter(&PID, &all)),
        ("lateness, inside", stand.enter(&PID, &late)),
    ];
    for (which, tracer) in tracers {
        let ran = stand.run_words(&tracer)?;
        let lines = Lines::of(&ran);
        outcome.must(code(&ran) == 0, &format!("{which}: {}", tail(&ran)));
        let events = lines.events();
        outcome.must(events == 0, &format!("{which}: {events} lines although nobody called"));
        let counted = lines.numbers("summary", "reported").iter().sum::<i64>();
        outcome.must(
            counted == 0 && lines.lost() == 0,
            &format!("{which}: {counted} reported and {} lost", lines.lost()),
        );
        outcome.saw(1);
    }
    Ok(outcome)
}

/// A command that is followed, and processes whose ids differ in high bits only, inside the call at
/// the same time.
pub(super) fn ids_large(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let mut plans = plans.into_iter();
    let followed = stand.plan_file(plans.next().expect("the first plan is there"))?;
    let ran = stand.run_words(&stand.following(
        stand.calls(&[]),
        &stand.enter(&["--last-pid", LARGE_IDS[0]], &followed.words),
    ))?;
    if !matches!(code(&ran), 0 | 3) {
        outcome.must(false, &format!("following: exit code {}: {}", code(&ran), tail(&ran)));
        return Ok(outcome);
    }
    let done = stand.journal(followed)?;
    outcome.must_come_about(done.journal.header.pid > 400_000, "ids did not become large");
    judge(&stand, &mut outcome, "following", &[done], &ran);
    let tracer = stand.attached(&stand.calls(&[]))?;
    let go = stand.path("go");
    let files = plans.map(|plan| stand.plan_file(plan)).collect::<Result<Vec<_>, _>>()?;
    let enter = |(id, file): (&str, &PlanFile)| {
        stand.enter(&["--last-pid", id, "--hold", &go], &file.words)
    };
    let commands: Vec<_> = LARGE_IDS.into_iter().zip(&files).map(enter).collect();
    let mut programs = Vec::new();
    for command in &commands {
        let program = stand.start(command);
        stand.entered(program, 1)?;
        programs.push(program);
    }
    stand.make(&go, Vec::new())?;
    for program in programs {
        stand.programs.wait(program)?;
    }
    stand.signals(tracer, SIGINT);
    let ran = stand.programs.wait(tracer)?;
    let done = files.into_iter().map(|file| stand.journal(file)).collect::<Result<Vec<_>, _>>()?;
    let distance = done[1].journal.header.pid.abs_diff(done[0].journal.header.pid);
    outcome.must_come_about(
        distance == 1 << 20,
        "the ids of both processes do not have the same low bits",
    );
    judge(&stand, &mut outcome, "side by side", &done, &ran);
    usual_ids(&mut stand)?;
    Ok(outcome)
}

/// In namespaces of its own, with the tracer: who calls is in a user namespace besides, and has a
/// name that is no text.
pub(super) fn container(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    /// `ESC [2J` and a byte that no UTF-8 has.
    const NAME: &str = "1b5b324aff";
    const OFFSET_S: &str = "86400";
    const LARGE_ID: u32 = 1_548_576;
    let mut outcome = Outcome::nothing();
    let holder = stand.start(&stand.enter(
        &["--last-pid", LARGE_IDS[0]],
        &stand.enter(
            &["--pid", "--mount-proc", "--time", OFFSET_S],
            &stand.field(&["rest", HOLD_MS]),
        ),
    ));
    stand.says(holder, "rest")?;
    let pid = stand.entered(holder, 2)?.to_string();
    let join = ["--join", &pid];
    let tracer = stand.attached(&stand.enter(&join, &stand.calls(&[])))?;
    let mut done = Vec::new();
    for (plan, id) in plans.into_iter().zip((LARGE_ID..).step_by(100)) {
        let file = stand.plan_file(plan)?;
        let as_user = stand.enter(&["--user", "--name", NAME], &file.words);
        // Each its own, since events are found by it.
        stand.situation(
            &stand.enter(&join, &stand.enter(&["--last-pid", &id.to_string()], &as_user)),
        )?;
        done.push(stand.journal(file)?);
    }
    stand.signals(tracer, SIGINT);
    let ran = stand.programs.wait(tracer)?;
    stand.signals(holder, SIGKILL);
    let inside = done.iter().all(|done| done.journal.header.pid > 400_000);
    outcome.must_come_about(inside, "ids did not become large");
    // Events are in the host's time, the journal is in the namespace's.
    let offset_ns = OFFSET_S.parse::<u64>().unwrap_or(0) * 1_000_000_000;
    let into_the_namespace = |event: &mut Value| {
        for key in ["entry_ns", "exit_ns"] {
            if let Some(ns) = event[key].as_u64() {
                event[key] = (ns + offset_ns).into();
            }
        }
    };
    let config = Config { comm: Some("\u{1b}[2J\u{fffd}".to_owned()), ..stand.config() };
    let findings = stand.judge_by(config, &done, &ran, into_the_namespace);
    outcome.add(findings, true);
    usual_ids(&mut stand)?;
    Ok(outcome)
}

/// Each call has the name that its thread had then, and a filter by name takes exactly that.
pub(super) fn names(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let filters = [Some("short"), Some("sho"), Some("another-thread"), None];
    let mut tracers = Vec::new();
    for filter in filters {
        let more = filter.map_or(Vec::new(), |name| vec!["--comm", name]);
        tracers.push(stand.attached(&stand.calls(&more))?);
    }
    let ran = stand.situation(&stand.field(&["names"]))?;
    let said = Said::all(&String::from_utf8_lossy(&ran.stdout), "named");
    outcome.must_come_about(said.len() > 2, "the program did not say its names");
    let called: Vec<(i64, String)> =
        said.iter().map(|said| (said.number("tid"), name_of(said.text("comm")))).collect();
    for (tracer, filter) in tracers.into_iter().zip(filters) {
        stand.signals(tracer, SIGINT);
        let ran = stand.programs.wait(tracer)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let lines = Lines::of(&ran);
        // The other tracers call as well, to see whether they see.
        let told = lines
            .named(CALL_EVENT)
            .map(|event| (event["tid"].as_i64().unwrap_or(-1), text(&event["comm"])));
        let told: Vec<(i64, String)> =
            told.filter(|(_, name)| !name.starts_with(TRACER_COMM)).collect();
        let wanted: Vec<(i64, String)> = called
            .iter()
            .filter(|(_, name)| filter.is_none_or(|filter| filter == name))
            .cloned()
            .collect();
        outcome.saw(wanted.len());
        outcome
            .must(told == wanted, &format!("with --comm {filter:?}: {told:?} and not {wanted:?}"));
    }
    Ok(outcome)
}

/// Bytes in hexadecimal as a tracer prints them.
fn name_of(hex: &str) -> String {
    let bytes: Vec<u8> = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| u8::from_str_radix(&String::from_utf8_lossy(pair), 16).unwrap_or(b'?'))
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The process goes on with its first thread's id: what it does then is the command's.
pub(super) fn exec(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let file = stand.file("said")?;
    let ran = stand.run_words(
        &stand.following(stand.calls(&[]), &stand.field(&["--to", &file, "exec", &file])),
    )?;
    let text = stand.text(&file)?;
    let (thread, executed) = (Said::last(&text, "thread"), Said::last(&text, "arm"));
    outcome.must_come_about(
        thread.number("tid") != thread.number("pid"),
        "no thread but the first executed a program",
    );
    outcome.must_come_about(
        executed.number("pid") == thread.number("pid"),
        "the program was not executed",
    );
    let lines = Lines::of(&ran);
    let told: Vec<_> = lines
        .named(CALL_EVENT)
        .map(|event| (event["pid"].as_i64(), event["tid"].as_i64()))
        .collect();
    let called: Vec<_> = [&thread, &executed]
        .map(|said| (Some(said.number("pid")), Some(said.number("tid"))))
        .into();
    outcome.must(told == called, &format!("calls of a thread, and after a thread executed it, of a program: {told:?} and not {called:?}"));
    outcome.saw(called.len());
    Ok(outcome)
}

/// A process that is asked for ends; another gets its id, and is not asked for. When none is left,
/// so does the tracer.
pub(super) fn process_ended(mut stand: Stand<'_>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    let holder = stand.start(&stand.field(&["rest", HOLD_MS]));
    let (go, stays) = (stand.path("go"), stand.pid_of(holder)?.to_string());
    // With the id of a thread of which the process is another.
    let other = stand.start(&stand.field(&["thread", &go]));
    let tid = stand.says(other, "thread")?.number("tid").to_string();
    let ran = stand.run_words(&stand.calls(&["-p", &tid, "--duration", "300ms"]))?;
    outcome.must(
        code(&ran) != 0 && ran.said().contains("is a thread"),
        &format!("a thread's id is taken for a process's: {}", tail(&ran)),
    );

    let first = stand
        .start(&stand.enter(&["--last-pid", "30000"], &stand.field(&["--hold", &go, "rest", "0"])));
    let pid = stand.entered(first, 1)?.to_string();
    let both = stand.attached(&stand.calls(&["-p", &pid, "-p", &stays]))?;
    let alone = stand.attached(&stand.calls(&["-p", &pid]))?;
    stand.make(&go, Vec::new())?;
    for program in [first, other] {
        stand.programs.wait(program)?;
    }
    let waiter = stand.start(&stand.field(&["rest", LONG_MS]));
    let runs = |programs: &Programs, id: u32| programs.ran(id).exit.is_none();
    stand
        .programs
        .wait_while("a tracer ends", |programs| runs(programs, alone) && runs(programs, waiter))?;
    outcome.must(
        !runs(stand.programs, alone),
        "it runs on although the process that was asked for has ended",
    );
    for left in [alone, waiter] {
        stand.signals(left, SIGKILL);
        stand.programs.wait(left)?;
    }
    let before = (pid.parse::<u32>().unwrap_or(1) - 1).to_string();
    let ran = stand.situation(&stand.enter(&["--last-pid", &before], &stand.field(&["arm"])))?;
    outcome.must_come_about(innermost(&ran).to_string() == pid, "no other process got the id");
    stand.signals(both, SIGINT);
    stand.signals(holder, SIGKILL);
    let ran = stand.programs.wait(both)?;
    let told = Lines::of(&ran).events();
    outcome.must(
        told == 0,
        &format!("{told} calls are told of a process that has the id of one that has ended"),
    );
    outcome.must(code(&ran) == 0, &tail(&ran));
    outcome.saw(3);
    usual_ids(&mut stand)?;
    Ok(outcome)
}
