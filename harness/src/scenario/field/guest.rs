//! What situations do with a guest: start programs in containers, hold them, and have plans done
//! from files.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use settime32_abi::frame::Exit;
use settime32_abi::journal::Journal;
use settime32_abi::plan::{Plan, Process};

use super::super::stand::{Done, Stand, died};
use super::told::Said;
use crate::embedded::{WORKLOAD_PATH, WORKLOAD64_PATH};
use crate::failure::{Failure, ProgramError};
use crate::kernels;
use crate::programs::Ran;
use crate::session::says_ready;

/// A pid namespace with a procfs of its own, as containers have it.
pub(super) const PID: [&str; 2] = ["--pid", "--mount-proc"];
/// How the names of files begin.
const FILES: &str = "/tmp/settime32-field";
/// Nothing is written for so long when all that a program did has come.
const QUIET: Duration = Duration::from_millis(300);

/// A plan that a program is given by a file, since its standard output is another's.
pub(super) struct PlanFile {
    plan: Plan,
    journal: String,
    /// The workload and its arguments.
    pub words: Vec<String>,
}

/// Words, as programs are started with.
pub(super) fn words(of: &[&str]) -> Vec<String> {
    of.iter().map(ToString::to_string).collect()
}

/// These, and those behind them.
pub(super) fn with(mut first: Vec<String>, more: &[String]) -> Vec<String> {
    first.extend_from_slice(more);
    first
}

/// How a program ended; a code that no program gives where it did not.
pub(super) fn code(ran: &Ran) -> i32 {
    match ran.exit {
        Some(Exit::Code(code)) => code,
        Some(Exit::Signal(signal)) => 128 + signal,
        None => -1,
    }
}

/// The end of what it said.
pub(super) fn tail(ran: &Ran) -> String {
    let said = ran.said();
    said.lines()
        .rev()
        .find(|line| !line.starts_with("entered "))
        .unwrap_or_default()
        .chars()
        .take(160)
        .collect()
}

impl Stand<'_> {
    /// A situation of the workload.
    pub(super) fn field(&self, situation: &[&str]) -> Vec<String> {
        with(vec![self.programs.vm().program(WORKLOAD_PATH), "field".into()], &words(situation))
    }

    /// The same by a 64-bit process.
    pub(super) fn field64(&self, situation: &[&str]) -> Vec<String> {
        with(vec![self.programs.vm().program(WORKLOAD64_PATH), "field".into()], &words(situation))
    }

    /// A program in a container.
    pub(super) fn enter(&self, options: &[&str], program: &[String]) -> Vec<String> {
        let launcher = vec![self.programs.vm().program(WORKLOAD_PATH), "enter".into()];
        with(with(with(launcher, &words(options)), &words(&["--"])), program)
    }

    /// The tracer that tells of calls, with more arguments than every one has.
    pub(super) fn calls(&self, more: &[&str]) -> Vec<String> {
        with(self.tracer_words(), &words(more))
    }

    /// The tracer that tells how late timers are.
    pub(super) fn lateness(&self, more: &[&str]) -> Vec<String> {
        with(self.lateness_words(), &words(more))
    }

    /// A tracer of a command.
    pub(super) fn following(&self, tracer: Vec<String>, command: &[String]) -> Vec<String> {
        with(with(tracer, &words(&["--"])), command)
    }

    pub(super) fn start(&mut self, program: &[String]) -> u32 {
        self.programs.start_in(program, &[], Vec::new())
    }

    pub(super) fn run_words(&mut self, program: &[String]) -> Result<Ran, Failure> {
        let id = self.start(program);
        Ok(self.programs.wait(id)?)
    }

    /// Runs a situation, which must do what it is there for.
    pub(super) fn situation(&mut self, program: &[String]) -> Result<Ran, Failure> {
        let ran = self.run_words(program)?;
        done_well(ran)
    }

    /// Waits until a tracer is attached; whether it is, and has not ended.
    pub(super) fn is_ready(&mut self, id: u32) -> Result<bool, Failure> {
        let ran =
            self.programs.wait_until(id, "a tracer attaches", |ran| says_ready(&ran.said()))?;
        Ok(ran.exit.is_none())
    }

    /// Starts a tracer that must attach.
    pub(super) fn attached(&mut self, tracer: &[String]) -> Result<u32, Failure> {
        let id = self.start(tracer);
        if !self.is_ready(id)? {
            let ran = self.programs.ran(id).clone();
            return Err(died(ran.exit.unwrap_or(Exit::Code(0)), "it attached", &ran));
        }
        Ok(id)
    }

    /// Waits until a program has said a line that begins so.
    pub(super) fn says(&mut self, id: u32, word: &str) -> Result<Said, Failure> {
        let said = |ran: &Ran| !Said::all(&whole_lines(ran), word).is_empty();
        let ran = self.programs.wait_until(id, "a program says what it does", said)?;
        Ok(Said::last(&whole_lines(&ran), word))
    }

    /// Waits until so many programs, one inside of the other, have been entered; gives the
    /// innermost one's process id there.
    pub(super) fn entered(&mut self, id: u32, depth: usize) -> Result<u32, Failure> {
        let entered = |ran: &Ran| {
            Said::all(&ran.said(), "entered").len() >= depth && ran.stderr.ends_with(b"\n")
        };
        let ran = self.programs.wait_until(id, "a container is entered", entered)?;
        Ok(innermost(&ran))
    }

    /// A name for a file that is not there yet.
    pub(super) fn path(&mut self, name: &str) -> String {
        // A guest may serve several tracers, each with a stand of its own.
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // A folder would have to be made, and whoever makes the file may be a situation.
        format!("{FILES}-{name}-{}", NUMBER.fetch_add(1, Ordering::Relaxed))
    }

    /// An empty file.
    pub(super) fn file(&mut self, name: &str) -> Result<String, Failure> {
        let path = self.path(name);
        self.make(&path, Vec::new())?;
        Ok(path)
    }

    /// Sends a signal to a program that has not ended.
    pub(super) fn signals(&mut self, id: u32, signal: i32) {
        if self.programs.ran(id).exit.is_none() {
            self.programs.signal(id, signal);
        }
    }

    /// Makes a file that anybody may write to.
    pub(super) fn make(&mut self, path: &str, content: Vec<u8>) -> Result<(), Failure> {
        Ok(self.programs.put(path, 0o666, content)?)
    }

    pub(super) fn text(&mut self, path: &str) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&self.programs.get(path)?).into_owned())
    }

    pub(super) fn plan_file(&mut self, plan: Plan) -> Result<PlanFile, Failure> {
        let (file, journal) = (self.path("plan"), self.path("journal"));
        self.make(&file, plan.encode())?;
        self.make(&journal, Vec::new())?;
        let program = match plan.process {
            Process::I386 => WORKLOAD_PATH,
            Process::Amd64 => WORKLOAD64_PATH,
        };
        let words = vec![self.programs.vm().program(program), file, journal.clone()];
        Ok(PlanFile { plan, journal, words })
    }

    /// A plan that was done from a file.
    pub(super) fn journal(&mut self, file: PlanFile) -> Result<Done, Failure> {
        let content = self.programs.get(&file.journal)?;
        let journal =
            Journal::parse(&content).map_err(|source| ProgramError::Journal { plan: 0, source })?;
        Ok(Done { plan: file.plan, journal })
    }

    /// What a process keeps for itself, KiB.
    pub(super) fn memory_kib(&mut self, id: u32) -> Result<u64, Failure> {
        self.programs.wait_quiet(QUIET, "a program is done with what came")?;
        let pid = self.programs.ran(id).pid.unwrap_or_default();
        let status = self.text(&format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        Ok(line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0))
    }

    /// The version of the guest's kernel.
    pub(super) fn version(&self) -> (u32, u32) {
        kernels::version(&self.programs.vm().kernel_release)
    }
}

/// The process id that the innermost launcher said.
pub(super) fn innermost(ran: &Ran) -> u32 {
    u32::try_from(Said::last(&ran.said(), "entered").number("pid")).unwrap_or(0)
}

fn whole_lines(ran: &Ran) -> String {
    let text = String::from_utf8_lossy(&ran.stdout);
    text.rsplit_once('\n').map_or(String::new(), |(whole, _)| whole.to_owned())
}

fn done_well(ran: Ran) -> Result<Ran, Failure> {
    match ran.exit {
        Some(Exit::Code(0)) => Ok(ran),
        status => Err(ProgramError::Workload {
            plan: 0,
            status: status.unwrap_or(Exit::Code(0)),
            said: format!(": {}", ran.said().trim()),
        }
        .into()),
    }
}
