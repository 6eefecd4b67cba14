//! With which privileges a tracer works, and what it says of those that it has not.

use settime32_abi::plan::Plan;

use super::super::Outcome;
use super::super::stand::{SIGINT, Stand};
use super::guest::{code, tail};
use super::told::Lines;
use crate::failure::Failure;

/// What docs/tracer.md names.
const ENOUGH: &str = "bpf,perfmon";
/// BPF's memory counts as locked memory before this version.
const NO_MEMLOCK: (u32, u32) = (5, 11);
/// As much as a buffer and all maps take, twice.
const MEMLOCK: &str = "134217728";

pub(super) fn privileges(mut stand: Stand<'_>, plans: Vec<Plan>) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::nothing();
    if stand.attaches_by_kprobe() {
        // Debian's kernels give kprobes to nobody else than root; what then can be had is fentry.
        refuses(
            &mut stand,
            &mut outcome,
            &["--uid", "1000", "--caps", ENOUGH, "--memlock", MEMLOCK],
            "perf_event_paranoid",
        )?;
        refusals(&mut stand, &mut outcome)?;
        return Ok(outcome);
    }
    let mut plans = plans.into_iter();
    let mut next = || plans.next().expect("there are two");
    let enough = ["--uid", "1000", "--caps", ENOUGH, "--memlock", MEMLOCK];

    let file = stand.plan_file(next())?;
    let ran =
        stand.run_words(&stand.enter(&enough, &stand.following(stand.calls(&[]), &file.words)))?;
    outcome.must(code(&ran) == 0, &format!("with a command: {}", tail(&ran)));
    if code(&ran) == 0 {
        let done = stand.journal(file)?;
        outcome.add(stand.judge([&done], &ran, false), true);
    }

    let tracer = stand.start(&stand.enter(&enough, &stand.calls(&[])));
    if stand.is_ready(tracer)? {
        let done = stand.run(next())?;
        stand.signals(tracer, SIGINT);
        let ran = stand.programs.wait(tracer)?;
        outcome.add(stand.judge([&done], &ran, false), true);
    } else {
        outcome.must(false, &format!("without a command: {}", tail(stand.programs.ran(tracer))));
    }
    other_events(&mut stand, &mut outcome, &enough)?;
    refusals(&mut stand, &mut outcome)?;
    Ok(outcome)
}

/// The other events and `lateness` take no more.
fn other_events(
    stand: &mut Stand<'_>,
    outcome: &mut Outcome,
    enough: &[&str],
) -> Result<(), Failure> {
    const TIMERS: i64 = 100;
    let program = stand.field(&["--to", "/dev/null", "short", &TIMERS.to_string(), "1000"]);
    for (event, more) in [("release", "all"), ("timerfd_create", "timerfd_create")] {
        let tracer = stand.following(stand.calls(&["--events", more]), &program);
        let ran = stand.run_words(&stand.enter(enough, &tracer))?;
        let lines = Lines::of(&ran);
        let told = lines.named(event).count() as i64;
        let missing = TIMERS - told;
        let right =
            matches!(code(&ran), 0 | 3) && missing >= 0 && missing <= lines.lost().cast_signed();
        outcome.must(
            right,
            &format!(
                "--events {more}: {told} of {TIMERS} {event}, {} lost: {}",
                lines.lost(),
                tail(&ran)
            ),
        );
        outcome.saw(told.unsigned_abs() as usize);
    }
    let tracer = stand.following(stand.lateness(&[]), &program);
    let ran = stand.run_words(&stand.enter(enough, &tracer))?;
    let firings = Lines::of(&ran).numbers("lateness", "firings").iter().sum::<i64>();
    outcome.must(
        matches!(code(&ran), 0 | 3) && firings > 0,
        &format!("lateness: {firings} firings: {}", tail(&ran)),
    );
    Ok(())
}

/// Who has less is told what is missing, and nothing is attached.
fn refusals(stand: &mut Stand<'_>, outcome: &mut Outcome) -> Result<(), Failure> {
    let of_user = |caps| ["--uid", "1000", "--caps", caps, "--memlock", MEMLOCK].to_vec();
    let mut refused = vec![
        (of_user(""), "cap_bpf"),
        (of_user("perfmon"), "cap_bpf"),
        (of_user("bpf"), "cap_perfmon"),
        (vec!["--user"], "user namespace"),
    ];
    if stand.version() < NO_MEMLOCK {
        refused.push((vec!["--uid", "1000", "--caps", ENOUGH, "--memlock", "65536"], "memlock"));
    }
    for (options, named) in refused {
        refuses(stand, outcome, &options, named)?;
    }
    let clean = stand.is_clean()?;
    outcome.must(clean, "a probe is still there");
    Ok(())
}

/// A tracer that is started so ends, and names this.
fn refuses(
    stand: &mut Stand<'_>,
    outcome: &mut Outcome,
    options: &[&str],
    named: &str,
) -> Result<(), Failure> {
    let ran = stand.run_words(&stand.enter(options, &stand.calls(&["--duration", "300ms"])))?;
    let said = ran.said().to_lowercase();
    let is_refused = code(&ran) != 0 && !said.contains(": ready") && said.contains(named);
    outcome.must(
        is_refused,
        &format!("{options:?} is not refused for its {named} ({}): {}", code(&ran), tail(&ran)),
    );
    outcome.saw(1);
    Ok(())
}
