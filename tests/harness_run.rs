//! `run`: programs of this machine, none of them the project's, in a guest. Built here by the
//! ordinary C compiler, i386 and x86-64. Declared by the package `settime32-harness`, whose program
//! it runs.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::{contains, ends_with};
use rstest::{fixture, rstest};
use serde_json::Value;
use tempfile::TempDir;

/// Arms a timer by number 325 and prints what it passed and got, as the event is to have it. The C
/// library's own function asks for 64-bit times first (`timerfd_settime64`).
const I386: &str = r#"
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

int main(void) {
    int new[4] = {1, 2, 300, 4}, old[4] = {9, 9, 9, 9};
    int fd = timerfd_create(CLOCK_MONOTONIC, 0);
    syscall(325, fd, 0, new, old);
    int again[4] = {0, 0, -5, 6};
    long ret = syscall(325, fd, 1, again, NULL);
    printf("{\"pid\":%d,\"ufd\":%d,\"utmr\":%lu,\"otmr\":%lu,\"again\":%ld}\n", getpid(), fd, (unsigned long)new,
           (unsigned long)old, ret);
    fprintf(stderr, "to stderr\n");
    return 7;
}
"#;

/// The same entry from a 64-bit process, whose memory must lie below 4 GiB for it.
const AMD64: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

int main(void) {
    int *new = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    int fd = timerfd_create(CLOCK_REALTIME, 0);
    new[1] = 5, new[2] = 70;
    long ret = 325;
    __asm__ volatile("int $0x80" : "+a"(ret) : "b"((long)fd), "c"(0L), "d"(new), "S"(0L) : "r8", "r9", "r10", "r11", "memory");
    printf("{\"pid\":%d,\"ufd\":%d,\"utmr\":%lu,\"ret\":%ld}\n", getpid(), fd, (unsigned long)new, (long)(int)ret);
    return 0;
}
"#;

/// Does what its first argument says.
const DOER: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
    if (!strcmp(argv[1], "kill")) raise(atoi(argv[2]));
    if (!strcmp(argv[1], "cat")) {
        char buffer[65536];
        ssize_t len;
        while ((len = read(0, buffer, sizeof buffer)) > 0) write(1, buffer, len);
    }
    if (!strcmp(argv[1], "say")) {
        char cwd[4096];
        printf("%s|%s|%s|%s|%d\n", argv[2], getenv("GIVEN"), getenv("NOT_GIVEN") ? "leaked" : "unset", getcwd(cwd, sizeof cwd), getuid());
        fprintf(stderr, "on stderr\n");
    }
    if (!strcmp(argv[1], "hang")) { puts("hanging"); fflush(stdout); pause(); }
    return argc > 3 ? atoi(argv[3]) : 0;
}
"#;

fn run() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settime32-harness"));
    command.arg("run");
    command
}

/// A folder in which programs are built.
struct Built(TempDir);

#[fixture]
fn built() -> Built {
    Built(tempfile::tempdir().unwrap())
}

impl Built {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn compile(&self, name: &str, source: &str, options: &[&str]) -> PathBuf {
        let (text, program) = (self.path(&format!("{name}.c")), self.path(name));
        fs::write(&text, source).unwrap();
        let output = Process::new("gcc")
            .current_dir(self.0.path())
            .arg("-o")
            .arg(&program)
            .arg(&text)
            .args(options)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        program
    }
}

/// Runs a program traced; gives what it printed, its events, and the summary.
fn traced(program: &Path, code: i32) -> (Value, Vec<Value>, Value) {
    let events = program.with_extension("events");
    let mut command = run();
    command
        .args(["--trace", "--output", "json", "--trace-output"])
        .arg(&events)
        .arg("--")
        .arg(program);
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    // The harness itself may say that it waits for a kernel, say.
    assert!(
        !stderr.contains("settime32-tracer") && !stderr.contains("timerfd_"),
        "only the program's own: {stderr}"
    );
    let printed =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    let mut lines: Vec<Value> = fs::read_to_string(&events)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let summary = lines.pop().unwrap();
    (printed, lines, summary)
}

fn times(interval: [i32; 2], value: [i32; 2]) -> Value {
    let time = |[sec, nsec]: [i32; 2]| serde_json::json!({ "tv_sec": sec, "tv_nsec": nsec });
    serde_json::json!({ "it_interval": time(interval), "it_value": time(value) })
}

#[rstest]
fn calls_of_an_i386_program_are_reported_as_it_made_them(built: Built) {
    let (printed, events, summary) = traced(&built.compile("i386", I386, &["-m32"]), 7);
    let [first, second] = events.as_slice() else { panic!("{events:?}") };
    for key in ["pid", "ufd", "utmr", "otmr"] {
        assert_eq!(first[key], printed[key], "{key} of {first}");
    }
    assert_eq!(
        (&first["comm"], &first["abi"], &first["flags"], &first["ret"]),
        (&"i386".into(), &"i386".into(), &0.into(), &0.into())
    );
    assert_eq!(first["utmr_used"], times([1, 2], [300, 4]), "{first}");
    assert_eq!(first["otmr_written"], times([0, 0], [0, 0]), "{first}");
    assert_eq!(
        (&second["flags"], &second["otmr"], &second["errno"]),
        (&1.into(), &Value::Null, &"EINVAL".into()),
        "{second}"
    );
    assert_eq!(second["utmr_used"], times([0, 0], [-5, 6]), "{second}");
    assert_eq!((&printed["again"], &summary["reported"]), (&(-1).into(), &2.into()));
}

#[rstest]
fn calls_of_a_64_bit_program_by_int80_are_reported_as_it_made_them(built: Built) {
    let (printed, events, summary) = traced(&built.compile("amd64", AMD64, &[]), 0);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    for key in ["pid", "ufd", "utmr", "ret"] {
        assert_eq!(event[key], printed[key], "{key} of {event}");
    }
    assert_eq!(
        (&event["comm"], &event["abi"], &event["ret"]),
        (&"amd64".into(), &"x86_64".into(), &0.into())
    );
    assert_eq!(event["utmr_used"], times([0, 5], [70, 0]), "{event}");
    assert_eq!(summary["reported"], 1);
}

/// By default the calls, the tracer's words and the program's standard error come together, each
/// line whole.
#[rstest]
fn calls_go_to_standard_error(built: Built) {
    let program = built.compile("i386", I386, &["-m32"]);
    let said = run()
        .args(["--trace", "--"])
        .arg(program)
        .assert()
        .code(7)
        .stdout(contains("\"pid\":").and(contains("timerfd").not()));
    let call = contains(
        "timerfd_settime32(3, 0, {it_interval={tv_sec=1, tv_nsec=2}, it_value={tv_sec=300, tv_nsec=4}}",
    );
    said.stderr(call.and(contains("\nto stderr\n")).and(contains("2 events reported, 0 lost")));
}

/// What the tracer tells, and of what, is chosen as on its own command line.
#[rstest]
#[case::failed(&["--failed"], &["timerfd_settime32"], &[-22])]
#[case::short(&["--armed-shorter", "1h"], &["timerfd_settime32"], &[0])]
#[case::none(&["--armed-longer", "1h"], &[], &[])]
#[case::descriptor(&["--fd", "3"], &["timerfd_settime32", "timerfd_settime32"], &[0, -22])]
#[case::another_descriptor(&["--fd", "-1", "--comm", "i386"], &[], &[])]
#[case::another_kind(&["--abi", "x86_64"], &[], &[])]
#[case::events(&["--events", "timerfd_create,release"], &["timerfd_create", "release"], &[3])]
fn filters_and_events_are_those_of_the_tracer(
    built: Built,
    #[case] options: &[&str],
    #[case] events: &[&str],
    #[case] results: &[i64],
) {
    let (program, lines) = (built.compile("i386", I386, &["-m32"]), built.path("events"));
    let mut command = run();
    command
        .args("--trace --output json --trace-output".split(' '))
        .arg(&lines)
        .args(options)
        .arg("--")
        .arg(program)
        .assert()
        .code(7);
    let lines: Vec<Value> = fs::read_to_string(&lines)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let told = &lines[..lines.len() - 1];
    assert_eq!(
        told.iter().map(|event| event["event"].as_str().unwrap()).collect::<Vec<_>>(),
        events,
        "{told:?}"
    );
    assert_eq!(
        told.iter().filter_map(|event| event["ret"].as_i64()).collect::<Vec<_>>(),
        results,
        "{told:?}"
    );
}

/// A pipe that is read late and does not block its writer.
#[rstest]
fn output_that_does_not_block_gets_everything(built: Built) {
    let program = built.compile("doer", DOER, &[]);
    let content: Vec<u8> = (0..1_000_000_u32).map(|number| (number % 251) as u8).collect();
    let (mut ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    let mut command = Process::new(env!("CARGO_BIN_EXE_settime32-harness"));
    command
        .args(["run", "--"])
        .arg(program)
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(std::os::fd::OwnedFd::from(theirs));
    let mut child = command.spawn().unwrap();
    // It holds the other end, and without that the output would have no end.
    drop(command);
    let mut stdin = child.stdin.take().unwrap();
    let given = content.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&given).unwrap());
    std::thread::sleep(std::time::Duration::from_secs(3));
    let mut got = Vec::new();
    ours.read_to_end(&mut got).unwrap();
    writer.join().unwrap();
    assert!(child.wait().unwrap().success() && got == content, "{} bytes came", got.len());
}

/// As the program's own would be.
#[rstest]
#[case(">/dev/full", "standard output")]
#[case(">&-", "standard output")]
fn output_that_cannot_be_written_is_told(built: Built, #[case] to: &str, #[case] named: &str) {
    let program = built.compile("doer", DOER, &[]);
    let line = format!(
        "exec {} run -- {} say x 0 {to}",
        env!("CARGO_BIN_EXE_settime32-harness"),
        program.display()
    );
    Command::new("sh").args(["-c", &line]).assert().code(6).stderr(contains(named));
}

/// A loss is told, and the exit code is the program's all the same.
#[rstest]
fn lost_calls_are_told_and_the_exit_code_stays(built: Built) {
    let many = I386.replace(
        "syscall(325, fd, 0, new, old);",
        "for (int i = 0; i < 20000; i++) syscall(325, fd, 0, new, old);",
    );
    let program = built.compile("many", &many, &["-m32"]);
    let events = built.path("events");
    let mut command = run();
    let said = command
        .args("--trace --buffer 4K --trace-output".split(' '))
        .arg(&events)
        .arg("--")
        .arg(program)
        .assert()
        .code(7);
    said.stderr(contains("events reported, ").and(contains("found the buffer full")));
}

/// Arguments, a variable, the working directory and the user get there; other variables do not.
#[rstest]
#[case::plain(&[])]
#[case::traced(&["--trace", "--trace-output", "/dev/null"])]
fn what_is_given_gets_there_and_streams_stay_apart(built: Built, #[case] options: &[&str]) {
    let program = built.compile("doer", DOER, &[]);
    let mut command = run();
    command.args(options).args([
        "--env",
        "GIVEN=a b",
        "--env",
        "NOT_SET_HERE",
        "--cwd",
        "/srv/x",
        "--uid",
        "12",
        "--",
    ]);
    command.arg(program).args(["say", "-v 'x", "42"]).env("NOT_GIVEN", "1");
    let said = command.assert().code(42).stdout("-v 'x|a b|unset|/srv/x|12\n");
    said.stderr(ends_with("on stderr\n").and(contains("tracer").not()));
}

/// The parent of this command is told what the program's own would be; the tracer, between them,
/// has only an exit code.
#[rstest]
#[case::plain(&[], 9, None)]
#[case::with_core(&[], 6, None)]
#[case::real_time(&[], 40, None)]
#[case::traced(&["--trace"], 9, Some(137))]
fn a_signal_that_ends_the_program_ends_the_command(
    built: Built,
    #[case] options: &[&str],
    #[case] signal: i32,
    #[case] code: Option<i32>,
) {
    let program = built.compile("doer", DOER, &["-m32"]);
    let output = run()
        .args(options)
        .arg("--")
        .arg(program)
        .args(["kill", &signal.to_string()])
        .output()
        .unwrap();
    assert_eq!(
        (output.status.code(), output.status.signal()),
        (code, code.is_none().then_some(signal)),
        "{output:?}"
    );
    assert!(!output.status.core_dumped(), "what is dumped here is not the program's memory");
}

/// More than all the pipes on the way hold.
#[rstest]
#[case::plain(&[])]
#[case::traced(&["--trace"])]
fn standard_input_gets_there_and_back(built: Built, #[case] options: &[&str]) {
    let program = built.compile("doer", DOER, &[]);
    let content: Vec<u8> = (0..5_000_000_u32).map(|number| (number % 251) as u8).collect();
    let output = run()
        .args(options)
        .arg("--")
        .arg(program)
        .arg("cat")
        .write_stdin(content.clone())
        .output()
        .unwrap();
    assert!(output.stdout == content, "{} bytes came back", output.stdout.len());
}

/// An answer comes while the input is still open, so neither is kept until the end; input that
/// nobody reads is no trouble.
#[rstest]
fn streams_are_live(built: Built) {
    let program = built.compile("doer", DOER, &[]);
    let mut command = Process::new(env!("CARGO_BIN_EXE_settime32-harness"));
    command
        .args(["run", "--"])
        .arg(program)
        .arg("cat")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    child.stdout.take().unwrap().read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[rstest]
fn a_program_that_hangs_is_ended_and_told_apart(built: Built) {
    let program = built.compile("doer", DOER, &[]);
    let said = run()
        .args(["--timeout", "20s", "--"])
        .arg(program)
        .arg("hang")
        .assert()
        .code(5)
        .stdout("hanging\n");
    said.stderr(
        contains("settime32-harness: boot failure: ")
            .and(contains("time limit of 20 s, while the program runs")),
    );
}

/// Libraries by RUNPATH with `$ORIGIN`, through a link, and a library's own library.
#[rstest]
#[case::i386(&["-m32"])]
#[case::amd64(&[])]
fn libraries_are_carried(built: Built, #[case] options: &[&str]) {
    library(&built, options);
    let program = built.path("with-library");
    run().arg("--").arg(&program).assert().code(5).stderr(contains("failure").not());
    fs::remove_file(built.path("lib.1/libinner.so")).unwrap();
    let missing = run().arg("--").arg(&program).assert().code(6).stdout("");
    missing.stderr(
        contains("settime32-harness: infrastructure: failed to find the library libinner.so that")
            .and(contains("libouter.so needs")),
    );
    fs::remove_file(built.path("lib.1/libouter.so")).unwrap();
    run()
        .arg("--")
        .arg(&program)
        .assert()
        .code(6)
        .stderr(contains("library libouter.so").and(contains("with-library needs")));
}

/// `with-library` needs libouter.so, which needs libinner.so, both in `lib`, a link to `lib.1`.
fn library(built: &Built, options: &[&str]) {
    fs::create_dir(built.path("lib.1")).unwrap();
    std::os::unix::fs::symlink("lib.1", built.path("lib")).unwrap();
    let with = |more: &[&'static str]| [options, more].concat();
    built.compile("lib/libinner.so", "int inner(void) { return 5; }", &with(&["-shared", "-fPIC"]));
    let outer = "int inner(void); int outer(void) { return inner(); }";
    built.compile(
        "lib/libouter.so",
        outer,
        &with(&["-shared", "-fPIC", "-Llib", "-linner", "-Wl,-rpath,$ORIGIN"]),
    );
    let main = "int outer(void); int main(void) { return outer(); }";
    built.compile(
        "with-library",
        main,
        &with(&["-Llib", "-louter", "-Wl,-rpath-link,lib", "-Wl,-rpath,$ORIGIN/lib"]),
    );
}

#[rstest]
fn scripts_and_data_are_carried(built: Built) {
    let script = built.path("script");
    fs::write(&script, "#!/bin/sh\nread line < /srv/data/file\necho \"$line $1\"\nexit 3\n")
        .unwrap();
    executable(&script);
    fs::create_dir(built.path("data")).unwrap();
    fs::write(built.path("data/file"), "carried\n").unwrap();
    let carry = format!("{}:/srv/data", built.path("data").display());
    run()
        .args(["--carry", &carry, "--"])
        .arg(script)
        .arg("too")
        .assert()
        .code(3)
        .stdout("carried too\n");
}

/// `verify --here` on the kernel of a guest, by the harness that runs in it. Never on this
/// machine's.
#[rstest]
fn the_running_kernel_is_verified_when_asked_for(built: Built) {
    let harness = small_harness(&built);
    let verify = ["verify", "--here", "--calls", "1000", "--seed", "5", "--json"];
    let output = run().args(["--kernel", "6.1", "--"]).arg(&harness).args(verify).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    assert_eq!(
        (output.status.code(), &report["verdict"], &report["captured"]),
        (Some(0), &"pass".into(), &1000.into()),
        "{report}"
    );
    assert!(report["kernel"]["release"].as_str().unwrap().starts_with("6.1."), "{report}");
    assert_eq!(
        (&report["kernel"]["name"], &report["accelerator"]),
        (&"here".into(), &Value::Null),
        "{report}"
    );
    assert!(stderr.contains("using the running kernel: attaching probes to it"), "{stderr}");
}

#[rstest]
fn the_running_kernel_is_for_root(built: Built) {
    let harness = small_harness(&built);
    let output = run()
        .args(["--uid", "65534", "--env", "SETTIME32_CACHE=/tmp/cache", "--"])
        .arg(&harness)
        .args(["verify", "--here"])
        .output();
    let output = output.unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(6), "{text}");
    assert!(text.contains("run it as root") && !text.contains("pass"), "{text}");
}

/// It must not fit by chance: a guest has little memory, and the debug information is most of the
/// program.
fn small_harness(built: &Built) -> PathBuf {
    let small = built.path("settime32-harness");
    let status = Process::new("strip")
        .arg("-o")
        .arg(&small)
        .arg(env!("CARGO_BIN_EXE_settime32-harness"))
        .status()
        .unwrap();
    assert!(status.success());
    // Another user is to execute it, too.
    fs::set_permissions(built.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    small
}

#[rstest]
#[case("--kernel 6.1")]
#[case("--accel tcg")]
#[case("--cpu amd")]
#[case("--append quiet")]
#[case("--qemu /bin/false")]
#[case("--inject guest-panic")]
#[case("--full")]
fn the_running_kernel_is_no_guest(#[case] arguments: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settime32-harness"));
    command
        .args(["verify", "--here"])
        .args(arguments.split(' '))
        .assert()
        .code(2)
        .stderr(contains("--here"));
}

fn executable(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Told before anything is booted.
#[rstest]
fn what_cannot_be_run_is_told(built: Built) {
    let text = built.path("text");
    fs::write(&text, "no program").unwrap();
    let mut foreign = fs::read(built.compile("doer", DOER, &[])).unwrap();
    // e_machine: EM_AARCH64.
    foreign[18..20].copy_from_slice(&183_u16.to_le_bytes());
    let aarch64 = built.path("aarch64");
    fs::write(&aarch64, foreign).unwrap();
    [&text, &aarch64].into_iter().for_each(|path| executable(path));
    let lost = built.compile("lost", DOER, &["-Wl,--dynamic-linker=/nonexistent/ld.so"]);
    for (program, words) in [
        (Path::new("/nonexistent/program"), "failed to find the program /nonexistent/program"),
        (Path::new("/etc/passwd"), "not executable"),
        (&text, "neither an ELF program nor a script"),
        (&aarch64, "it is for AARCH64, and the guest runs i386 and x86-64"),
        (&lost, "failed to find /nonexistent/ld.so"),
    ] {
        run()
            .args(["--qemu", "/nonexistent/qemu", "--"])
            .arg(program)
            .assert()
            .code(6)
            .stdout("")
            .stderr(contains(words));
    }
    run().args(["--kernel", "9.99", "--", "/bin/true"]).assert().code(6).stderr(contains("9.99"));
    run()
        .args(["--output", "json", "--", "/bin/true"])
        .assert()
        .code(2)
        .stderr(contains("--trace"));
}
