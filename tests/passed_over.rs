//! Calls that the kernel passes programs over for are counted, each once, whoever made it do so.

use std::time::Duration;

use serde_json::Value;
use settime32_abi::frame::Exit;
use settime32_abi::output::Summary;
use settime32_harness::boot::{Deadline, TRACER_PATH};
use settime32_harness::programs::Programs;
use settime32_harness::verify::Setup;
use settime32_tests::compiled;

const HAMMER: &str = "/tmp/hammer";
const CALLS: u64 = 20_000;
/// What the tracer ends with that lost calls.
const LOST: i32 = 3;

/// `PREEMPT_RT` preempts the most.
#[test]
fn what_is_passed_over_while_others_use_bpf_is_counted() {
    let deadline = Deadline::after(Duration::from_secs(240));
    let setup = Setup { kernel: "6.12-rt".into(), ..Setup::default() };
    let vm = setup.boot_alone(deadline).unwrap_or_else(|failure| panic!("{failure}"));
    let mut guest = Programs::new(vm, deadline);
    guest.put(HAMMER, 0o755, compiled("hammer.c", &["-pthread"])).unwrap();

    let traced = [TRACER_PATH, "--output", "json", "--attach", "kprobe", "--", HAMMER, "4", &CALLS.to_string()];
    let ran = guest.run(&traced).unwrap();
    assert_eq!(ran.exit, Some(Exit::Code(LOST)), "{}", ran.said());
    let lines = ran.lines();
    let (last, calls) = lines.split_last().unwrap();
    let summary: Summary = serde_json::from_str(last).unwrap();
    assert!(summary.lost.in_flight > 0, "nothing was passed over, which this is about: {last}");
    assert_eq!(calls.len() as u64 + summary.lost.in_flight, CALLS, "{last}");
    // Each call has its number for flags.
    let flags = |line: &String| serde_json::from_str::<Value>(line).unwrap()["flags"].as_u64().unwrap();
    assert!(calls.is_sorted_by(|one, next| flags(one) < flags(next)));
}
