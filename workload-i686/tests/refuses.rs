//! What the program refuses before it makes any call; it needs no i386 kernel for that.

use std::fs;

use assert_cmd::Command;
use settime32_abi::plan::{Ending, FdKind, Plan, Process, Step};
use tempfile::NamedTempFile;

fn workload() -> Command {
    Command::new(env!("CARGO_BIN_EXE_settime32-workload"))
}

/// Asserts exit code 2, this message, and that no journal was begun.
fn refused(plan: &[u8], message: &str) {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), plan).unwrap();
    let named = file.path().display().to_string();
    for (path, stdin) in [(named.as_str(), &[][..]), ("-", plan)] {
        let expected = format!("settime32-workload: failed to use the plan {path}: {message}\n");
        workload()
            .args([path, "-"])
            .write_stdin(stdin)
            .assert()
            .code(2)
            .stdout("")
            .stderr(expected);
    }
}

#[test]
fn wrong_arguments() {
    let usage = "settime32-workload: usage: settime32-workload PLAN JOURNAL (- for standard input or output)\n";
    for arguments in [&[][..], &["a"], &["a", "b", "c"]] {
        workload().args(arguments).assert().code(2).stderr(usage);
    }
}

#[test]
fn a_plan_that_is_not_there() {
    let message = "settime32-workload: failed to read the plan /nowhere/plan: No such file or directory (os error 2)\n";
    workload().args(["/nowhere/plan", "-"]).assert().code(2).stderr(message);
}

#[test]
fn plans_that_are_damaged() {
    let good =
        Plan { steps: vec![Step::Open { slot: 0, kind: FdKind::Closed }], ..Plan::default() }
            .encode();
    refused(b"", "not a plan: the magic number is missing");
    refused(b"#!/bin/sh\necho this is no plan\n", "not a plan: the magic number is missing");
    refused(
        &good[..good.len() - 1],
        "plan is truncated or too long: 4 bytes after the header, expected 5",
    );
    let mut version = good.clone();
    version[4] = 9;
    refused(&version, "plan of format version 9, but this program reads version 4");
    let mut flipped = good;
    *flipped.last_mut().unwrap() ^= 1;
    refused(&flipped, "plan is damaged: the checksum does not match");
}

#[test]
fn plans_for_another_kind_of_process() {
    let other = if cfg!(target_arch = "x86_64") { Process::I386 } else { Process::Amd64 };
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), Plan { process: other, ..Plan::default() }.encode()).unwrap();
    workload().arg(file.path()).arg("-").assert().code(2).stdout("");
}

#[test]
fn plans_that_cannot_be_done() {
    let plan = Plan {
        steps: vec![Step::SetClock, Step::Fork { steps: 3, ending: Ending::Exit }],
        ..Plan::default()
    };
    refused(&plan.encode(), "step 1 of the plan cannot be done: a fork or threads past the end");
}
