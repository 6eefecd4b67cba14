//! The tracer's command line with real probes, in a guest: filters, followed commands, limits,
//! signals and the form for people. What events say is proved elsewhere; here it is which calls are
//! reported, and how it ends.

use std::time::Duration;

use rstest::{fixture, rstest};
use settime32_abi::frame::Exit;
use settime32_abi::output::{CallEvent, Summary};
use settime32_abi::plan::{Call, Clock, Ending, Entry, FdKind, Plan, Pointer, Process, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};
use settime32_harness::boot::Deadline;
use settime32_harness::embedded::{TRACER_PATH, WORKLOAD_PATH};
use settime32_harness::programs::{Programs, Ran};
use settime32_harness::verify::Setup;

const PLAN: &str = "/tmp/plan";
const JOURNAL: &str = "/tmp/journal";

/// Calls of the plan, half of them by a forked child. The child arms for 5.000000006 s, its parent
/// at that time.
const CALLS: usize = 20;

const SIGTERM: i32 = 15;

#[fixture]
fn guest() -> Programs {
    let deadline = Deadline::after(Duration::from_secs(180));
    let vm = Setup::default().boot_alone(deadline).unwrap_or_else(|failure| panic!("{failure}"));
    let mut guest = Programs::new(vm, deadline);
    guest.put(PLAN, 0o644, plan().encode()).unwrap();
    guest
}

fn plan() -> Plan {
    let new = OldItimerspec32 {
        it_interval: OldTimespec32::default(),
        it_value: OldTimespec32 { tv_sec: 5, tv_nsec: 6 },
    };
    let call = |flags| {
        Step::Call(Call {
            slot: 0,
            flags,
            utmr: Pointer::Valid,
            otmr: Pointer::Valid,
            new,
            meanwhile: None,
            entry: Entry::Int80,
        })
    };
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) }];
    steps.extend(vec![call(1); CALLS / 2]);
    steps.push(Step::Fork { steps: (CALLS / 2) as u16, ending: Ending::Exit });
    steps.extend(vec![call(0); CALLS / 2]);
    Plan { process: Process::I386, steps }
}

/// Starts the tracer with JSON output and waits until it is attached.
fn attach(guest: &mut Programs, options: &[&str]) -> u32 {
    let id = guest.start(&[&[TRACER_PATH, "--output", "json"], options].concat());
    let ran =
        guest.wait_until(id, "the tracer attaches", |ran| ran.said().contains(": ready")).unwrap();
    assert_eq!(ran.exit, None, "{}", ran.said());
    id
}

fn run_workload(guest: &mut Programs) -> Ran {
    let ran = guest.run(&[WORKLOAD_PATH, PLAN, JOURNAL]).unwrap();
    assert_eq!(ran.exit, Some(Exit::Code(0)), "{}", ran.said());
    ran
}

/// The pids of the events, and the summary that must be the last line.
fn events(ran: &Ran) -> (Vec<u32>, Summary) {
    let lines = ran.lines();
    let (last, calls) = lines.split_last().expect("there is a summary at least");
    let pid = |line: &String| {
        serde_json::from_str::<CallEvent>(line)
            .unwrap_or_else(|error| panic!("{error}: {line}"))
            .pid
    };
    (calls.iter().map(pid).collect(), serde_json::from_str(last).unwrap())
}

#[rstest]
#[case::no_filter(&[], CALLS)]
#[case::by_name(&["--comm", "settime32-workl"], CALLS)]
#[case::by_long_name(&["--comm", "settime32-workload"], CALLS)]
#[case::other_name(&["--comm", "other"], 0)]
#[case::other_process(&["-p", "1"], 0)]
#[case::by_value(&["--fd", "3", "--abi", "i386", "--armed-longer", "5s", "--armed-shorter", "6s"], CALLS / 2)]
#[case::other_value(&["--fd", "3", "--failed"], 0)]
fn filters_let_through_what_they_name(
    mut guest: Programs,
    #[case] options: &[&str],
    #[case] expected: usize,
) {
    let tracer = attach(&mut guest, options);
    run_workload(&mut guest);
    guest.signal(tracer, SIGTERM);
    let ran = guest.wait(tracer).unwrap();
    let (pids, summary) = events(&ran);
    assert_eq!((pids.len(), ran.exit), (expected, Some(Exit::Code(0))), "{}", ran.said());
    assert_eq!(
        (summary.reported, summary.lost.total(), summary.unfinished),
        (expected as u64, 0, 0)
    );
}

/// A command is followed into its children, the calls of others stay out, and its exit code is
/// handed on.
#[rstest]
fn a_command_is_followed_and_nothing_else(mut guest: Programs) {
    let tracer =
        guest.start(&[TRACER_PATH, "--output", "json", "--", WORKLOAD_PATH, PLAN, JOURNAL]);
    let stranger = run_workload(&mut guest).pid;
    let ran = guest.wait(tracer).unwrap();
    let (pids, _) = events(&ran);
    assert_eq!((pids.len(), ran.exit), (CALLS, Some(Exit::Code(0))), "{}", ran.said());
    let mut processes = pids.clone();
    processes.dedup();
    assert_eq!(processes.len(), 2, "the command and its child: {pids:?}");
    assert!(stranger.is_some_and(|stranger| !pids.contains(&stranger)));
}

#[rstest]
#[case(&["/nonexistent/program"], 127)]
#[case(&[PLAN], 126)]
#[case(&[WORKLOAD_PATH, "/nonexistent/plan", JOURNAL], 2)]
fn the_exit_code_is_the_commands(mut guest: Programs, #[case] command: &[&str], #[case] code: i32) {
    let ran = guest.run(&[&[TRACER_PATH, "--"], command].concat()).unwrap();
    assert_eq!(ran.exit, Some(Exit::Code(code)), "{}", ran.said());
}

#[rstest]
fn a_count_ends_it(mut guest: Programs) {
    let tracer = attach(&mut guest, &["--count", "5"]);
    run_workload(&mut guest);
    let ran = guest.wait(tracer).unwrap();
    assert_eq!((events(&ran).0.len(), ran.exit), (5, Some(Exit::Code(0))), "{}", ran.said());
}

/// The parent's calls come first, and are not what is asked for.
#[rstest]
fn a_count_is_of_what_is_printed(mut guest: Programs) {
    let tracer = attach(&mut guest, &["--count", "5", "--armed-longer", "5s"]);
    let parent = run_workload(&mut guest).pid;
    let ran = guest.wait(tracer).unwrap();
    let (pids, summary) = events(&ran);
    assert_eq!(
        (pids.len(), summary.reported, ran.exit),
        (5, 5, Some(Exit::Code(0))),
        "{}",
        ran.said()
    );
    assert!(parent.is_some_and(|parent| !pids.contains(&parent)), "{pids:?}");
}

#[rstest]
fn a_duration_ends_it(mut guest: Programs) {
    let tracer = attach(&mut guest, &["--duration", "50ms"]);
    let ran = guest.wait(tracer).unwrap();
    assert_eq!((events(&ran).0.len(), ran.exit), (0, Some(Exit::Code(0))), "{}", ran.said());
}

/// To a pipe, and so without colour.
#[rstest]
fn lines_for_people_have_words_and_read_like_straces(mut guest: Programs) {
    let ran = guest.run(&[TRACER_PATH, "--", WORKLOAD_PATH, PLAN, JOURNAL]).unwrap();
    let lines = ran.lines();
    let setting = "{it_interval={tv_sec=0, tv_nsec=0}, it_value={tv_sec=5, tv_nsec=6}}, ";
    let count = |words: &str, flags: &str| {
        let wanted =
            format!(" settime32-workl {words:<26} timerfd_settime32(3, {flags}, {setting}");
        lines.iter().filter(|line| line.contains(&wanted) && line.ends_with(" = 0")).count()
    };
    let counts = (count("at 5.000000006 s", "TFD_TIMER_ABSTIME"), count("+5.000000006 s", "0"));
    assert_eq!((lines.len(), counts), (CALLS, (CALLS / 2, CALLS / 2)), "{lines:?}");
}
