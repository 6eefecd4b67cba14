//! `run` as the runner of cargo: a crate that is none of the project's, made here, whose tests run
//! as root in a guest. Declared by the package `settime32-harness`, whose program it runs.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command as Process, Stdio};

use assert_cmd::Command;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::contains;
use rstest::{fixture, rstest};
use tempfile::TempDir;

const HARNESS: &str = env!("CARGO_BIN_EXE_settime32-harness");

const MANIFEST: &str = "[package]\nname = \"stranger\"\nversion = \"0.1.0\"\nedition = \"2021\"\n";
const LIBRARY: &str =
    "/// ```\n/// assert_eq!(stranger::two(), 2);\n/// ```\npub fn two() -> i32 { 2 }\n";
const HELPER: &str =
    "fn main() { println!(\"help from {}\", std::env::args().nth(1).unwrap()); }\n";

/// What a test of a crate finds. It prints the kernel, for the runner's caller to see.
const TESTS: &str = r#"
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Command;

#[test]
fn kernel_and_root() {
    println!("kernel {}", fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert!(status.lines().any(|line| line == "Uid:\t0\t0\t0\t0"), "{status}");
}

#[test]
fn the_crate_is_there_and_cannot_be_written_to() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert_eq!(std::env::var("CARGO_MANIFEST_DIR").unwrap(), env!("CARGO_MANIFEST_DIR"));
    assert_eq!(std::env::current_dir().unwrap(), folder);
    assert_eq!(fs::read_to_string("data/deep/file").unwrap(), "data\n");
    assert_eq!(fs::read_to_string("data/link").unwrap(), "data\n");
    for path in ["new", "data/deep/file", "data/deep/new"] {
        assert_eq!(fs::write(path, "x").unwrap_err().kind(), ErrorKind::ReadOnlyFilesystem, "{path}");
    }
    assert!(!Path::new(".git").exists() && !Path::new("cache/file").exists());
    fs::write("/tmp/new", "x").unwrap();
}

#[test]
fn the_crates_programs_run() {
    let output = Command::new(env!("CARGO_BIN_EXE_helper")).arg("here").output().unwrap();
    assert_eq!(output.stdout, b"help from here\n");
    // Cargo, of some versions, names all of them when it runs the test.
    let other = Path::new(env!("CARGO_BIN_EXE_helper")).with_file_name("other");
    assert_eq!(other.exists(), std::env::var("CARGO_BIN_EXE_other").is_ok());
}

#[test]
fn temporary_files_have_their_folder() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    assert_eq!(fs::read_dir(folder).unwrap().count(), 0);
    fs::write(folder.join("new"), "x").unwrap();
}

#[test]
fn the_environment_is_what_is_allowed() {
    assert_eq!(std::env::var("CARGO_PKG_NAME").unwrap(), "stranger");
    assert_eq!(std::env::var("ASKED_FOR_1").unwrap(), "given");
    assert_eq!(std::env::var("HOME").unwrap(), "/root");
    for name in ["CARGO_REGISTRY_TOKEN", "NOBODY_ASKED"] {
        assert_eq!(std::env::var(name).ok(), None, "{name}");
    }
}
"#;

/// What a guest has, asked for by a C program, since the standard library of Rust asks for little
/// of it.
const EXPECTS: &str = r#"
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <netdb.h>
#include <pty.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

static void want(int holds, const char *what) { if (!holds) err(1, "%s", what); }

static void mounted(const char *path, long magic) {
    struct statfs fs;
    want(!statfs(path, &fs) && fs.f_type == magic, path);
}

int main(void) {
    mounted("/proc", 0x9fa0); mounted("/sys", 0x62656572); mounted("/tmp", 0x01021994); mounted("/run", 0x01021994);
    mounted("/dev/shm", 0x01021994); mounted("/dev/pts", 0x1cd1); mounted("/sys/fs/cgroup", 0x63677270);
    mounted("/sys/fs/bpf", 0xcafe4a11); mounted("/sys/kernel/tracing", 0x74726163); mounted("/sys/kernel/debug", 0x64626720);
    want(shm_open("/shm", O_CREAT | O_RDWR, 0600) >= 0, "shm_open");
    want(mq_open("/mq", O_CREAT | O_RDWR, 0600, NULL) >= 0, "mq_open");
    int master, slave;
    want(!openpty(&master, &slave, NULL, NULL, NULL), "openpty");
    want(access("/dev/fd/0", F_OK) == 0 && access("/dev/null", W_OK) == 0, "/dev");

    struct passwd *root = getpwnam("root");
    want(root && !root->pw_uid && !strcmp(root->pw_dir, "/root"), "getpwnam");
    struct addrinfo *found;
    want(!getaddrinfo("localhost", NULL, NULL, &found), "getaddrinfo");
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof here;
    int server = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    want(!bind(server, (void *)&here, len) && !listen(server, 1) && !getsockname(server, (void *)&here, &len), "bind");
    want(!connect(client, (void *)&here, len), "connect over the loopback interface");

    want(!mkdir("/sys/fs/cgroup/new", 0755) && !access("/sys/fs/cgroup/new/memory.max", F_OK), "a control group with memory.max");
    want(!system("exit 0"), "system");

    want(!unshare(CLONE_NEWNS) && !mkdir("/tmp/root", 0755) && !mount("t", "/tmp/root", "tmpfs", 0, NULL), "mount");
    want(!mkdir("/tmp/root/old", 0755) && !syscall(SYS_pivot_root, "/tmp/root", "/tmp/root/old"), "pivot_root");
    puts("all there");
    return 0;
}
"#;

/// Says its name, waits for a signal, and says that; ends by itself only after the one that is
/// named.
const WAITS: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(int argc, char **argv) {
    int got;
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    puts("waiting");
    fflush(stdout);
    do {
        sigwait(&all, &got);
        printf("got %d\n", got);
        fflush(stdout);
    } while (got != atoi(argv[1]));
    return 42;
}
"#;

/// A crate, outside of the project.
struct Crate(TempDir);

#[fixture]
fn stranger() -> Crate {
    let stranger = Crate(tempfile::tempdir().unwrap());
    for (path, content) in [
        ("Cargo.toml", MANIFEST),
        ("src/lib.rs", LIBRARY),
        ("src/bin/helper.rs", HELPER),
        ("src/bin/other.rs", HELPER),
        ("tests/finds.rs", TESTS),
        ("data/deep/file", "data\n"),
        (".git/HEAD", "ref: refs/heads/main\n"),
        ("cache/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n"),
        ("cache/file", "can be made again\n"),
    ] {
        let path = stranger.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    std::os::unix::fs::symlink("deep/file", stranger.path("data/link")).unwrap();
    stranger
}

impl Crate {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Cargo in it, as its owner would call it: what this test's own cargo said is not there.
    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("cargo");
        for (name, _) in
            std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") && name != "CARGO_HOME")
        {
            command.env_remove(name);
        }
        command.args(arguments).arg("--offline").current_dir(self.0.path());
        command
    }

    fn compile(&self, source: &str) -> PathBuf {
        let (text, program) = (self.path("program.c"), self.path("program"));
        fs::write(&text, source).unwrap();
        let status = Process::new("gcc")
            .arg("-o")
            .arg(&program)
            .arg(&text)
            .args(["-lutil", "-lrt"])
            .status()
            .unwrap();
        assert!(status.success());
        program
    }
}

/// With the one line of configuration that docs/running.md shows.
#[rstest]
#[case("6.1")]
#[case("6.12")]
fn a_strangers_tests_run_in_the_guest(stranger: Crate, #[case] kernel: &str) {
    let config = format!(
        "[target.x86_64-unknown-linux-gnu]\nrunner = \"{HARNESS} run --kernel {kernel} --env ASKED_FOR_* --\"\n[build]\ntarget-dir = \"target\"\n"
    );
    fs::create_dir(stranger.path(".cargo")).unwrap();
    fs::write(stranger.path(".cargo/config.toml"), config).unwrap();
    let mut test = stranger.cargo(&["test", "--test", "finds"]);
    test.args(["--", "--nocapture"]).envs([
        ("ASKED_FOR_1", "given"),
        ("CARGO_REGISTRY_TOKEN", "secret"),
        ("NOBODY_ASKED", "1"),
    ]);
    test.assert().success().stdout(
        contains(format!("kernel {kernel}.")).and(contains("test result: ok. 5 passed; 0 failed")),
    );
}

/// What test runners such as nextest ask a test's program, and what cargo makes of a failed test.
#[rstest]
fn lists_and_failures_come_through(stranger: Crate) {
    let failing = format!("{TESTS}\n#[test]\nfn fails() {{ panic!(\"on purpose\") }}\n");
    fs::write(stranger.path("tests/finds.rs"), failing).unwrap();
    let runner = ("CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER", format!("{HARNESS} run --"));
    let list = ["test", "--test", "finds", "--", "--list", "--format", "terse"];
    let cargo = |arguments: &[&str], runner: &[(&str, String)]| {
        let (own, rest) = arguments.split_at(3);
        let mut command = stranger.cargo(own);
        command.args(rest).envs(runner.iter().cloned()).output().unwrap()
    };
    let (here, there) = (cargo(&list, &[]), cargo(&list, std::slice::from_ref(&runner)));
    assert!(here.status.success() && here.stdout == there.stdout, "{here:?}\n{there:?}");
    let failed = cargo(&["test", "--test", "finds", "--", "fails", "--exact"], &[runner]);
    assert_eq!(failed.status.code(), Some(101));
    assert!(String::from_utf8_lossy(&failed.stdout).contains("on purpose"), "{failed:?}");
}

/// By hand, where cargo says nothing, the program itself tells what it was built with.
#[rstest]
fn a_tests_program_finds_its_helper_without_cargo(stranger: Crate) {
    stranger.cargo(&["build", "--bins"]).assert().success();
    let output = stranger.cargo(&["test", "--test", "finds", "--no-run"]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let program = said.rsplit_once('(').and_then(|(_, rest)| rest.split_once(')')).unwrap().0;
    let mut command = Command::new(HARNESS);
    command
        .args(["run", "--"])
        .arg(stranger.path(program))
        .arg("the_crates_programs_run")
        .env_clear();
    command.env("PATH", std::env::var("PATH").unwrap()).env("HOME", std::env::var("HOME").unwrap());
    command.assert().success().stdout(contains("1 passed"));
}

#[rstest]
#[case("5.10")]
#[case("6.12")]
#[case("7.3")]
fn a_guest_has_what_programs_expect(stranger: Crate, #[case] kernel: &str) {
    let program = stranger.compile(EXPECTS);
    Command::new(HARNESS)
        .args(["run", "--kernel", kernel, "--"])
        .arg(program)
        .assert()
        .success()
        .stdout("all there\n");
}

/// A program that waits for signals, behind its runner.
struct Waiting {
    runner: Child,
    lines: Box<dyn Iterator<Item = String>>,
}

impl Waiting {
    /// Starts it; it ends after the signal `last`.
    fn start(stranger: &Crate, options: &[&str], last: i32) -> Self {
        let mut command = Process::new(HARNESS);
        // It decides only how long a test takes that fails.
        command
            .args(["run", "--timeout", "2m"])
            .args(options)
            .arg("--")
            .arg(stranger.compile(WAITS))
            .arg(last.to_string());
        let mut runner = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(runner.stdout.take().unwrap()).lines().map_while(Result::ok);
        assert_eq!(lines.next().as_deref(), Some("waiting"));
        Self { runner, lines: Box::new(lines) }
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.runner.id().cast_signed()), signal).unwrap();
    }
}

/// Also of a test that fails.
impl Drop for Waiting {
    fn drop(&mut self) {
        // One that has ended is what is wanted.
        _ = self.runner.kill();
        _ = self.runner.wait();
    }
}

/// The program gets what its runner gets, and ends as it sees fit.
#[rstest]
#[case::plain(&[])]
#[case::traced(&["--trace", "--trace-output", "/dev/null"])]
fn signals_are_passed_on(stranger: Crate, #[case] options: &[&str]) {
    let mut waiting = Waiting::start(&stranger, options, 15);
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGUSR1, Signal::SIGTERM] {
        waiting.signal(signal);
        assert_eq!(waiting.lines.next(), Some(format!("got {}", signal as i32)));
    }
    assert_eq!(waiting.runner.wait().unwrap().code(), Some(42));
}

/// The way out when the guest is stuck.
#[rstest]
fn a_signal_that_insists_ends_the_runner(stranger: Crate) {
    let mut waiting = Waiting::start(&stranger, &[], 9);
    let status = loop {
        match waiting.runner.try_wait().unwrap() {
            Some(status) => break status,
            None => waiting.signal(Signal::SIGTERM),
        }
    };
    assert_eq!(status.signal(), Some(15));
}
