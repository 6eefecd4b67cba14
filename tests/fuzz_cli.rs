//! `fuzz` and `merge`, run as a user would: what is found is shrunk and kept, shards are the whole
//! run, and a run that was stopped goes on. Declared by the package `settime32-harness`, whose
//! program it runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use assert_cmd::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use settime32_abi::plan::{Plan, Pointer, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};
use settime32_harness::generate;
use settime32_harness::regression::Regression;

const GREATEST: OldTimespec32 = OldTimespec32 { tv_sec: i32::MAX, tv_nsec: 999_999_999 };

fn harness() -> Command {
    Command::new(env!("CARGO_BIN_EXE_settime32-harness"))
}

/// Runs a command with arguments divided at blanks, then these; gives the exit code and the report.
fn report_of(arguments: &str, folders: &[&Path]) -> (i32, Value) {
    let output = harness().args(arguments.split(' ')).args(folders).arg("--json").output().unwrap();
    let report = serde_json::from_slice(&output.stdout);
    let report = report.unwrap_or_else(|error| {
        panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code().expect("it is not killed"), report)
}

fn greatest_settings(plan: &Plan) -> usize {
    let greatest = OldItimerspec32 { it_interval: GREATEST, it_value: GREATEST };
    let is_one = |step: &&Step| matches!(step, Step::Call(call) if call.new == greatest && call.utmr == Pointer::Valid);
    plan.steps.iter().filter(is_one).count()
}

/// A seed whose 10,000 calls have just one of the setting that the mutant gets wrong.
fn seed_with_one() -> u64 {
    (1..).find(|seed| greatest_settings(&generate::plan(*seed, 0, 10_000)) == 1).unwrap()
}

#[test]
fn one_call_of_10_000_is_found_shrunk_and_kept() {
    let out = tempfile::tempdir().unwrap();
    let command =
        format!("fuzz --mutant greatest-setting --seed {} --calls 10000 --out", seed_with_one());
    let (code, report) = report_of(&command, &[out.path()]);
    assert_eq!(
        (code, report["verdict"].as_str(), report["captured"].as_u64()),
        (1, Some("violation"), Some(10_000)),
        "{report}"
    );
    let [fault] = report["faults"].as_array().unwrap().as_slice() else { panic!("{report}") };
    assert!(
        fault["note"].as_str().unwrap().starts_with("shrunk from 10000 calls to 1 in "),
        "{fault}"
    );
    assert_eq!(fault["title"], "event differs from the call: utmr_entry, utmr_used");
    let file = PathBuf::from(fault["file"].as_str().unwrap());
    let plan = Regression::parse(&fs::read_to_string(&file).unwrap()).unwrap().plan();
    // A timer, and a call with nothing about it but the setting.
    let [Step::Open { slot: 0, .. }, Step::Call(call)] = plan.steps.as_slice() else {
        panic!("{plan:?}")
    };
    assert_eq!((greatest_settings(&plan), call.flags, call.otmr), (1, 0, Pointer::Null));

    it_is_run_first_from_then_on(&command, out.path(), &file);
    its_command_shows_it_again(fault);
    its_c_program_makes_the_call(Path::new(fault["c"].as_str().unwrap()));
}

/// By the tracer that fails it, and by one that does not.
fn it_is_run_first_from_then_on(command: &str, out: &Path, file: &Path) {
    let (code, again) = report_of(command, &[out]);
    assert_eq!(
        (code, &again["regressions"], &again["captured_now"]),
        (1, &1.into(), &0.into()),
        "no seed is repeated: {again}"
    );
    let other = tempfile::tempdir().unwrap();
    fs::create_dir(other.path().join("regressions")).unwrap();
    fs::copy(file, other.path().join("regressions").join(file.file_name().unwrap())).unwrap();
    let (code, wrong) =
        report_of("fuzz --mutant greatest-setting --seed 1 --duration 1s --out", &[other.path()]);
    let noted = |report: &Value| {
        report["faults"]
            .as_array()
            .unwrap()
            .iter()
            .any(|fault| fault["note"] == "a regression that fails again")
    };
    assert!(code == 1 && noted(&wrong), "{wrong}");
    let (code, stderr) = {
        let output = harness()
            .args(["fuzz", "--seed", "1", "--duration", "1s", "--out"])
            .arg(other.path())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(code == Some(2) && stderr.contains("differ in the tracer"), "{stderr}");
    fs::remove_file(other.path().join("state.json")).unwrap();
    let (code, right) = report_of("fuzz --seed 1 --duration 1s --out", &[other.path()]);
    assert_eq!(
        (code, &right["regressions"], &right["faults"]),
        (0, &1.into(), &Value::Array(Vec::new())),
        "{right}"
    );
}

fn its_command_shows_it_again(fault: &Value) {
    let replay = fault["replay"].as_str().unwrap();
    let words = replay.strip_prefix("cargo harness ").unwrap().split(' ');
    let output = harness().args(words).arg("--json").output().unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &report["mismatches"]), (Some(1), &1.into()), "{report}");
    assert!(report["findings"][0].as_str().unwrap().contains("utmr_used"), "{report}");
}

/// The shipped tracer reports the program's call as the plan has it.
fn its_c_program_makes_the_call(source: &Path) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("reproducer");
    let text = fs::read_to_string(source).unwrap();
    assert!(
        text.contains("utmr_used must be") && text.contains("replay it: cargo harness replay"),
        "{text}"
    );
    let built = Process::new("gcc")
        .args(["-m32", "-static", "-o"])
        .arg(&program)
        .arg(source)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let here = Process::new(&program).output().unwrap();
    assert!(String::from_utf8_lossy(&here.stdout).ends_with("= 0\n"), "{here:?}");
    let events = folder.path().join("events");
    let mut traced = harness();
    traced
        .args(["run", "--trace", "--output", "json", "--trace-output"])
        .arg(&events)
        .arg("--")
        .arg(&program)
        .assert()
        .success();
    let events = fs::read_to_string(events).unwrap();
    let events: Vec<Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [event, summary] = events.as_slice() else { panic!("{events:?}") };
    let time = serde_json::to_value(GREATEST).unwrap();
    assert_eq!(event["utmr_used"], serde_json::json!({ "it_interval": time, "it_value": time }));
    assert_eq!(
        (&event["flags"], &event["otmr"], &event["ret"], &summary["reported"]),
        (&0.into(), &Value::Null, &0.into(), &1.into())
    );
}

/// What a state says but for how long it took and which shards did it.
fn done(folder: &Path) -> (Value, Value, Vec<(String, String)>) {
    let state: Value =
        serde_json::from_slice(&fs::read(folder.join("state.json")).unwrap()).unwrap();
    let fault = |fault: &Value| (fault["title"].to_string(), fault["seen"].to_string());
    let mut faults: Vec<_> = state["faults"].as_array().unwrap().iter().map(fault).collect();
    faults.sort();
    (state["config"].clone(), state["cells"].clone(), faults)
}

#[test]
fn three_shards_joined_are_the_run_without_shards() {
    let folder = tempfile::tempdir().unwrap();
    let part = |name: &str| folder.path().join(name);
    // Seven seeds, the last of which is shorter. One of them at least shows the tracer's error.
    let first = seed_with_one() - 3;
    let common = format!("fuzz --mutant greatest-setting --seed {first} --calls 65000");
    let (code, whole) = report_of(&format!("{common} --out"), &[&part("whole")]);
    assert_eq!(
        (code, &whole["seeds"], &whole["captured"]),
        (1, &7.into(), &65_000.into()),
        "{whole}"
    );
    for shard in 1..=3 {
        let (_, report) =
            report_of(&format!("{common} --shard {shard}/3 --out"), &[&part(&shard.to_string())]);
        assert_eq!(report["captured"], report["calls"], "{report}");
    }
    let parts: Vec<PathBuf> = (1..=3).map(|shard| part(&shard.to_string())).collect();
    let merge = |parts: &[&PathBuf]| {
        let output = harness()
            .arg("merge")
            .args(parts)
            .arg("--json")
            .arg("--out")
            .arg(part("merged"))
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = merge(&[&parts[1], &parts[0], &parts[2]]);
    assert_eq!(code, Some(1), "{text}");
    assert_eq!(done(&part("merged")), done(&part("whole")));
    assert!(
        fs::read_dir(part("merged").join("regressions")).unwrap().count() >= 2,
        "a failure and its program"
    );
    // A part that is missing or there twice is noticed.
    assert!(merge(&[&parts[0], &parts[2]]).1.contains("shard 2/3 is not there"));
    let (code, text) = merge(&[&parts[0], &parts[1], &parts[0]]);
    assert!(code == Some(2) && text.contains("done by a folder before it"), "{text}");
}

#[test]
fn a_run_that_was_stopped_goes_on_without_repeating_a_seed() {
    let out = tempfile::tempdir().unwrap();
    let mut child = Process::new(env!("CARGO_BIN_EXE_settime32-harness"))
        .args("fuzz --duration 10m --seed 40 --json --out".split(' '))
        .arg(out.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It says how far it is once in a while.
    let told = BufReader::new(child.stderr.take().unwrap())
        .lines()
        .map_while(Result::ok)
        .any(|line| line.contains("calls, "));
    assert!(told, "the run ended by itself");
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    let stopped: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &stopped["interrupted"], &stopped["gaps"]),
        (Some(3), &true.into(), &Value::Array(Vec::new())),
        "{stopped}"
    );
    let seeds = stopped["seeds"].as_u64().unwrap();
    assert!(
        seeds > 0 && stopped["captured"].as_u64() == Some(seeds * 10_000),
        "what was under way was finished: {stopped}"
    );
    // The seed need not be told again.
    let (code, whole) = report_of("fuzz --duration 12s --out", &[out.path()]);
    let number = |name: &str| whole[name].as_u64().unwrap();
    assert_eq!((code, &whole["config"]["seed"]), (0, &40.into()), "{whole}");
    assert!(
        number("captured_now") > 0
            && number("captured") == stopped["captured"].as_u64().unwrap() + number("captured_now"),
        "{whole}"
    );
    assert_eq!(number("captured"), number("seeds") * 10_000, "each seed is done once");
    let state: Value =
        serde_json::from_slice(&fs::read(out.path().join("state.json")).unwrap()).unwrap();
    assert_eq!(
        state["cells"][0]["done"],
        serde_json::json!([[0, number("seeds")]]),
        "and none is left out"
    );
}

#[test]
fn a_run_that_verified_nothing_is_no_pass() {
    let out = tempfile::tempdir().unwrap();
    let (code, report) = report_of("fuzz --duration 0s --out", &[out.path()]);
    assert_eq!(
        (code, &report["verdict"], &report["captured"]),
        (3, &"inconclusive".into(), &0.into())
    );
    let (code, report) = report_of(
        "fuzz --kernel 5.10 --attach fentry --calls 10000 --out",
        &[&out.path().join("other")],
    );
    assert_eq!((code, &report["verdict"]), (6, &"infrastructure".into()), "{report}");
    assert!(report["not_run"][0].as_str().unwrap().contains("safe from kernel 5.12"), "{report}");
}

#[test]
fn what_cannot_be_run_is_told_by_its_exit_code() {
    let folder = tempfile::tempdir().unwrap();
    for (arguments, code) in [
        ("fuzz --shard 1/3", 2),
        ("fuzz --shard 4/3 --seed 1", 2),
        ("fuzz --mutant nonsense", 2),
        ("fuzz --calls 0", 2),
        ("fuzz --qemu /nonexistent/qemu --calls 1", 6),
        ("fuzz --kernel /nonexistent/vmlinuz --calls 1", 6),
        ("merge /nonexistent", 2),
    ] {
        let mut command = harness();
        command.args(arguments.split(' ')).env("SETTIME32_CACHE", folder.path());
        command.assert().code(code).stdout("");
    }
    fs::create_dir(folder.path().join("regressions")).unwrap();
    fs::write(folder.path().join("regressions/bad.json"), "{}").unwrap();
    let assert = harness()
        .args(["fuzz", "--calls", "1"])
        .env("SETTIME32_CACHE", folder.path())
        .assert()
        .code(6);
    assert!(String::from_utf8_lossy(&assert.get_output().stderr).contains("bad.json"));
}
