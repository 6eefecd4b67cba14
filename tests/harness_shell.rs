//! `shell`: on a terminal, and without one. Declared by the package `settime32-harness`, whose
//! program it runs.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, Termios, tcgetattr};
use nix::unistd::{Pid, setsid};
use predicates::prelude::*;
use predicates::str::{contains, ends_with, starts_with};
use rstest::rstest;

const HARNESS: &str = env!("CARGO_BIN_EXE_settime32-harness");

nix::ioctl_write_int_bad!(
    /// Makes a terminal that of this process's session.
    set_controlling_terminal,
    nix::libc::TIOCSCTTY
);
nix::ioctl_write_ptr_bad!(
    /// Changes a terminal's size.
    set_window_size,
    nix::libc::TIOCSWINSZ,
    Winsize
);

/// A shell on a terminal, whose user is the test.
struct User {
    shell: Child,
    keyboard: File,
    /// The other end, open after the shell has ended, too.
    terminal: OwnedFd,
    screen: Receiver<Vec<u8>>,
    seen: String,
    found: Termios,
}

const WAIT: Duration = Duration::from_secs(90);

/// Also of a test that fails.
impl Drop for User {
    fn drop(&mut self) {
        // One that has ended is what is wanted.
        _ = self.shell.kill();
        _ = self.shell.wait();
    }
}

impl User {
    /// Opens it; gives it when there is a prompt.
    fn open(arguments: &[&str]) -> Self {
        let pair = openpty(&size(31, 97), None).unwrap();
        let found = tcgetattr(&pair.slave).unwrap();
        let end = || pair.slave.try_clone().unwrap();
        let mut command = Command::new(HARNESS);
        command
            .arg("shell")
            .args(arguments)
            .env("TERM", "xterm")
            .stdin(end())
            .stdout(end())
            .stderr(end());
        // SAFETY: two system calls.
        unsafe {
            command.pre_exec(|| {
                setsid()?;
                set_controlling_terminal(0, 0)?;
                Ok(())
            });
        }
        let shell = command.spawn().unwrap();
        let keyboard = File::from(pair.master);
        let (sender, screen) = channel();
        let mut reader = keyboard.try_clone().unwrap();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = reader.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut user =
            Self { shell, keyboard, terminal: pair.slave, screen, seen: String::new(), found };
        user.sees("# ");
        user
    }

    /// Waits until this is shown, after all that was waited for before.
    fn sees(&mut self, text: &str) {
        while !self.seen.contains(text) {
            let more = self
                .screen
                .recv_timeout(WAIT)
                .unwrap_or_else(|_| panic!("{text:?} is not shown, but {:?}", self.seen));
            self.seen += &String::from_utf8_lossy(&more);
        }
        let end = self.seen.find(text).unwrap() + text.len();
        self.seen.drain(..end);
    }

    fn types(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    /// How it ended, after making sure that the terminal is as it was.
    fn leaves(mut self) -> ExitStatus {
        let status = self.shell.wait().unwrap();
        let left = tcgetattr(self.terminal.as_fd()).unwrap();
        assert!(left == self.found, "the terminal is not as it was: {left:?}");
        status
    }
}

fn size(rows: u16, columns: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// Keys go to who is in front there, Ctrl-C too; the window's size and its changes are known there.
#[rstest]
fn a_shell_has_a_terminal_of_its_own() {
    let mut user = User::open(&["--kernel", "6.1"]);
    let raw = tcgetattr(user.terminal.as_fd()).unwrap();
    assert!(
        !raw.local_flags.intersects(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG),
        "keys go on as they are"
    );
    user.types("tty; uname -r; stty size\n");
    user.sees("/dev/pts/0");
    user.sees("6.1.");
    user.sees("31 97");
    // SAFETY: it reads the structure that it is given.
    unsafe { set_window_size(user.keyboard.as_raw_fd(), &size(44, 120)) }.unwrap();
    // The change arrives on its own; what is typed meanwhile may be there first.
    user.types("until stty size | grep '44 120'; do :; done\n");
    user.sees("44 120\r\n");
    user.types("sh -c 'echo run$((1 + 1)); exec sleep 1000'\n");
    user.sees("run2");
    user.types("\x03");
    user.types("echo after $?\n");
    user.sees("after 130");
    user.types("exit 7\n");
    assert_eq!(user.leaves().code(), Some(7));
}

/// The tracer's lines begin at the left, and the shell's terminal is the same.
#[rstest]
fn a_traced_shell_has_one_too() {
    let mut user = User::open(&["--trace"]);
    user.types("stty size; exit\n");
    user.sees("31 97");
    user.sees("0 events reported, 0 lost, 0 unfinished\r\n");
    assert_eq!(user.leaves().code(), Some(0));
}

/// What ends the command sets the terminal back.
#[rstest]
#[case(Signal::SIGTERM)]
#[case(Signal::SIGHUP)]
fn a_shell_that_is_ended_leaves_the_terminal_as_it_was(#[case] signal: Signal) {
    let user = User::open(&[]);
    assert!(tcgetattr(user.terminal.as_fd()).unwrap() != user.found);
    kill(Pid::from_raw(user.shell.id().cast_signed()), signal).unwrap();
    assert_eq!(user.leaves().signal(), Some(signal as i32));
}

#[rstest]
fn a_shell_reads_commands_from_a_pipe() {
    let commands = "uname -r\ncd /tmp && mkdir new && mount -t tmpfs new new && findmnt -n -o FSTYPE new\ntty\nexit 3\n";
    let mut command = assert_cmd::Command::new(HARNESS);
    let said = command.args(["shell", "--kernel", "6.1"]).write_stdin(commands).assert().code(3);
    said.stdout(starts_with("6.1.").and(ends_with("\ntmpfs\nnot a tty\n")))
        .stderr(contains("settime32-harness").not());
}
