//! Calls that the kernel passes programs over for are counted, each once, whoever made it do so;
//! with a filter, as so many at most.

use std::time::Duration;

use serde_json::Value;
use settime32_abi::frame::Exit;
use settime32_abi::output::Summary;
use settime32_harness::boot::Deadline;
use settime32_harness::embedded::TRACER_PATH;
use settime32_harness::programs::{Programs, Ran};
use settime32_harness::verify::Setup;
use settime32_tests::compiled;

const HAMMER: &str = "/tmp/hammer";
const CALLS: u64 = 20_000;
/// What the tracer ends with that lost calls.
const LOST: i32 = 3;
const SIGTERM: i32 = 15;

/// `PREEMPT_RT` preempts the most.
fn guest() -> Programs {
    let deadline = Deadline::after(Duration::from_secs(240));
    let setup = Setup { kernel: "6.12-rt".into(), ..Setup::default() };
    let vm = setup.boot_alone(deadline).unwrap_or_else(|failure| panic!("{failure}"));
    let mut guest = Programs::new(vm, deadline);
    guest.put(HAMMER, 0o755, compiled("hammer.c", &["-pthread"])).unwrap();
    guest
}

/// The tracer's calls, in the order of their numbers, and its last line.
fn told(ran: &Ran) -> (usize, Summary) {
    assert_eq!(ran.exit, Some(Exit::Code(LOST)), "{}", ran.said());
    let lines = ran.lines();
    let (last, calls) = lines.split_last().unwrap();
    // Each call has its number for flags.
    let flags =
        |line: &String| serde_json::from_str::<Value>(line).unwrap()["flags"].as_u64().unwrap();
    assert!(calls.is_sorted_by(|one, next| flags(one) < flags(next)));
    (calls.len(), serde_json::from_str(last).unwrap())
}

#[test]
fn what_is_passed_over_while_others_use_bpf_is_counted() {
    let mut guest = guest();
    let tracer = guest.start(&[TRACER_PATH, "--output", "json", "--attach", "kprobe"]);
    guest.wait_until(tracer, "the tracer attaches", |ran| ran.said().contains(": ready")).unwrap();
    guest.run(&[HAMMER, "4", &CALLS.to_string()]).unwrap();
    guest.signal(tracer, SIGTERM);
    let (calls, summary) = told(&guest.wait(tracer).unwrap());
    assert!(
        summary.lost.in_flight > 0,
        "nothing was passed over, which this is about: {summary:?}"
    );
    assert_eq!((calls as u64 + summary.lost.in_flight, summary.unknown), (CALLS, 0), "{summary:?}");
}

/// With a filter nobody knows whose calls they were.
#[test]
fn what_may_have_been_anybodys_is_told_as_a_bound() {
    let mut guest = guest();
    let traced = [
        TRACER_PATH,
        "--output",
        "json",
        "--attach",
        "kprobe",
        "--",
        HAMMER,
        "4",
        &CALLS.to_string(),
    ];
    let (calls, summary) = told(&guest.run(&traced).unwrap());
    let missing = CALLS - calls as u64;
    assert!(missing > 0, "nothing was passed over, which this is about: {summary:?}");
    assert!(
        missing > summary.lost.in_flight && missing <= summary.lost.in_flight + summary.unknown,
        "{missing} missing: {summary:?}"
    );
}
