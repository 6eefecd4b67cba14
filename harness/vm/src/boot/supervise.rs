//! QEMU's process: started with its sockets, ended with its owner, never left behind.

use std::fs;
use std::io::Read;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;

use super::machine::Machine;
use super::monitor::Monitor;
use super::scratch::QEMU_STDERR;
use crate::failure::HostError;

/// Fails when there is no emulator, before anything is fetched or written for it.
pub fn check_qemu(program: &Path) -> Result<(), HostError> {
    let output = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(HostError::QemuMissing { program: program.into() })
        }
        Err(source) => Err(HostError::QemuStart { program: program.into(), source }),
        Ok(_) => Ok(()),
    }
}

/// A running QEMU. The kernel kills it when the thread that started it ends (`PR_SET_PDEATHSIG`),
/// however that happens; dropping this kills it too.
#[derive(Debug)]
pub struct Emulator {
    child: Child,
    monitor: Monitor,
    agent: Option<UnixStream>,
    stderr: PathBuf,
    /// QEMU's program.
    pub program: PathBuf,
}

impl Emulator {
    /// Starts QEMU. What it writes to stderr is kept beside the console's log.
    pub fn start(machine: &Machine) -> Result<Self, HostError> {
        let socket =
            || UnixStream::pair().map_err(HostError::file("create a socket for", &machine.qemu));
        let (monitor, monitor_end) = socket()?;
        let (agent, agent_end) = if machine.agent_port {
            socket().map(|(ours, theirs)| (Some(ours), Some(theirs)))?
        } else {
            (None, None)
        };
        let stderr = machine.console.with_file_name(QEMU_STDERR);
        let stderr_file = fs::File::create(&stderr).map_err(HostError::file("create", &stderr))?;
        let inherited: Vec<RawFd> = [Some(&monitor_end), agent_end.as_ref()]
            .into_iter()
            .flatten()
            .map(AsRawFd::as_raw_fd)
            .collect();
        let mut command = Command::new(&machine.qemu);
        command.args(
            machine.arguments(agent_end.as_ref().map(AsRawFd::as_raw_fd), monitor_end.as_raw_fd()),
        );
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr_file);
        // What a terminal sends to the group in front, Ctrl-C say, is for this process alone to
        // deal with.
        command.process_group(0);
        let parent = nix::unistd::getpid();
        // SAFETY: between fork and exec only async-signal-safe system calls are made, and nothing
        // is allocated.
        unsafe {
            command.pre_exec(move || {
                nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
                if nix::unistd::getppid() != parent {
                    // The parent ended before the kernel was asked to tell us.
                    return Err(std::io::ErrorKind::BrokenPipe.into());
                }
                for descriptor in &inherited {
                    let descriptor = std::os::fd::BorrowedFd::borrow_raw(*descriptor);
                    fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => {
                HostError::QemuMissing { program: machine.qemu.clone() }
            }
            _ => HostError::QemuStart { program: machine.qemu.clone(), source },
        })?;
        Ok(Self {
            child,
            monitor: Monitor::new(monitor),
            agent,
            stderr,
            program: machine.qemu.clone(),
        })
    }

    /// Our end of the agent's port; once.
    pub fn take_agent(&mut self) -> Option<UnixStream> {
        self.agent.take()
    }

    /// The run state in which QEMU keeps a guest that can go no further, such as `internal-error`.
    pub fn stopped_state(&mut self) -> Option<String> {
        self.monitor.stopped_state()
    }

    /// QEMU's monitor.
    pub(super) fn monitor(&mut self) -> &mut Monitor {
        &mut self.monitor
    }

    /// QEMU's process.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// What QEMU wrote to stderr.
    pub fn stderr(&self) -> String {
        let mut text = String::new();
        let read = fs::File::open(&self.stderr).and_then(|mut file| file.read_to_string(&mut text));
        match read {
            Ok(0) => "it wrote nothing to stderr".into(),
            Ok(_) => text.trim().to_string(),
            Err(error) => format!("its stderr could not be read: {error}"),
        }
    }
}

/// How a process ended; waits a little, since its sockets close just before it ends.
pub(super) fn wait_status(child: &mut Child) -> String {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(2) {
        match child.try_wait() {
            Ok(Some(status)) => return status.to_string(),
            Ok(None) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return error.to_string(),
        }
    }
    "still running".into()
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
