//! A guest and the tracer in it, as the user asks for them, up to the session in which the tracer
//! runs: what every job starts from.

use std::path::PathBuf;
use std::time::Duration;

use settime32_vm::Say;
use settime32_vm::warm::{self, Order, Preparation};

use crate::boot::{
    self, Accelerator, BootOptions, Choice, Cpu, Deadline, GuestTime, MEMORY_MIB, Scratch, Start,
    Vm,
};
use crate::embedded::{self, TRACER_PATH, WORKLOAD_COMM};
use crate::failure::Failure;
use crate::kernels::{self, Kernel};
use crate::oracle::{self, EventSet, Oracle};
use crate::output;
use crate::session::{Injection, Session, SessionOptions, attach_beforehand};
use crate::work::{Tells, Work};

/// How the tracer attaches (`settime32-tracer --attach`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Attach {
    /// The cheaper one that works.
    Auto,
    /// kprobes, and return probes on returns.
    Kprobe,
    /// fentry and fexit.
    Fentry,
}

impl std::fmt::Display for Attach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Kprobe => f.write_str("kprobe"),
            Self::Fentry => f.write_str("fentry"),
        }
    }
}

/// The forms that the tracer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line a call: who, what it does to the timer in words, and the call as strace prints it.
    Pretty,
    /// A JSON object a line, with every fact.
    Json,
    /// A JSON object a line, as Tracee prints it.
    Tracee,
}

impl Format {
    /// Its name on the tracer's command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pretty => "pretty",
            Self::Json => "json",
            Self::Tracee => "tracee",
        }
    }
}

/// What to verify, and on what.
#[derive(Clone, Debug)]
pub struct VerifyOptions {
    /// The calls.
    pub work: Work,
    /// Where they come from.
    pub seed: u64,
    /// The guest and the tracer.
    pub setup: Setup,
    /// Wall-clock limit of the run, from the boot on.
    pub timeout: Duration,
}

/// A guest and the tracer in it; the default is what `cargo verify` uses.
#[derive(Clone, Debug)]
pub struct Setup {
    /// A name of the catalogue, or the path of a bzImage.
    pub kernel: String,
    /// How the tracer attaches.
    pub attach: Attach,
    /// KVM or TCG.
    pub accelerator: Choice,
    /// The maker of the guest's CPU.
    pub cpu: Cpu,
    /// QEMU's program.
    pub qemu: PathBuf,
    /// Guest memory, MiB.
    pub memory_mib: u64,
    /// Added to the guest's kernel command line.
    pub append: String,
    /// The tracer's ring buffer (`settime32-tracer --buffer`); `None` leaves its default.
    pub buffer: Option<String>,
    /// A failure to cause.
    pub inject: Option<Injection>,
    /// The running kernel instead of a guest.
    pub here: bool,
    /// Whether the guest may start from a saved state.
    pub start: Start,
    /// A mutant of this name instead of the shipped one.
    pub mutant: Option<&'static str>,
    /// What the guest's clock counts.
    pub time: GuestTime,
    /// What the tracer is asked to tell.
    pub tells: Tells,
    /// In which form.
    pub form: Format,
    /// Of lifecycles, which events.
    pub events: EventSet,
    /// The tracer is asked for threads of the workload's name alone.
    pub by_name: bool,
    /// The tracer comes while the plans are done.
    pub midway: bool,
}

/// Kernel of runs that name none.
pub const DEFAULT_KERNEL: &str = "6.12";
/// Where the mutants' program is in a guest.
pub(crate) const MUTANT_PATH: &str = "/bin/settime32-mutant";
/// QEMU's program where none is named.
pub const DEFAULT_QEMU: &str = "qemu-system-x86_64";

impl Default for Setup {
    fn default() -> Self {
        Self {
            kernel: DEFAULT_KERNEL.into(),
            attach: Attach::Kprobe,
            accelerator: Choice::Auto,
            cpu: Cpu::Any,
            qemu: DEFAULT_QEMU.into(),
            memory_mib: MEMORY_MIB,
            append: String::new(),
            buffer: None,
            inject: None,
            here: false,
            start: Start::Warm,
            mutant: None,
            time: GuestTime::Host,
            tells: Tells::Calls,
            form: Format::Json,
            events: EventSet::all(),
            by_name: false,
            midway: false,
        }
    }
}

/// From here on a kernel fires a timer that is due as it is set.
pub(crate) const FIRES_INLINE: (u32, u32) = (7, 2);
/// A guest that is not up by then never will be: ten times the usual under emulation on a busy
/// machine.
pub const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kernel_name(), self.attach)
    }
}

impl Setup {
    /// For people.
    pub(crate) fn kernel_name(&self) -> &str {
        if self.here { "here" } else { &self.kernel }
    }

    /// What a boot needs.
    pub(crate) fn prepare(&self, say: Say) -> Result<Kernel, Failure> {
        boot::check_qemu(&self.qemu)?;
        Ok(kernels::resolve(&self.kernel, say)?)
    }

    /// A session with the tracer attached, for tests; [`verify`] takes the same steps one by one.
    pub fn start(&self, deadline: Deadline) -> Result<Session, Failure> {
        let kernel = kernels::resolve(&self.kernel, &say_to_stderr)?;
        let mut vm = self.boot_to_trace(kernel, &Scratch::new()?, deadline, &say_to_stderr)?;
        self.bring_tracer(&mut vm, deadline)?;
        let tracer = self.tracer_program(&vm);
        let mut session = self.session(vm, &tracer, deadline);
        session.attach()?;
        Ok(session)
    }

    /// A guest in which nothing runs but the agent, for tests.
    pub fn boot_alone(&self, deadline: Deadline) -> Result<Vm, Failure> {
        let kernel = kernels::resolve(&self.kernel, &say_to_stderr)?;
        self.boot(kernel, &Scratch::new()?, deadline, &say_to_stderr)
    }

    /// A guest.
    pub(crate) fn boot(
        &self,
        kernel: Kernel,
        scratch: &Scratch,
        deadline: Deadline,
        say: Say,
    ) -> Result<Vm, Failure> {
        let options = self.boot_options(kernel)?;
        Ok(warm::start(&Order { options: &options, scratch, deadline, say })?)
    }

    /// A guest for a session, in which the tracer may be attached already.
    pub(crate) fn boot_to_trace(
        &self,
        kernel: Kernel,
        scratch: &Scratch,
        deadline: Deadline,
        say: Say,
    ) -> Result<Vm, Failure> {
        let (options, tracer) = (self.boot_options(kernel)?, self.tracer_command(&[TRACER_PATH]));
        // A template for each set of events would take more time and room than it saves.
        let is_usual =
            self.mutant.is_none() && self.tells != Tells::Nothing && self.events == EventSet::all();
        let order = Order { options: &options, scratch, deadline, say };
        if !is_usual || self.midway {
            return Ok(warm::start(&order)?);
        }
        let prepare = |vm| attach_beforehand(vm, &tracer, deadline);
        warm::start_prepared(&order, &Preparation { words: &tracer, prepare: &prepare })
    }

    fn boot_options(&self, kernel: Kernel) -> Result<BootOptions, Failure> {
        let (qemu, append) = (self.qemu.clone(), self.append.clone());
        // Instructions are counted from the boot on.
        let start = if self.time == GuestTime::Instructions { Start::Cold } else { self.start };
        let (choice, cpu, time, memory_mib) =
            (self.accelerator, self.cpu, self.time, self.memory_mib);
        Ok(BootOptions {
            kernel,
            programs: embedded::guest_programs()?,
            qemu,
            choice,
            start,
            cpu,
            time,
            memory_mib,
            append,
            boot_timeout: BOOT_TIMEOUT,
        })
    }

    /// Puts the tracer into a guest, if it is not one that every guest has.
    pub(crate) fn bring_tracer(&self, vm: &mut Vm, deadline: Deadline) -> Result<(), Failure> {
        match self.mutant {
            Some(_) => {
                let program = embedded::mutant()?.to_vec();
                Ok(vm.put(MUTANT_PATH, 0o755, program, deadline)?)
            }
            None => Ok(()),
        }
    }

    /// The tracer's program in this guest, and its first arguments.
    pub(crate) fn tracer_program(&self, vm: &Vm) -> Vec<String> {
        match self.mutant {
            Some(name) => [MUTANT_PATH, name].map(str::to_owned).to_vec(),
            None => vec![vm.program(TRACER_PATH)],
        }
    }

    /// A session with a tracer: its program in the guest, and first arguments.
    pub(crate) fn session(
        &self,
        vm: Vm,
        tracer: &[impl AsRef<str>],
        deadline: Deadline,
    ) -> Session {
        let config = self.oracle_config(&vm);
        let tracer =
            if self.tells == Tells::Nothing { Vec::new() } else { self.tracer_command(tracer) };
        let options = SessionOptions { tracer, inject: self.inject, deadline };
        Session::new(vm, Oracle::new(config), options)
    }

    /// What the oracle has to know of workloads in this guest, and of the tracer.
    pub(crate) fn oracle_config(&self, vm: &Vm) -> oracle::Config {
        // An emulated CPU has not the new way into the kernel (FRED), which has one door for
        // everything.
        let entry_path_needed =
            self.attach == Attach::Kprobe && vm.accelerator == Some(Accelerator::Tcg);
        let (cpus, comm) = (vm.cpus, Some(WORKLOAD_COMM.into()));
        let (lifecycle, untraced) = (self.tells != Tells::Calls, self.tells == Tells::Nothing);
        let (events, filtered) = (self.events.clone(), self.by_name);
        let fires_inline = kernels::version(&vm.kernel_release) >= FIRES_INLINE;
        oracle::Config {
            cpus,
            comm,
            entry_path_needed,
            lifecycle,
            events,
            filtered,
            fires_inline,
            untraced,
            ..oracle::Config::default()
        }
    }

    /// A tracer and its arguments.
    pub(crate) fn tracer_command(&self, tracer: &[impl AsRef<str>]) -> Vec<String> {
        let mut command: Vec<String> = tracer.iter().map(|word| word.as_ref().to_owned()).collect();
        command.extend(["--output", self.form.as_str(), "--color", "never"].map(str::to_owned));
        // As the tracer's own words are.
        command.extend(["--attach".into(), self.attach.to_string()]);
        if self.tells == Tells::Lifecycle {
            command.extend(["--events".into(), self.events.to_argument()]);
        }
        if self.by_name {
            command.extend(["--comm", WORKLOAD_COMM].map(str::to_owned));
        }
        if let Some(buffer) = &self.buffer {
            command.extend(["--buffer".into(), buffer.clone()]);
        }
        command
    }
}

fn say_to_stderr(text: &str) {
    output::say(text);
}
