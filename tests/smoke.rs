//! The whole chain at its smallest: one boot, one call; and what can be seen of the probe in the
//! guest.

use std::time::Duration;

use rstest::{fixture, rstest};
use settime32_abi::plan::{Call, Clock, FdKind, Plan, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};
use settime32_harness::boot::Deadline;
use settime32_harness::session::Session;
use settime32_harness::verify::Setup;

#[fixture]
fn session() -> Session {
    let deadline = Deadline::after(Duration::from_secs(180));
    Setup::default().start(deadline).unwrap_or_else(|failure| panic!("{failure}"))
}

#[rstest]
fn one_call_is_captured_exactly(mut session: Session) {
    let new = OldItimerspec32 {
        it_interval: OldTimespec32 { tv_sec: 1, tv_nsec: 2 },
        it_value: OldTimespec32 { tv_sec: 3, tv_nsec: 4 },
    };
    let call = Call::plain(0, new);
    let plan = Plan {
        steps: vec![
            Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) },
            Step::Call(call),
        ],
        ..Plan::default()
    };
    session.run_plan(0, plan).unwrap();
    session.stop_tracer().unwrap();
    let result = session.oracle.finish();
    assert_eq!((result.checked, result.mismatches(), result.lost), (1, 0, 0), "{:?}", result.first);
}

/// Both probes sit on the nop that ftrace keeps at the function's entry, which costs far less than
/// a breakpoint.
#[rstest]
fn the_probe_sits_on_the_ftrace_nop(mut session: Session) {
    let list =
        String::from_utf8(session.read_file("/sys/kernel/debug/kprobes/list").unwrap()).unwrap();
    // `k` is the entry's probe, `r` the return's. With indirect branch tracking the nop comes after
    // an `endbr64`.
    for kind in ["k", "r"] {
        let has = |line: &str, word: &str| line.split_whitespace().any(|found| found == word);
        let probe = list
            .lines()
            .find(|line| has(line, kind) && line.contains("__ia32_sys_timerfd_settime32+0x"));
        let probe = probe.unwrap_or_else(|| panic!("no probe of kind {kind} in\n{list}"));
        assert!(has(probe, "[FTRACE]"), "{list}");
    }
}

/// Nothing is left attached when the tracer has stopped.
#[rstest]
fn the_probe_is_gone_afterwards(mut session: Session) {
    session.stop_tracer().unwrap();
    let list = session.read_file("/sys/kernel/debug/kprobes/list").unwrap();
    assert_eq!(String::from_utf8(list).unwrap(), "");
}
