//! One tracer in one guest: carry what it needs → boot → start → the plans' calls → stop → read its
//! output → the oracle.

use std::fs;
use std::path::Path;
use std::time::Duration;

use settime32_abi::frame::{Exit, OWN_FOLDER};
use settime32_abi::journal::Journal;
use settime32_abi::output::{Lost, SUMMARY_EVENT, Summary};
use settime32_abi::plan::{Plan, Process};
use settime32_rootfs::furnish::{self, Furniture};
use settime32_rootfs::tools::SHELL;
use settime32_rootfs::{dpkg, needed};
use settime32_vm::Say;

use super::Task;
use super::definition::{Definition, Part, WORKLOAD};
use super::reader::{self, Line, Lines};
use super::score::Cost;
use crate::bench::median;
use crate::boot::{Deadline, GuestTime, Scratch, Vm};
use crate::cost;
use crate::embedded::{WORKLOAD_PATH, WORKLOAD64_PATH};
use crate::failure::{Failure, InfraError, ProgramError};
use crate::kernels::Kernel;
use crate::oracle::{self, Findings, Oracle};
use crate::programs::{Programs, Ran};
use crate::setup::Setup;

/// Where a plan is put in the guest for a tracer that starts the workload.
const PLAN_PATH: &str = "/tmp/plan";

/// Findings that are kept: of each kind the first may come late.
const FINDINGS_MAX: usize = 100_000;

/// Lines of a tool's last words that are told.
const WORDS_TOLD: usize = 3;

/// What came of a tracer.
#[derive(Debug)]
pub enum Outcome {
    /// It traced; what the oracle found.
    Judged(Box<Findings>),
    /// It cannot, or is not there: why, in its own words where it has any.
    NotRun(String),
}

/// What the guest must have for a tracer; the reason where this machine has it not.
fn furniture(definition: &Definition) -> Result<Furniture, String> {
    let mut furniture = Furniture::new().map_err(|error| error.to_string())?;
    let carried = &mut furniture.carried;
    let needs = &definition.needs;
    // Programs expect one that they do not name (system(3), popen(3)).
    if Path::new(SHELL).exists() {
        needed::add_program(carried, Path::new(SHELL)).map_err(|error| error.to_string())?;
    }
    let hint =
        || needs.install.as_ref().map_or_else(String::new, |install| format!(" ({install})"));
    let is_there_already = |program: &&String| {
        program.starts_with(OWN_FOLDER)
            || needs.scripts.iter().any(|script| script.path == **program)
    };
    let started = definition.start.command.first().filter(|program| !is_there_already(program));
    for program in needs.programs.iter().chain(started) {
        let path = needed::find(program).map_err(|error| format!("{error}{}", hint()))?;
        needed::add_program(carried, &path).map_err(|error| error.to_string())?;
    }
    for package in &needs.packages {
        dpkg::add(carried, package).map_err(|error| error.to_string())?;
    }
    for file in &needs.files {
        let (host, guest) = file.split_once(':').unwrap_or((file, file));
        let host = std::path::absolute(host).map_err(|error| error.to_string())?;
        let guest = if file.contains(':') { Path::new(guest) } else { &host };
        carried.add_as(&host, guest).map_err(|error| error.to_string())?;
        if host.is_file() {
            needed::add_needed(carried, &host).map_err(|error| error.to_string())?;
        }
    }
    Ok(furniture)
}

/// A tracer, and where it is tried.
pub struct Bench<'a> {
    /// The tracer.
    pub definition: &'a Definition,
    /// The guest.
    pub setup: &'a Setup,
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// Wall-clock limit of each guest.
    pub timeout: Duration,
    /// Where its output is kept.
    pub keep: Option<&'a Path>,
    /// Told of each stage.
    pub say: Say<'a>,
}

impl Bench<'_> {
    /// Runs it on all plans.
    pub(super) fn judge(&self, tasks: &[Task]) -> Result<Outcome, Failure> {
        let furniture = match furniture(self.definition) {
            Ok(furniture) => furniture,
            Err(reason) => return Ok(Outcome::NotRun(reason)),
        };
        let mut trial = self.trial(&furniture, self.setup)?;
        let outcome = trial.all(tasks)?;
        if let Some(folder) = self.keep {
            keep(folder, &self.definition.name, "output", &trial.output)?;
            keep(folder, &self.definition.name, "stderr", &trial.stderr)?;
        }
        Ok(match outcome {
            Ok(()) => Outcome::Judged(Box::new(trial.finish())),
            Err(reason) => Outcome::NotRun(reason),
        })
    }

    /// What a call costs more under it: in guest instructions, on one CPU that counts them, and in
    /// time, in a guest of the usual kind.
    pub(super) fn cost(&self, calls: u16) -> Result<Cost, Failure> {
        let Ok(furniture) = furniture(self.definition) else { return Ok(Cost::default()) };
        let plan = cost::plan(calls);
        let added = |time| -> Result<Result<i64, String>, Failure> {
            let setup = Setup { time, ..self.setup.clone() };
            let journals = self.trial(&furniture, &setup)?.untraced_and_traced(&plan)?;
            Ok(journals.map(|[untraced, traced]| {
                middle(&cost::rounds(&traced)) - middle(&cost::rounds(&untraced))
            }))
        };
        let mut cost = Cost::default();
        match added(GuestTime::Instructions)? {
            Ok(instructions) => cost.instructions = Some(instructions),
            Err(reason) => return Ok(Cost { note: Some(reason), ..cost }),
        }
        match added(GuestTime::Host)? {
            Ok(time_ns) => cost.time_ns = Some(time_ns),
            Err(reason) => cost.note = Some(reason),
        }
        Ok(cost)
    }

    /// A guest that has what the tracer needs.
    fn trial(&self, furniture: &Furniture, setup: &Setup) -> Result<Trial<'_>, Failure> {
        let deadline = Deadline::after(self.timeout);
        let setup = Setup { memory_mib: furniture.memory_mib(), ..setup.clone() };
        let mut vm = setup.boot(self.kernel.clone(), &Scratch::new()?, deadline, self.say)?;
        furniture.bring(&mut vm, deadline)?;
        Ok(Trial::new(self.definition, &setup, vm, deadline))
    }
}

fn keep(folder: &Path, name: &str, what: &str, output: &[u8]) -> Result<(), InfraError> {
    fs::create_dir_all(folder).map_err(InfraError::file("make", folder))?;
    let file = folder.join(format!("{name}.{what}"));
    fs::write(&file, output).map_err(InfraError::file("write", &file))
}

fn middle(rounds: &[i64]) -> i64 {
    median(rounds.iter().map(|round| *round as f64).collect()) as i64
}

struct Trial<'a> {
    definition: &'a Definition,
    programs: Programs,
    oracle: Oracle,
    lost: Lost,
    /// All that it wrote where its events are.
    output: Vec<u8>,
    /// All that it said on standard error.
    stderr: Vec<u8>,
}

impl<'a> Trial<'a> {
    fn new(definition: &'a Definition, setup: &Setup, vm: Vm, deadline: Deadline) -> Self {
        let loses_lines = definition.reader.lines.iter().any(|line| line.part != Part::Call);
        let config = oracle::Config {
            of_others: true,
            loses_lines,
            max_findings: FINDINGS_MAX,
            ..setup.oracle_config(&vm)
        };
        Self {
            definition,
            programs: Programs::new(vm, deadline),
            oracle: Oracle::new(config),
            lost: Lost::default(),
            output: Vec::new(),
            stderr: Vec::new(),
        }
    }

    /// All plans, by one process of it or by one for each; the reason where it cannot.
    fn all(&mut self, tasks: &[Task]) -> Result<Result<(), String>, Failure> {
        self.put_scripts()?;
        let started = match self.definition.start.wraps() {
            true => None,
            false => match self.start()? {
                Ok(id) => Some(id),
                Err(reason) => return Ok(Err(reason)),
            },
        };
        for Task { index, plan, .. } in tasks {
            let journal = match started {
                Some(_) => self.workload(plan)?,
                None => match self.wrapped(plan)? {
                    Ok(journal) => journal,
                    Err(reason) => return Ok(Err(reason)),
                },
            };
            self.oracle.plan_done(*index, plan.clone(), journal);
        }
        if let Some(id) = started {
            let ran = self.stop(id)?;
            self.read(&ran)?;
        }
        Ok(Ok(()))
    }

    fn stop(&mut self, id: u32) -> Result<Ran, Failure> {
        let stop = &self.definition.stop;
        if stop.quiet_ms > 0 {
            self.programs
                .wait_quiet(Duration::from_millis(stop.quiet_ms), "a tracer writes what it has")?;
        }
        self.programs.signal(id, stop.signal.number());
        Ok(self.programs.wait(id)?)
    }

    /// The same calls without and with it.
    fn untraced_and_traced(mut self, plan: &Plan) -> Result<Result<[Journal; 2], String>, Failure> {
        self.put_scripts()?;
        let untraced = self.workload(plan)?;
        if self.definition.start.wraps() {
            return Ok(self.wrapped(plan)?.map(|traced| [untraced, traced]));
        }
        let id = match self.start()? {
            Ok(id) => id,
            Err(reason) => return Ok(Err(reason)),
        };
        let traced = self.workload(plan)?;
        self.stop(id)?;
        Ok(Ok([untraced, traced]))
    }

    fn put_scripts(&mut self) -> Result<(), Failure> {
        let scripts = &self.definition.needs.scripts;
        for script in scripts {
            self.programs.put(&script.path, 0o755, script.content.clone().into_bytes())?;
        }
        Ok(())
    }

    /// Starts it and waits until it says that it traces; else gives its last words.
    fn start(&mut self) -> Result<Result<u32, String>, Failure> {
        let start = &self.definition.start;
        let ready = start.ready.as_ref().expect("a definition without one wraps the workload");
        let id = self.programs.start_in(
            &command(&start.command, &[]),
            &environment(&start.env),
            Vec::new(),
        );
        let says_it = |text: &str| text.lines().any(|line| ready.is_match(line));
        let is_ready =
            |ran: &Ran| says_it(&ran.said()) || says_it(&String::from_utf8_lossy(&ran.stdout));
        let ran = self.programs.wait_until(id, "a tracer attaches", is_ready)?;
        Ok(if ran.exit.is_none() || is_ready(&ran) { Ok(id) } else { Err(last_words(&ran)) })
    }

    fn workload(&mut self, plan: &Plan) -> Result<Journal, Failure> {
        let id = self.programs.start_with(&[&workload(plan), "-", "-"], plan.encode());
        let ran = self.programs.wait(id)?;
        journal(&ran)
    }

    /// Has the tracer start the workload, and reads what it wrote.
    fn wrapped(&mut self, plan: &Plan) -> Result<Result<Journal, String>, Failure> {
        self.programs.put(PLAN_PATH, 0o644, plan.encode())?;
        let start = &self.definition.start;
        let argv = command(&start.command, &[&workload(plan), PLAN_PATH, "-"]);
        let id = self.programs.start_in(&argv, &environment(&start.env), Vec::new());
        let ran = self.programs.wait(id)?;
        // Without a journal it was not the workload that ended badly.
        let Ok(journal) = journal(&ran) else { return Ok(Err(last_words(&ran))) };
        self.read(&ran)?;
        Ok(Ok(journal))
    }

    fn output_of(&mut self, ran: &Ran) -> Result<Vec<u8>, Failure> {
        match self.definition.output.from.as_str() {
            "stdout" => Ok(ran.stdout.clone()),
            "stderr" => Ok(ran.stderr.clone()),
            path => Ok(self.programs.get(path)?),
        }
    }

    fn read(&mut self, ran: &Ran) -> Result<(), Failure> {
        let output = self.output_of(ran)?;
        self.lost += read(self.definition, &output, ran, &mut self.oracle);
        self.output.extend(output);
        self.stderr.extend(&ran.stderr);
        Ok(())
    }

    /// The summary that the oracle wants, of what the tracer itself says that it lost.
    fn finish(mut self) -> Findings {
        let reported = self.oracle.received();
        let nothing = Summary {
            event: SUMMARY_EVENT.into(),
            reported,
            lost: self.lost,
            unknown: 0,
            unfinished: 0,
            blind: Vec::new(),
        };
        self.oracle.summary(nothing);
        self.oracle.finish()
    }
}

/// Tells the oracle what a tracer wrote where its events are, and gives what it lost by all that it
/// wrote.
pub(crate) fn read(definition: &Definition, output: &[u8], ran: &Ran, oracle: &mut Oracle) -> Lost {
    let reader = &definition.reader;
    let (mut lines, mut readings, mut all_lost) = (Lines::new(reader), Vec::new(), Lost::default());
    for line in output.split(|byte| *byte == b'\n') {
        match lines.line(&String::from_utf8_lossy(line)) {
            Ok(Line::Call(reading)) => readings.push(*reading),
            Ok(Line::Lost(lost)) => all_lost += lost,
            Ok(Line::Nothing) => {}
            Err(reason) => oracle.unparseable(line, &reason),
        }
    }
    for rest in lines.rest() {
        match rest {
            Ok(reading) => readings.push(reading),
            Err(reason) => oracle.unparseable(b"", &reason),
        }
    }
    // A stable sort leaves those as they are that name no order.
    readings.sort_by_key(|reading| reading.order);
    readings.iter().for_each(|reading| oracle.reading(reading));
    // Losses are often told apart from the events.
    let elsewhere = [("stdout", &ran.stdout), ("stderr", &ran.stderr)]
        .into_iter()
        .filter(|(from, _)| *from != definition.output.from);
    for (_, text) in elsewhere {
        let text = String::from_utf8_lossy(text);
        all_lost.buffer +=
            text.lines().filter_map(|line| reader::lost(reader, line)?.ok()).sum::<u64>();
    }
    all_lost
}

fn workload(plan: &Plan) -> String {
    furnish::own_program(match plan.process {
        Process::I386 => WORKLOAD_PATH,
        Process::Amd64 => WORKLOAD64_PATH,
    })
}

fn journal(ran: &Ran) -> Result<Journal, Failure> {
    let status = ran.exit.unwrap_or(Exit::Code(0));
    if status != Exit::Code(0) {
        return Err(ProgramError::Workload {
            plan: 0,
            status,
            said: format!(": {}", ran.said().trim()),
        }
        .into());
    }
    Ok(Journal::parse(&ran.stdout).map_err(|source| ProgramError::Journal { plan: 0, source })?)
}

/// The command with the workload in its place. Its program is where this machine has it.
fn command(words: &[String], workload: &[&str]) -> Vec<String> {
    let words = words.iter().flat_map(|word| match word.as_str() {
        WORKLOAD => workload.iter().map(ToString::to_string).collect(),
        word => vec![word.to_owned()],
    });
    let mut words: Vec<String> = words.collect();
    if let Some(path) = needed::find(&words[0]).ok().filter(|_| !words[0].contains('/')) {
        words[0] = path.to_string_lossy().into_owned();
    }
    words
}

/// What programs expect to find.
const ENVIRONMENT: [&str; 2] =
    ["HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];

fn environment(more: &[String]) -> Vec<String> {
    ENVIRONMENT.map(String::from).into_iter().chain(more.iter().cloned()).collect()
}

/// What a tool said last, and how it ended.
fn last_words(ran: &Ran) -> String {
    let said = [ran.said(), String::from_utf8_lossy(&ran.stdout).into_owned()];
    let said = said.iter().map(|said| said.trim()).find(|said| !said.is_empty());
    let how =
        ran.exit.map_or_else(|| "it goes on".to_owned(), |exit| format!("it ended with {exit}"));
    let Some(said) = said else { return format!("{how} and said nothing") };
    let lines: Vec<&str> = said.lines().collect();
    format!("{how} and said: {}", lines[lines.len().saturating_sub(WORDS_TOLD)..].join("; "))
}
