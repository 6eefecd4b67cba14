//! What scenarios do with tracers and workloads: start them, end them, and have an oracle compare
//! what they wrote.

pub(super) use nix::libc::{SIGCONT, SIGINT, SIGKILL, SIGSTOP, SIGTERM};
use serde::Deserialize;
use serde_json::Value;
use settime32_abi::frame::Exit;
use settime32_abi::journal::Journal;
use settime32_abi::output::{CALL_EVENT, CallEvent, SUMMARY_EVENT, Summary};
use settime32_abi::plan::{Plan, Process};

use crate::compare::{self, definition::Definition};
use crate::embedded::{WORKLOAD_PATH, WORKLOAD64_PATH};
use crate::failure::{Failure, ProgramError};
use crate::oracle::{Config, Findings, Oracle};
use crate::programs::{Programs, Ran};
use crate::session::{kernel_cannot, says_ready};
use crate::setup::Format;
use crate::setup::{Attach, Setup};

/// A guest, and how tracers are started there.
pub(super) struct Stand<'a> {
    pub programs: &'a mut Programs,
    setup: &'a Setup,
}

/// A tracer that is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tracer(u32);

/// A workload that was started.
#[derive(Debug)]
pub(super) struct Workload {
    id: u32,
    plan: Plan,
}

/// A plan that was done.
pub(super) struct Done {
    pub plan: Plan,
    pub journal: Journal,
}

impl<'a> Stand<'a> {
    pub(super) fn new(programs: &'a mut Programs, setup: &'a Setup) -> Self {
        Self { programs, setup }
    }

    /// Starts a tracer with more arguments than every one has, and waits until it is attached.
    pub(super) fn tracer(&mut self, more: &[&str]) -> Result<Tracer, Failure> {
        self.tracer_of(self.setup, more)
    }

    /// The same with a ring buffer of this size, whatever the run's is.
    pub(super) fn tracer_with_buffer(&mut self, size: &str) -> Result<Tracer, Failure> {
        self.tracer_of(&Setup { buffer: Some(size.into()), ..self.setup.clone() }, &[])
    }

    /// The same with output in another form than the oracle's.
    pub(super) fn tracer_in_form(&mut self, form: Format) -> Result<Tracer, Failure> {
        self.tracer_of(&Setup { form, ..self.setup.clone() }, &[])
    }

    fn tracer_of(&mut self, setup: &Setup, more: &[&str]) -> Result<Tracer, Failure> {
        let command = setup.tracer_command(&setup.tracer_program(self.programs.vm()));
        let argv: Vec<&str> =
            command.iter().map(String::as_str).chain(more.iter().copied()).collect();
        let id = self.programs.start(&argv);
        let ran =
            self.programs.wait_until(id, "a tracer attaches", |ran| says_ready(&ran.said()))?;
        match ran.exit {
            None => Ok(Tracer(id)),
            Some(status) => {
                kernel_cannot(status, &ran.said())?;
                Err(died(status, "it attached", &ran))
            }
        }
    }

    pub(super) fn attaches_by_kprobe(&self) -> bool {
        self.setup.attach == Attach::Kprobe
    }

    /// A tracer of calls and the arguments that every one has.
    pub(super) fn tracer_words(&self) -> Vec<String> {
        self.setup.tracer_command(&self.setup.tracer_program(self.programs.vm()))
    }

    /// A tracer that tells how late timers fire.
    pub(super) fn lateness_words(&self) -> Vec<String> {
        let attach = self.setup.attach.to_string();
        let job = ["lateness", "--output", "json", "--attach", &attach].map(str::to_owned);
        self.setup.tracer_program(self.programs.vm()).into_iter().chain(job).collect()
    }

    /// One of calls with a ring buffer of this size, whatever the run's is.
    pub(super) fn tracer_with(&self, buffer: &str, more: &[&str]) -> Vec<String> {
        let setup = Setup { buffer: Some(buffer.into()), ..self.setup.clone() };
        let command = setup.tracer_command(&setup.tracer_program(self.programs.vm()));
        command.into_iter().chain(more.iter().map(ToString::to_string)).collect()
    }

    /// One of calls that prints in this form.
    pub(super) fn words_in_form(&self, form: Format) -> Vec<String> {
        let setup = Setup { form, ..self.setup.clone() };
        setup.tracer_command(&setup.tracer_program(self.programs.vm()))
    }

    /// Waits until a tracer has written so many lines, or has ended, or all the workloads have.
    pub(super) fn wait_for_lines(
        &mut self,
        Tracer(id): Tracer,
        lines: usize,
        workloads: &[Workload],
    ) -> Result<(), Failure> {
        let enough = |ran: &Ran| {
            ran.exit.is_some() || ran.stdout.iter().filter(|byte| **byte == b'\n').count() >= lines
        };
        let over = |programs: &Programs| {
            workloads.iter().all(|workload| programs.ran(workload.id).exit.is_some())
        };
        let waits = |programs: &Programs| !enough(programs.ran(id)) && !over(programs);
        Ok(self.programs.wait_while("a tracer sees calls", waits)?)
    }

    /// Sends a signal to a tracer and waits for its end.
    pub(super) fn end(&mut self, Tracer(id): Tracer, signal: i32) -> Result<Ran, Failure> {
        self.programs.signal(id, signal);
        Ok(self.programs.wait(id)?)
    }

    pub(super) fn workload(&mut self, plan: Plan) -> Workload {
        let program = match plan.process {
            Process::I386 => WORKLOAD_PATH,
            Process::Amd64 => WORKLOAD64_PATH,
        };
        let program = self.programs.vm().program(program);
        Workload { id: self.programs.start_with(&[&program, "-", "-"], plan.encode()), plan }
    }

    /// The process id of a workload.
    pub(super) fn pid(&mut self, workload: &Workload) -> Result<u32, Failure> {
        self.pid_of(workload.id)
    }

    /// That of a program.
    pub(super) fn pid_of(&mut self, id: u32) -> Result<u32, Failure> {
        let ran = self.programs.wait_until(id, "a program starts", |ran| ran.pid.is_some())?;
        ran.pid.ok_or_else(|| died(ran.exit.unwrap_or(Exit::Code(0)), "it started", &ran))
    }

    pub(super) fn signal(&mut self, workload: &Workload, signal: i32) {
        self.programs.signal(workload.id, signal);
    }

    /// Waits until the plan is done.
    pub(super) fn done(&mut self, workload: Workload) -> Result<Done, Failure> {
        let ran = self.programs.wait(workload.id)?;
        let status = ran.exit.unwrap_or(Exit::Code(0));
        if status != Exit::Code(0) {
            return Err(ProgramError::Workload {
                plan: 0,
                status,
                said: format!(": {}", ran.said().trim()),
            }
            .into());
        }
        let journal = Journal::parse(&ran.stdout)
            .map_err(|source| ProgramError::Journal { plan: 0, source })?;
        Ok(Done { plan: workload.plan, journal })
    }

    /// Does a plan from its begin to its end.
    pub(super) fn run(&mut self, plan: Plan) -> Result<Done, Failure> {
        let workload = self.workload(plan);
        self.done(workload)
    }

    /// Compares what a tracer wrote with plans that were done.
    pub(super) fn judge<'b>(
        &self,
        plans: impl IntoIterator<Item = &'b Done>,
        ran: &Ran,
        partial: bool,
    ) -> Findings {
        let config = self.config();
        // A tracer that comes while calls are made learns what tells their entry paths only once it
        // sees them.
        let entry_path_needed = config.entry_path_needed && !partial;
        let mut oracle = oracle(Config { partial, entry_path_needed, ..config }, plans);
        lines(ran).for_each(|line| oracle.line(line));
        oracle.finish()
    }

    /// What the oracle has to know of this guest.
    pub(super) fn config(&self) -> Config {
        self.setup.oracle_config(self.programs.vm())
    }

    /// Compares as well, with what is to be known of the workload, and each line put into the terms
    /// of the journals before.
    pub(super) fn judge_by<'b>(
        &self,
        config: Config,
        plans: impl IntoIterator<Item = &'b Done>,
        ran: &Ran,
        translate: impl Fn(&mut Value),
    ) -> Findings {
        let mut oracle = oracle(config, plans);
        for line in lines(ran) {
            let Ok(mut told) = serde_json::from_slice::<Value>(line) else {
                oracle.line(line);
                continue;
            };
            translate(&mut told);
            let event = told["event"].clone();
            let taken = match event.as_str() {
                Some(CALL_EVENT) => CallEvent::deserialize(told).map(|event| oracle.event(&event)),
                Some(SUMMARY_EVENT) => {
                    Summary::deserialize(told).map(|summary| oracle.summary(summary))
                }
                _ => {
                    oracle.line(line);
                    continue;
                }
            };
            if let Err(error) = taken {
                oracle.unparseable(line, &error.to_string());
            }
        }
        oracle.finish()
    }

    /// The same of output in another form, which is read as the definition says.
    pub(super) fn judge_read<'b>(
        &self,
        definition: &Definition,
        plans: impl IntoIterator<Item = &'b Done>,
        ran: &Ran,
    ) -> Findings {
        // A result that was lost may have a line, or none: here it has none.
        const LOST: &[u8] = b"= ? <result lost>\n";
        let config = Config {
            of_others: true,
            loses_lines: true,
            ..self.setup.oracle_config(self.programs.vm())
        };
        let mut oracle = oracle(config, plans);
        let lines =
            ran.stdout.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.ends_with(LOST));
        let lost = compare::read(definition, &lines.collect::<Vec<_>>().concat(), ran, &mut oracle);
        let reported = oracle.received();
        oracle.summary(Summary {
            event: SUMMARY_EVENT.into(),
            reported,
            lost,
            unknown: 0,
            unfinished: 0,
            blind: Vec::new(),
        });
        oracle.finish()
    }

    /// Whether nothing hooks the calls any more, by the kernel's own lists.
    pub(super) fn is_clean(&mut self) -> Result<bool, Failure> {
        // Programs in trampolines are in the second; it is not there on a kernel that cannot have
        // any.
        for (list, needed) in [
            ("/sys/kernel/debug/kprobes/list", true),
            ("/sys/kernel/debug/tracing/enabled_functions", false),
        ] {
            let content = match self.programs.get(list) {
                Ok(content) => content,
                Err(error) if needed => return Err(error.into()),
                Err(_) => continue,
            };
            if String::from_utf8_lossy(&content)
                .lines()
                .any(|line| line.contains("timerfd_settime"))
            {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// One that knows what was done.
fn oracle<'b>(config: Config, plans: impl IntoIterator<Item = &'b Done>) -> Oracle {
    let mut oracle = Oracle::new(config);
    for (index, done) in plans.into_iter().enumerate() {
        oracle.plan_done(index as u64, done.plan.clone(), done.journal.clone());
    }
    oracle
}

fn lines(ran: &Ran) -> impl Iterator<Item = &[u8]> {
    ran.stdout
        .split_inclusive(|byte| *byte == b'\n')
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

pub(super) fn died(status: Exit, doing: &'static str, ran: &Ran) -> Failure {
    ProgramError::Tracer { status, doing, said: format!(": {}", ran.said().trim()) }.into()
}
