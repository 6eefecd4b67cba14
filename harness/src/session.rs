//! Drives a booted guest: tracer up, plan after plan through the workload, tracer down, everything
//! that is written handed to the oracle as it comes.
//!
//! It knows processes and bytes; what they mean is the oracle's. At most one plan runs at a time,
//! and the next starts only when the events of the one before the last have arrived, so that a
//! tracer that is slower than the workload is not made to lose events by the harness.

use std::time::{Duration, Instant};

use nix::libc::{SIGINT, SIGKILL};
use settime32_abi::exit;
use settime32_abi::frame::{Exit, Fault, Reply, Request, Spawn, Stdin, Stream};
use settime32_abi::journal::Journal;
use settime32_abi::plan::{Plan, Process};
use settime32_vm::warm::Unprepared;

use crate::boot::{Deadline, Vm};
use crate::embedded::{WORKLOAD_PATH, WORKLOAD64_PATH};
use crate::failure::{Failure, InfraError, ProgramError};
use crate::oracle::{Config, Oracle};

/// What to run in the guest, and how.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// The tracer's program in the guest and its arguments; empty when none is to run.
    pub tracer: Vec<String>,
    /// A failure to cause on purpose, to test the harness.
    pub inject: Option<Injection>,
    /// Wall-clock limit.
    pub deadline: Deadline,
}

/// Failures that the harness can be told to cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Injection {
    /// The guest's kernel panics while the first plan runs.
    GuestPanic,
    /// The guest stops answering while the first plan runs.
    GuestHang,
    /// The workload is killed while the first plan runs.
    KillWorkload,
    /// The tracer is killed while the first plan runs.
    KillTracer,
    /// The end of the first journal is cut off.
    TruncateJournal,
}

/// The agent's name for the tracer's process; workloads are named upward from [`FIRST_WORKLOAD`].
const TRACER: u32 = 1;
const FIRST_WORKLOAD: u32 = 100;

/// How long the tracer may write nothing, while events are still missing, before the run goes on
/// without them. It decides only how long a run that fails takes.
const STALL: Duration = Duration::from_secs(10);

/// Whether the tracer has said on stderr that it is attached: the whole line, since a guest that is
/// kept as a template in the middle of it would go on with the rest.
pub(crate) fn says_ready(stderr: &str) -> bool {
    stderr.split_inclusive('\n').any(|line| line.ends_with('\n') && line.contains(exit::READY))
}

/// Exit codes with which the tracer says what the kernel cannot do. One that fails where it should
/// work has others.
const KERNEL_CANNOT: [u8; 4] = [exit::TOO_OLD, exit::NO_BTF, exit::NO_ENTRY, exit::FENTRY_UNSAFE];

/// A guest and the tracer in it.
#[derive(Debug)]
pub struct Session {
    vm: Vm,
    options: SessionOptions,
    /// What has been compared so far.
    pub oracle: Oracle,
    /// The tracer's output up to the last line's end has been handed on; this is what followed.
    partial_line: Vec<u8>,
    tracer_stderr: Vec<u8>,
    tracer_exit: Option<Exit>,
    coming: Coming,
    last_output: Instant,
    next_workload: u32,
    /// The last plan's journal and the lines that the tracer wrote, for who asked that they be
    /// kept.
    kept: Option<(Option<Journal>, Vec<Vec<u8>>)>,
}

/// Where a tracer stands that comes while plans are done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coming {
    /// It has not said that it is ready.
    UnderWay,
    /// It has, and the guest is asked for its clock.
    Ready,
    /// The oracle knows when it was ready; or it was there before the first plan.
    There,
}

/// Tells the time since the boot in hundredths of a second, rounded down.
const UPTIME: &str = "/proc/uptime";

/// A time after the reading of [`UPTIME`], nanoseconds.
fn uptime_ns(content: &[u8]) -> Option<i64> {
    let (seconds, rest) =
        std::str::from_utf8(content).ok()?.split_whitespace().next()?.split_once('.')?;
    let hundredths = seconds.parse::<i64>().ok()? * 100 + rest.parse::<i64>().ok()?;
    Some((hundredths + 1) * 10_000_000)
}

/// The workload that is running.
struct Workload {
    id: u32,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Session {
    /// A session on a guest that is up; the tracer is not started yet.
    pub fn new(vm: Vm, oracle: Oracle, options: SessionOptions) -> Self {
        Self {
            vm,
            options,
            oracle,
            partial_line: Vec::new(),
            tracer_stderr: Vec::new(),
            tracer_exit: None,
            coming: Coming::There,
            last_output: Instant::now(),
            next_workload: FIRST_WORKLOAD,
            kept: None,
        }
    }

    /// From now on keeps journals and lines, which take as much memory as there are.
    pub(crate) fn keep_what_comes(&mut self) {
        self.kept = Some((None, Vec::new()));
    }

    /// The last plan's journal, and the lines since the last time.
    pub(crate) fn take_kept(&mut self) -> (Option<Journal>, Vec<Vec<u8>>) {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Starts the tracer, unless the guest came with it, and waits until it says that it is
    /// attached.
    pub fn attach(&mut self) -> Result<(), Failure> {
        let argv = self.options.tracer.clone();
        if argv.is_empty() {
            return Ok(());
        }
        match self.vm.take_prepared(&argv) {
            Some(said) => self.tracer_stderr = said,
            None => self.vm.send(&Request::Spawn(Spawn::new(TRACER, argv))),
        }
        while !says_ready(&String::from_utf8_lossy(&self.tracer_stderr)) {
            self.take("the tracer attaches", &mut None)?;
            self.tracer_exit
                .map_or(Ok(()), |status| kernel_cannot(status, &self.tracer_stderr()))?;
            self.fail_if_tracer_ended("it attached")?;
        }
        Ok(())
    }

    /// Starts the tracer, and waits for nothing: the plans that are run from now on are under way
    /// when it attaches.
    pub fn attach_midway(&mut self) {
        self.coming = Coming::UnderWay;
        self.oracle.ready_since(i64::MAX);
        self.vm.send(&Request::Spawn(Spawn::new(TRACER, self.options.tracer.clone())));
    }

    /// Waits until a tracer that comes midway is there.
    pub fn wait_ready(&mut self) -> Result<(), Failure> {
        while self.coming != Coming::There {
            self.take("the tracer attaches", &mut None)?;
            self.fail_if_tracer_ended("it attached")?;
        }
        Ok(())
    }

    /// Runs one plan and hands its journal to the oracle. Events may still be on their way
    /// afterwards.
    pub fn run_plan(&mut self, index: u64, plan: Plan) -> Result<(), Failure> {
        let id = self.next_workload;
        self.next_workload += 1;
        let program = match plan.process {
            Process::I386 => WORKLOAD_PATH,
            Process::Amd64 => WORKLOAD64_PATH,
        };
        let argv = [&self.vm.program(program), "-", "-"].map(str::to_string).to_vec();
        self.vm.send(&Request::Spawn(Spawn {
            stdin: Stdin::Whole(plan.encode()),
            ..Spawn::new(id, argv)
        }));
        let inject = self.options.inject.filter(|_| id == FIRST_WORKLOAD);
        self.cause(inject, id);
        let mut workload = Some(Workload { id, stdout: Vec::new(), stderr: Vec::new() });
        let status = loop {
            if let Some(status) = self.take("a plan runs", &mut workload)? {
                break status;
            }
            self.fail_if_tracer_ended("a plan ran")?;
        };
        while self.coming == Coming::Ready {
            self.take("the guest's clock is read", &mut None)?;
        }
        let Workload { mut stdout, stderr, .. } = workload.expect("it was put there above");
        if status != Exit::Code(0) {
            return Err(ProgramError::Workload { plan: index, status, said: told(&stderr) }.into());
        }
        if inject == Some(Injection::TruncateJournal) {
            stdout.truncate(stdout.len().saturating_sub(1));
        }
        let journal = Journal::parse(&stdout)
            .map_err(|source| ProgramError::Journal { plan: index, source })?;
        if let Some((kept, _)) = &mut self.kept {
            *kept = Some(journal.clone());
        }
        self.oracle.plan_done(index, plan, journal);
        Ok(())
    }

    fn cause(&self, inject: Option<Injection>, workload: u32) {
        match inject {
            Some(Injection::GuestPanic) => self.vm.send(&Request::Inject(Fault::Panic)),
            Some(Injection::GuestHang) => self.vm.send(&Request::Inject(Fault::Hang)),
            Some(Injection::KillWorkload) => {
                self.vm.send(&Request::Signal { id: workload, signal: SIGKILL })
            }
            Some(Injection::KillTracer) => {
                self.vm.send(&Request::Signal { id: TRACER, signal: SIGKILL })
            }
            Some(Injection::TruncateJournal) | None => {}
        }
    }

    /// Waits until at most `missing` events are still to come, or the tracer has been silent for
    /// [`STALL`].
    pub fn wait_outstanding(&mut self, missing: u64) -> Result<(), Failure> {
        self.wait_while(STALL, |oracle| oracle.outstanding() > missing)
    }

    /// Waits until so many events have come since the start, or the tracer has been silent for
    /// [`STALL`].
    pub fn wait_received(&mut self, events: u64) -> Result<(), Failure> {
        self.wait_while(STALL, |oracle| oracle.received() < events)
    }

    /// Waits until this plan was compared to its end, or the tracer has been silent for so long.
    pub fn wait_compared(&mut self, index: u64, silence: Duration) -> Result<(), Failure> {
        self.wait_while(silence, |oracle| !oracle.is_compared(index))
    }

    /// From now on this limit holds.
    pub fn set_deadline(&mut self, deadline: Deadline) {
        self.options.deadline = deadline;
    }

    fn wait_while(
        &mut self,
        silence: Duration,
        waits: impl Fn(&Oracle) -> bool,
    ) -> Result<(), Failure> {
        self.last_output = Instant::now();
        while waits(&self.oracle) && self.last_output.elapsed() < silence {
            self.take_within(Duration::from_millis(50), "events arrive", &mut None)?;
            self.fail_if_tracer_ended("events arrived")?;
        }
        Ok(())
    }

    /// Asks the tracer to stop, and takes everything that it still writes.
    pub fn stop_tracer(&mut self) -> Result<(), Failure> {
        self.fail_if_tracer_ended("the plans ran")?;
        if self.options.tracer.is_empty() {
            return self.vm.kernel_failure().map_or(Ok(()), |failure| Err(failure.into()));
        }
        self.vm.send(&Request::Signal { id: TRACER, signal: SIGINT });
        while self.tracer_exit.is_none() {
            self.take("the tracer stops", &mut None)?;
        }
        if !self.partial_line.is_empty() {
            let line = std::mem::take(&mut self.partial_line);
            self.oracle.line(&line);
        }
        let so_far = self.oracle.so_far();
        let unknown = so_far.summary.as_ref().map_or(0, |summary| summary.unknown);
        let expected = if so_far.lost > 0 || unknown > 0 { exit::LOST } else { exit::SEEN };
        if so_far.summary.is_none()
            || ![exit::SEEN, expected]
                .map(|code| Some(Exit::Code(code.into())))
                .contains(&self.tracer_exit)
        {
            self.fail_if_tracer_ended("it stopped")?;
        }
        match self.vm.kernel_failure() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    /// Content of a file in the guest.
    pub fn read_file(&mut self, path: &str) -> Result<Vec<u8>, Failure> {
        self.vm.send(&Request::Get { path: path.into() });
        loop {
            match self.vm.receive(self.options.deadline, "a file is read")? {
                Reply::File { content, .. } => return Ok(content),
                other => drop(self.sort(other, &mut None)),
            }
        }
    }

    /// Writes a file in the guest, for its owner alone to write.
    pub fn put(&mut self, path: &str, content: &[u8]) -> Result<(), Failure> {
        self.vm.send(&Request::Put { path: path.into(), mode: 0o644, content: content.to_vec() });
        loop {
            match self.vm.receive(self.options.deadline, "a file is written")? {
                Reply::Done => return Ok(()),
                other => drop(self.sort(other, &mut None)),
            }
        }
    }

    /// The guest.
    pub fn vm(&self) -> &Vm {
        &self.vm
    }

    /// Gives the guest back, and what was compared.
    pub fn end(self) -> (Vm, Oracle) {
        (self.vm, self.oracle)
    }

    /// What the tracer wrote to stderr.
    pub fn tracer_stderr(&self) -> String {
        String::from_utf8_lossy(&self.tracer_stderr).into_owned()
    }

    fn fail_if_tracer_ended(&self, doing: &'static str) -> Result<(), Failure> {
        if let Some(status) = self.tracer_exit.filter(|_| self.coming == Coming::UnderWay) {
            kernel_cannot(status, &self.tracer_stderr())?;
        }
        match self.tracer_exit {
            Some(status) => {
                Err(ProgramError::Tracer { status, doing, said: told(&self.tracer_stderr) }.into())
            }
            None => Ok(()),
        }
    }

    /// Takes one message and sorts it; gives the workload's end.
    fn take(
        &mut self,
        doing: &'static str,
        workload: &mut Option<Workload>,
    ) -> Result<Option<Exit>, Failure> {
        let reply = self.vm.receive(self.options.deadline, doing)?;
        Ok(self.sort(reply, workload))
    }

    fn take_within(
        &mut self,
        wait: Duration,
        doing: &'static str,
        workload: &mut Option<Workload>,
    ) -> Result<Option<Exit>, Failure> {
        let reply = self.vm.receive_within(self.options.deadline, wait, doing)?;
        Ok(reply.and_then(|reply| self.sort(reply, workload)))
    }

    fn sort(&mut self, reply: Reply, workload: &mut Option<Workload>) -> Option<Exit> {
        match reply {
            Reply::Output { id: TRACER, stream: Stream::Stdout, content } => self.lines(&content),
            Reply::Output { id: TRACER, stream: Stream::Stderr, content } => {
                self.tracer_said(&content)
            }
            Reply::File { path, content } if path == UPTIME && self.coming == Coming::Ready => {
                if let Some(ns) = uptime_ns(&content) {
                    self.oracle.ready_since(ns);
                }
                self.coming = Coming::There;
            }
            Reply::Output { id, stream, content } => {
                if let Some(workload) = workload.as_mut().filter(|workload| workload.id == id) {
                    match stream {
                        Stream::Stdout => workload.stdout.extend(content),
                        Stream::Stderr => workload.stderr.extend(content),
                    }
                }
            }
            Reply::Exited { id: TRACER, status } => self.tracer_exit = Some(status),
            Reply::Exited { id, status } => {
                return workload.as_ref().filter(|workload| workload.id == id).map(|_| status);
            }
            // `Failed` became an error where it was received.
            Reply::Ready { .. }
            | Reply::Done
            | Reply::File { .. }
            | Reply::Started { .. }
            | Reply::Taken { .. }
            | Reply::Failed { .. } => {}
        }
        None
    }

    fn tracer_said(&mut self, content: &[u8]) {
        self.tracer_stderr.extend(content);
        if self.coming == Coming::UnderWay
            && says_ready(&String::from_utf8_lossy(&self.tracer_stderr))
        {
            self.coming = Coming::Ready;
            self.vm.send(&Request::Get { path: UPTIME.into() });
        }
    }

    fn line(&mut self, line: &[u8]) {
        if let Some((_, lines)) = &mut self.kept {
            lines.push(line.to_vec());
        }
        self.oracle.line(line);
    }

    /// Hands whole lines of the tracer's output to the oracle.
    fn lines(&mut self, content: &[u8]) {
        self.last_output = Instant::now();
        let mut rest = content;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            if self.partial_line.is_empty() {
                self.line(&rest[..end]);
            } else {
                self.partial_line.extend_from_slice(&rest[..end]);
                let line = std::mem::take(&mut self.partial_line);
                self.line(&line);
            }
            rest = &rest[end + 1..];
        }
        self.partial_line.extend_from_slice(rest);
    }
}

/// Attaches a tracer in a guest whose state is then saved, and gives what it said.
pub(crate) fn attach_beforehand(
    vm: Vm,
    tracer: &[String],
    deadline: Deadline,
) -> Result<(Vm, String), Unprepared<Failure>> {
    let options = SessionOptions { tracer: tracer.to_vec(), inject: None, deadline };
    let mut session = Session::new(vm, Oracle::new(Config::default()), options);
    session.attach().map_err(|failure| match failure {
        Failure::Infra(InfraError::KernelCannot { .. }) => Unprepared::Refused,
        Failure::Guest(_) | Failure::Program(_) => Unprepared::Died(failure),
        failure => Unprepared::Failed(failure),
    })?;
    let said = session.tracer_stderr();
    Ok((session.end().0, said))
}

/// Fails when a tracer that ended says that the kernel cannot be traced in the way that was asked
/// for.
pub(crate) fn kernel_cannot(status: Exit, said: &str) -> Result<(), Failure> {
    match status {
        Exit::Code(code) if KERNEL_CANNOT.map(i32::from).contains(&code) => {
            let reason =
                said.trim().rsplit("settime32-tracer: ").next().unwrap_or_default().to_string();
            Err(InfraError::KernelCannot { reason }.into())
        }
        _ => Ok(()),
    }
}

/// What a program said, as the end of a message.
fn told(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    match text.trim() {
        "" => String::new(),
        said => format!(": {said}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_to_a_time_that_has_not_come_yet() {
        assert_eq!(uptime_ns(b"12.34 20.01\n"), Some(12_350_000_000));
        assert_eq!(uptime_ns(b"soon"), None);
    }

    #[test]
    fn a_tracer_is_ready_when_it_has_said_all_of_it() {
        assert!(says_ready(
            "settime32-tracer: using kprobe\nsettime32-tracer: ready (kprobe on it)\n"
        ));
        assert!(!says_ready(
            "settime32-tracer: using kprobe\nsettime32-tracer: ready (kprobe on it)"
        ));
        assert!(!says_ready("settime32-tracer: not yet\n"));
    }
}
