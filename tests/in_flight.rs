//! Facts stay with their call, however many are inside at once, and whatever else the thread does
//! after a return that the kernel skipped.

use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;
use settime32_abi::output::{CallEvent, Summary};
use settime32_harness::boot::Deadline;
use settime32_harness::embedded::TRACER_PATH;
use settime32_harness::programs::Programs;
use settime32_harness::verify::Setup;
use settime32_tests::compiled;

const ASLEEP: &str = "/tmp/asleep";
/// What a descriptor of the first thread is below, where it is none.
const FIRST_THREAD: i32 = -7000;

/// What is told of the program's calls, and the address of its first thread's setting.
fn traced(kernel: &str, attach: &str, threads: usize) -> (Vec<CallEvent<'static>>, Summary, u32) {
    let deadline = Deadline::after(Duration::from_secs(240));
    let setup = Setup { kernel: kernel.into(), ..Setup::default() };
    let vm = setup.boot_alone(deadline).unwrap_or_else(|failure| panic!("{failure}"));
    let mut guest = Programs::new(vm, deadline);
    guest.put(ASLEEP, 0o755, compiled("asleep.c", &["-m32", "-pthread"])).unwrap();
    let command =
        [TRACER_PATH, "--output", "json", "--attach", attach, "--", ASLEEP, &threads.to_string()];
    let ran = guest.run(&command).unwrap();
    let lines = ran.lines();
    let (last, calls) = lines.split_last().unwrap_or_else(|| panic!("{}", ran.said()));
    let calls = calls
        .iter()
        .map(|line| serde_json::from_str::<CallEvent<'_>>(line).unwrap().into_owned())
        .collect();
    let said = ran.said();
    let held = said
        .lines()
        .find_map(|line| line.strip_prefix("held "))
        .unwrap_or_else(|| panic!("{said}"));
    (calls, serde_json::from_str(last).unwrap(), held.parse().unwrap())
}

/// More threads than there are places, so that many find theirs taken.
#[test]
fn a_call_whose_place_is_taken_is_told_like_any_other() {
    const THREADS: usize = 1500;
    let (calls, summary, held) = traced("6.12", "fentry", THREADS);
    assert_eq!(
        (summary.lost.total(), summary.unknown, calls.len()),
        (0, 0, 2 * THREADS + 3),
        "{summary:?}"
    );
    let slept: Vec<_> = calls.iter().filter(|call| call.ufd >= 0 && call.utmr.is_some()).collect();
    let after: Vec<_> = calls.iter().filter(|call| (FIRST_THREAD..0).contains(&call.ufd)).collect();
    let of_number: BTreeMap<u32, u32> =
        slept.iter().map(|call| ((call.utmr.unwrap() - held) / 16, call.tid)).collect();
    assert_eq!((of_number.len(), after.len()), (THREADS, THREADS));
    assert!(
        slept.iter().all(|call| call.ret == Some(0) && call.utmr_used == Some(Default::default()))
    );
    for call in after {
        let number = (-1 - call.ufd).cast_unsigned();
        assert_eq!(
            (of_number[&number], call.ret, call.utmr),
            (call.tid, Some(-14), None),
            "{call:?}"
        );
    }
}

/// More threads than a return probe has room for, so that the first one's returns are skipped.
#[rstest]
fn what_another_call_tells_is_not_taken_for_one_that_returned_unseen(
    #[values("5.10", "6.12")] kernel: &str,
) {
    let (calls, summary, _) = traced(kernel, "kprobe", 24);
    let first = |ufd: i32, has_setting: bool| {
        calls.iter().find(|call| call.ufd == ufd && call.utmr.is_some() == has_setting).unwrap()
    };
    let timer = calls.iter().map(|call| call.ufd).max().unwrap();
    let [copied, not_copied] = [first(-7777, true), first(timer, false)];
    assert!(
        copied.result_lost && not_copied.result_lost,
        "no return was skipped, which this is about: {summary:?}"
    );
    assert!(copied.utmr_used.is_some() && copied.old.is_none(), "{copied:?}");
    assert_eq!((not_copied.utmr_used, not_copied.old), (None, None), "{not_copied:?}");
}
