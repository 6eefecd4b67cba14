//! The harness's command line, run as a user would: every way in which a run can end has its own
//! verdict, exit code and message. Declared by the package `settime32-harness`, whose program it
//! runs.

use std::fs;
use std::path::Path;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use serde_json::Value;

fn harness() -> Command {
    Command::new(env!("CARGO_BIN_EXE_settime32-harness"))
}

/// Runs `verify` with arguments divided at blanks, and gives the exit code and the report.
fn report_of(arguments: &str) -> (i32, Value) {
    let output = harness().arg("verify").arg("--json").args(arguments.split(' ')).output().unwrap();
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|error| {
        panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code().expect("it is not killed"), report)
}

#[test]
fn help_names_the_jobs_and_the_exit_codes() {
    let all = ["verify", "replay", "kernels", "mutants", "bench"]
        .into_iter()
        .map(contains)
        .fold(contains("Exit codes: 0 pass"), |_, next| next);
    harness().arg("--help").assert().success().stdout(all.and(contains("1 violation")));
    harness()
        .args(["verify", "--help"])
        .assert()
        .success()
        .stdout(contains("--calls").and(contains("--seed")));
}

#[rstest]
#[case("completions bash", "--catalogue")]
#[case("completions zsh", "--catalogue")]
#[case("completions fish", "catalogue")]
#[case("man", ".TH settime32-harness 1")]
fn it_describes_itself(#[case] arguments: &str, #[case] says: &str) {
    harness().args(arguments.split(' ')).assert().success().stdout(contains(says)).stderr("");
}

/// Everything that prints and needs no guest; the last is of a job that fails, which outweighs
/// that.
const PRINTS: [(&str, i32); 9] = [
    ("kernels", 0),
    ("catalogue", 0),
    ("catalogue --json", 0),
    ("mutants --list", 0),
    ("compare --list", 0),
    ("completions bash", 0),
    ("man", 0),
    ("--help", 0),
    ("verify --json --kernel /nonexistent/vmlinuz", 6),
];

/// Runs a line of a shell with the program as `h`, and gives its exit code and standard error.
fn in_shell(line: &str) -> (Option<i32>, String) {
    let line = format!("h() {{ {} \"$@\"; }}; {line}", env!("CARGO_BIN_EXE_settime32-harness"));
    let output = std::process::Command::new("bash").args(["-c", &line]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// What cannot be written is an error, whatever is printed.
#[rstest]
#[case::full(">/dev/full", "No space left on device")]
#[case::closed(">&-", "Bad file descriptor")]
fn output_that_cannot_be_written_is_an_infrastructure_failure(#[case] to: &str, #[case] why: &str) {
    for (arguments, _) in PRINTS {
        let (code, said) = in_shell(&format!("h {arguments} {to}"));
        assert!(
            code == Some(6) && said.contains("standard output") && said.contains(why),
            "{arguments}: {code:?}, {said}"
        );
    }
}

/// A reader that leaves has read enough, and nobody panics.
#[test]
fn a_reader_that_leaves_ends_it() {
    for (arguments, code) in PRINTS {
        let (found, said) = in_shell(&format!("h {arguments} | true; exit ${{PIPESTATUS[0]}}"));
        assert!(
            found == Some(code) && !said.contains("panicked"),
            "{arguments}: {found:?}, {said}"
        );
    }
}

/// Standard error that is closed or full changes nothing.
#[test]
fn nobody_to_tell_is_no_failure() {
    for to in ["2>&-", "2>/dev/full"] {
        assert_eq!(
            in_shell(&format!("h verify --json --kernel /nonexistent/vmlinuz >/dev/null {to}")).0,
            Some(6),
            "{to}"
        );
        assert_eq!(in_shell(&format!("h frobnicate {to}")).0, Some(2), "{to}");
    }
}

#[test]
fn a_pipe_that_does_not_block_gets_everything() {
    use std::io::Read;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    // So small that the text does not fit.
    nix::sys::socket::setsockopt(&theirs, nix::sys::socket::sockopt::SndBuf, &4096).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_settime32-harness"));
    let mut child =
        command.args(["completions", "bash"]).stdout(OwnedFd::from(theirs)).spawn().unwrap();
    // It holds the other end, and without that the text would have no end.
    drop(command);
    std::thread::sleep(std::time::Duration::from_millis(300));
    let (mut got, mut ours) = (Vec::new(), ours);
    ours.read_to_end(&mut got).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(got, harness().args(["completions", "bash"]).output().unwrap().stdout);
}

/// Both forms that are not the oracle's, on both kinds of probes.
#[test]
fn other_forms_are_read_back() {
    let output = harness()
        .args(
            "verify --case forms/pretty --case forms/tracee --attach all --seed 3 --json"
                .split(' '),
        )
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let cells: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((cells.len(), output.status.code()), (2, Some(0)), "{text}");
    for case in cells.iter().flat_map(|cell| cell["cases"].as_array().unwrap()) {
        assert!(
            case["checked"].as_u64() > Some(0)
                && case["checked"] == case["calls"]
                && case["verdict"] == "pass",
            "{case}"
        );
    }
}

#[test]
fn manual_pages_go_to_a_folder_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    harness().args(["man", "--to"]).arg(folder.path()).assert().success().stdout("");
    let page = fs::read_to_string(folder.path().join("settime32-harness-verify.1")).unwrap();
    assert!(page.contains("catalogue"), "{page}");
    let absent = folder.path().join("absent");
    harness()
        .args(["man", "--to"])
        .arg(&absent)
        .assert()
        .code(6)
        .stderr(contains(absent.to_str().unwrap()));
}

#[rstest]
#[case("")]
#[case("frobnicate")]
#[case("completions csh")]
#[case("verify --calls 0")]
#[case("verify --calls many")]
#[case("verify --timeout soon")]
#[case("verify --attach magic")]
#[case("replay")]
#[case("replay --seed 7")]
#[case("replay --seed 7 --plan 0 --calls 10001")]
#[case("replay /nonexistent/plan")]
fn bad_arguments_are_a_usage_error(#[case] arguments: &str) {
    let words = arguments.split(' ').filter(|word| !word.is_empty());
    harness().args(words).assert().code(2).stdout("").stderr(predicate::str::is_empty().not());
}

#[test]
fn a_file_that_is_no_plan_is_a_usage_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "not a plan").unwrap();
    harness()
        .arg("replay")
        .arg(file.path())
        .assert()
        .code(2)
        .stderr(contains("not a plan").and(contains(file.path().to_str().unwrap())));
}

#[rstest]
#[case("--kernel /nonexistent/vmlinuz", "/nonexistent/vmlinuz")]
#[case("--kernel 9.99", "9.99")]
#[case("--qemu /nonexistent/qemu", "/nonexistent/qemu")]
fn what_is_missing_is_an_infrastructure_failure(#[case] arguments: &str, #[case] named: &str) {
    let (code, report) = report_of(arguments);
    assert_eq!((code, report["verdict"].as_str()), (6, Some("infrastructure")), "{report}");
    let failure = report["failure"].as_str().unwrap();
    assert!(failure.contains(named), "{failure}");
    assert_eq!(report["captured"], 0);
}

#[test]
fn a_qemu_that_refuses_its_machine_is_an_infrastructure_failure() {
    // A program that ends at once, with an error of its own, is what a broken QEMU is to the
    // harness.
    let (code, report) = report_of("--accel tcg --qemu /bin/false");
    assert_eq!((code, report["verdict"].as_str()), (6, Some("infrastructure")), "{report}");
}

#[test]
fn an_empty_path_has_no_qemu() {
    let output = harness().args(["verify", "--json"]).env("PATH", "").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(6), "{report}");
    assert!(report["failure"].as_str().unwrap().contains("ci/setup"), "{report}");
}

/// Every failure in the guest, caused on purpose.
#[rstest]
#[case::panic("--inject guest-panic", 4, "guest-failure", "kernel panic")]
#[case::hang(
    "--inject guest-hang --timeout 25s",
    5,
    "boot-failure",
    "no answer within the time limit of 25 s"
)]
#[case::killed_workload(
    "--inject kill-workload",
    4,
    "guest-failure",
    "the workload ended with signal 9"
)]
#[case::killed_tracer("--inject kill-tracer", 4, "guest-failure", "the tracer ended with signal 9")]
#[case::truncated_journal("--inject truncate-journal", 4, "guest-failure", "journal is truncated")]
#[case::no_port(
    "--append initcall_blacklist=virtio_console_init",
    5,
    "boot-failure",
    "agent failure"
)]
#[case::no_init("--append rdinit=/nonexistent", 5, "boot-failure", "kernel panic")]
#[case::lockdown("--append lockdown=confidentiality", 4, "guest-failure", "lockdown")]
fn each_failure_has_its_own_verdict(
    #[case] arguments: &str,
    #[case] code: i32,
    #[case] verdict: &str,
    #[case] said: &str,
) {
    let (found_code, report) = report_of(arguments);
    assert_eq!((found_code, report["verdict"].as_str()), (code, Some(verdict)), "{report}");
    let failure = report["failure"].as_str().unwrap();
    assert!(failure.contains(said), "{failure}");
    // What a person needs to look into it is kept.
    let record = Path::new(report["record"].as_str().unwrap());
    assert!(record.join("report.json").exists(), "{record:?}");
    let console = fs::read_to_string(record.join("console.log")).unwrap();
    assert!(
        !said.contains("kernel panic") || console.contains("Kernel panic"),
        "the console was not kept:\n{console}"
    );
    let replay = report["replay"].as_str().unwrap();
    assert!(replay.starts_with("cargo harness replay --seed "), "{replay}");
}

/// A buffer that is too small loses events; each is counted, and the verdict is no pass.
#[test]
fn lost_events_are_counted_and_inconclusive() {
    let (code, report) = report_of("--calls 20000 --buffer 4K");
    assert_eq!((code, report["verdict"].as_str()), (3, Some("inconclusive")), "{report}");
    let number = |name: &str| report[name].as_u64().unwrap();
    assert!(number("lost") > 0, "{report}");
    assert_eq!(number("captured") + number("lost"), 20_000, "{report}");
    assert_eq!(number("mismatches"), 0, "{report}");
}

/// The command that a failure prints is taken as it stands, and fails in the same way.
#[test]
fn the_printed_replay_command_replays() {
    let (code, report) = report_of("--inject kill-workload --seed 11");
    let command = report["replay"].as_str().unwrap();
    let words = command.strip_prefix("cargo harness ").unwrap().split(' ');
    let output = harness().args(words).arg("--json").output().unwrap();
    let again: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &again["failure"]), (Some(code), &report["failure"]));
    assert_eq!((&again["seed"], &again["calls"]), (&report["seed"], &report["calls"]));
}

/// One plan of a run, replayed alone, passes where the run passes.
#[test]
fn a_single_plan_can_be_replayed() {
    let output =
        harness().args("replay --seed 7 --plan 3 --calls 500 --json".split(' ')).output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), report["captured"].as_u64()),
        (Some(0), Some(500)),
        "{report}"
    );
}

/// Cases of the catalogue run by name, and each has its own line.
#[test]
fn cases_run_by_name() {
    let output = harness()
        .args(
            "verify --case pointers/otmr-partly-mapped --case entry/vdso --seed 3 --json"
                .split(' '),
        )
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{report}");
    let line =
        |at: usize| ["name", "verdict"].map(|key| report["cases"][at][key].as_str().unwrap());
    assert_eq!(
        [line(0), line(1)],
        [["pointers/otmr-partly-mapped", "pass"], ["entry/vdso", "pass"]],
        "{report}"
    );
    for case in report["cases"].as_array().unwrap() {
        assert!(case["checked"].as_u64() > Some(0) && case["checked"] == case["calls"], "{case}");
    }
}

#[test]
fn the_catalogue_is_listed() {
    let output = harness().args(["catalogue", "--json"]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let names: Vec<String> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["name"].as_str().unwrap().into())
        .collect();
    for name in [
        "values/any",
        "pointers/not-resident",
        "clocks/alarm-not-allowed",
        "silence/timer-settime32",
    ] {
        assert!(names.iter().any(|listed| listed == name), "{name} is not in {names:?}");
    }
    let unknown = harness().args(["verify", "--case", "no/such-case"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn mutants_are_listed_with_what_catches_them() {
    let output = harness().args(["mutants", "--list", "--json"]).output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let listed: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let caught_by = |name: &str| {
        listed
            .iter()
            .find(|wrong| wrong["name"] == name)
            .map(|wrong| wrong["caught_by"].as_str().unwrap())
    };
    assert_eq!(caught_by("native-calls-too"), Some("silence/native-timerfd-settime"), "{lines}");
    assert_eq!(caught_by("one-in-10000-dropped"), Some("10000 generated calls"), "{lines}");
    harness().args(["mutants", "no-such-tracer"]).assert().code(2);
}

/// Mutants of both halves: by cases, by generated calls, by calls that are lost on purpose,
/// and by lifecycles.
#[test]
fn mutants_are_caught_and_the_right_one_passes() {
    let names = [
        "registers-not-cut",
        "halves-swapped",
        "nsec-zero-extended",
        "one-in-10000-dropped",
        "losses-not-counted",
    ];
    let names = [&names[..], &["lifecycle-numbers-reused", "lifecycle-ticks-always-one"]].concat();
    let output = harness().arg("mutants").args(&names).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("7 of 7 mutants caught"), "{text}");
    let line =
        |word: &str| text.lines().filter(move |line| line.contains(word)).collect::<Vec<_>>();
    assert!(
        names.iter().all(|name| matches!(line(name)[..], [one] if one.contains("caught"))),
        "{text}"
    );
    // The shipped one, and the wrong ones' program with no error in it: with a buffer that is large
    // enough, without, and of lifecycles.
    let passed = line("settime32-").into_iter().filter(|line| line.contains("pass (")).count();
    assert_eq!((passed, output.status.code()), (6, Some(0)), "{text}");
}

#[test]
fn a_pass_prints_a_table_that_says_so() {
    let rows = [
        "kernel",
        "accelerator",
        "attach mode",
        "seed",
        "captured",
        "mismatches",
        "lost",
        "calls a second",
        "verdict",
    ];
    let output = harness().args("verify --calls 100 --seed 3".split(' ')).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for row in rows {
        assert!(text.contains(row), "no row `{row}` in\n{text}");
    }
    assert!(text.lines().any(|line| line.contains("verdict") && line.contains("pass")), "{text}");
    assert_eq!(output.status.code(), Some(0));
}

/// What a kernel cannot do is said in a matrix, and is no failure of it; alone it is no pass.
#[test]
fn what_a_kernel_cannot_do_is_not_run() {
    let output = harness()
        .args("verify --kernel 5.10 --attach all --calls 200 --json".split(' '))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let cells: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [kprobe, fentry] = cells.as_slice() else { panic!("{text}") };
    assert_eq!(
        (output.status.code(), &kprobe["verdict"], &kprobe["captured"]),
        (Some(0), &"pass".into(), &200.into()),
        "{text}"
    );
    assert!(fentry["not_run"].as_str().unwrap().contains("safe from kernel 5.12"), "{fentry}");
    let (code, report) = report_of("--kernel 5.10 --attach fentry --calls 200");
    assert_eq!(
        (code, &report["verdict"], &report["not_run"]),
        (6, &"infrastructure".into(), &fentry["not_run"]),
        "{report}"
    );
}

/// A VM never outlives the command that started it, however that ends.
#[test]
fn qemu_dies_with_the_harness() {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_settime32-harness"))
        .args("verify --calls 1000000 --accel tcg".split(' '))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let emulator = loop {
        assert!(child.try_wait().unwrap().is_none(), "the harness ended before it started QEMU");
        if let Some(pid) = child_named(child.id(), "qemu") {
            break pid;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    };
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL).unwrap();
    child.wait().unwrap();
    // The kernel sends the signal when the parent ends; what is waited for here is only QEMU's own
    // dying.
    while is_alive(emulator) {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

fn child_named(parent: u32, name: &str) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.contains(name))
    })
}

/// A zombie that nobody has waited for yet is dead, too.
fn is_alive(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| !rest.trim().is_empty() && !rest.trim().starts_with('Z'))
}

/// Every event of timers that live lifecycles, by either way to attach.
#[rstest]
#[case::kprobe("kprobe")]
#[case::fentry("fentry")]
fn whole_lives_of_timers_are_told_exactly(#[case] attach: &str) {
    let output = harness()
        .args(["lifecycle", "--json", "--timers", "300", "--seed", "3", "--attach", attach])
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (report["verdict"].as_str(), output.status.code()),
        (Some("pass"), Some(0)),
        "{report}"
    );
    assert!(
        report["captured"].as_u64() >= Some(300) && report["captured"] == report["calls"],
        "{report}"
    );
}
