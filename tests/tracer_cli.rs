//! The tracer's command line, without a probe ever being attached to this machine: everything here
//! ends before that, for want of arguments or of privilege. Declared by the package
//! `settime32-tracer`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::LazyLock;

use assert_cmd::assert::OutputAssertExt;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::rstest;
use tempfile::TempDir;

/// Exit codes that the tracer documents.
const USAGE: i32 = 2;
const NO_PRIVILEGE: i32 = 12;
const NOT_WRITTEN: i32 = 16;

/// A copy where all may go, since the build's folder may be closed to others. Copied by another
/// process: a descriptor of ours that is open for writing could be inherited by what a test beside
/// starts, and then the program cannot be executed (`ETXTBSY`).
static PROGRAM: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = folder.path().join("settime32-tracer");
    let status = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_settime32-tracer"))
        .arg(&program)
        .status()
        .unwrap();
    assert!(status.success());
    (folder, program)
});

/// The tracer as a user without any privilege, whoever runs the tests.
fn unprivileged(arguments: &[&str]) -> Output {
    let mut command = Command::new(PROGRAM.1.as_path());
    command.args(arguments).current_dir("/");
    if nix::unistd::geteuid().is_root() {
        command.uid(65_534).gid(65_534);
    }
    command.output().unwrap()
}

#[test]
fn help_names_options_and_exit_codes() {
    let said = unprivileged(&["--help"]).assert().success();
    let options = [
        "--output",
        "--color",
        "--pid",
        "--comm",
        "--duration",
        "--count",
        "--buffer",
        "--attach",
        "Exit codes",
    ];
    let filters = ["Filters:", "--fd", "--abi", "--failed", "--armed-longer", "--armed-shorter"];
    options.into_iter().chain(filters).fold(said, |said, option| said.stdout(contains(option)));
}

/// Without privileges, and without the eBPF program.
#[rstest]
#[case(&["schema"], "https://json-schema.org/draft/2020-12/schema")]
#[case(&["completions", "bash"], "--armed-longer")]
#[case(&["completions", "zsh"], "--armed-longer")]
#[case(&["completions", "fish"], "armed-longer")]
#[case(&["man"], ".TH settime32-tracer 1")]
fn it_describes_itself(#[case] arguments: &[&str], #[case] says: &str) {
    unprivileged(arguments).assert().success().stdout(contains(says)).stderr("");
}

/// What cannot be written is an error, whatever was to be written.
#[rstest]
#[case(&["schema"])]
#[case(&["completions", "bash"])]
#[case(&["man"])]
#[case(&["--help"])]
#[case(&["--version"])]
fn a_full_or_closed_output_is_an_error(#[case] arguments: &[&str]) {
    for (redirection, says) in
        [(">/dev/full", "No space left"), (">&-", "standard output is closed")]
    {
        let line = format!("exec \"$0\" \"$@\" {redirection}");
        let ran = Command::new("sh")
            .args(["-c", &line])
            .arg(PROGRAM.1.as_path())
            .args(arguments)
            .output()
            .unwrap();
        ran.assert().code(NOT_WRITTEN).stderr(contains(says));
    }
}

#[test]
fn a_reader_that_leaves_has_read_enough() {
    let line = "(\"$0\" completions bash; echo $? >&2) | true";
    let ran = Command::new("sh").args(["-c", line]).arg(PROGRAM.1.as_path()).output().unwrap();
    ran.assert().success().stderr("0\n");
}

#[test]
fn the_schema_that_is_printed_is_the_one_in_the_repository() {
    let file = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/schema/event.schema.json")).unwrap();
    assert_eq!(unprivileged(&["schema"]).stdout, file);
}

#[rstest]
#[case(&["--frobnicate"])]
#[case(&["completions"])]
#[case(&["completions", "csh"])]
#[case(&["--count", "1", "man"])]
#[case(&["prog"])]
#[case(&["--output", "xml"])]
#[case(&["--attach", "uprobe"])]
#[case(&["--duration", "soon"])]
#[case(&["--count", "-1"])]
#[case(&["--buffer", "3K"])]
#[case(&["-p", "everything"])]
#[case(&["--color", "sometimes"])]
#[case(&["--fd", "three"])]
#[case(&["--fd", "2147483648"])]
#[case(&["--abi", "x32"])]
#[case(&["--armed-longer", "-1s"])]
#[case(&["--armed-shorter", "soon"])]
fn bad_arguments_are_a_usage_error(#[case] arguments: &[&str]) {
    unprivileged(arguments)
        .assert()
        .code(USAGE)
        .stdout("")
        .stderr(predicate::str::is_empty().not());
}

/// Refused before anything is loaded, and the message says what is missing and what to do.
#[test]
fn without_privilege_it_refuses() {
    let said = unprivileged(&["--count", "1"]).assert().code(NO_PRIVILEGE).stdout("");
    said.stderr(contains("CAP_BPF").and(contains("root")));
}

/// What is understood gets as far as the privileges.
#[rstest]
#[case(&["--fd", "-1", "--fd", "3"])]
#[case(&["--abi", "x86_64", "--failed"])]
#[case(&["--armed-longer", "20ms", "--armed-shorter", "1h 30m"])]
#[case(&["--color", "always"])]
#[case(&["--output", "tracee"])]
fn good_arguments_are_no_usage_error(#[case] arguments: &[&str]) {
    unprivileged(arguments).assert().code(NO_PRIVILEGE).stdout("");
}

/// A command that cannot be traced is not run untraced.
#[test]
fn without_privilege_the_command_is_not_run() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let trace = folder.path().join("it-ran");
    unprivileged(&["--", "touch", trace.to_str().unwrap()]).assert().code(NO_PRIVILEGE);
    assert!(!trace.exists());
}
