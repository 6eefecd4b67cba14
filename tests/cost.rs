//! What tracing adds to a call, counted in guest instructions, is what it may be. Instructions, not
//! time: they are the same on every machine that runs this kernel.

use std::path::Path;

use settime32_harness::cost;
use settime32_harness::verdict::Verdict;
use settime32_harness::verify::{DEFAULT_KERNEL, DEFAULT_QEMU};

#[test]
fn the_whole_truth_costs_no_more_than_it_may() {
    let say = |text: &str| eprintln!("settime32-harness: {text}");
    let cost = cost::measure(DEFAULT_KERNEL, Path::new(DEFAULT_QEMU), 200, 2_000, &say)
        .unwrap_or_else(|failure| panic!("{failure}"));
    // What is left out costs nothing, so that the events were compared.
    assert_eq!(cost.verdict, Verdict::Pass, "{}", cost.text());
    assert_eq!(cost.added("untraced, at the end"), Some(0), "{}", cost.text());
    for (name, floor, most) in [
        ("tracer by fentry", "as the tracer by fentry, empty", 1_200),
        ("tracer by kprobe", "as the tracer by kprobe, empty", 2_900),
    ] {
        let [tracer, floor] =
            [name, floor].map(|probes| cost.added(probes).expect("it was attached"));
        assert!(floor > 0 && tracer > floor && tracer <= most, "{}", cost.text());
        let later = cost.added(&format!("{name}, after many threads")).expect("it was attached");
        // 2 %.
        assert!((later - tracer).abs() * 50 <= tracer, "{}", cost.text());
    }
}
