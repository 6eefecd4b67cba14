//! The main job, from a kernel's name to a report: resolve → boot → attach → run → drain → judge.

use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use settime32_abi::plan::Plan;

use crate::boot::{self, Accelerator, BootOptions, Choice, Cpu, Deadline, GuestTime, Scratch, TRACER_PATH, Vm, WORKLOAD_COMM};
use crate::failure::Failure;
use crate::generate::{self, catalogue};
use crate::kernels::{self, Kernel, Say};
use crate::oracle::{self, Oracle};
use crate::report::{Report, Seconds};
use crate::session::{Injection, Session, SessionOptions};

/// The most calls in one plan, which is one process of the workload.
pub const CALLS_PER_PLAN: u64 = 10_000;

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

/// The calls to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// `calls` generated calls, in plans of [`CALLS_PER_PLAN`].
    Run {
        /// Calls in all.
        calls: u64,
    },
    /// One plan of such a run.
    OnePlan {
        /// Its index.
        index: u64,
        /// Its calls.
        calls: u64,
    },
    /// Cases of the catalogue, a plan each.
    Cases {
        /// Their names.
        names: Vec<&'static str>,
    },
    /// A plan from elsewhere.
    Literal {
        /// Its file.
        file: PathBuf,
        /// What it held.
        plan: Plan,
    },
}

impl Work {
    /// Calls in all.
    pub fn calls(&self) -> u64 {
        match self {
            Self::Run { calls } | Self::OnePlan { calls, .. } => *calls,
            Self::Cases { names } => cases(names).map(catalogue::Case::calls).sum(),
            Self::Literal { plan, .. } => plan.calls() as u64,
        }
    }

    /// The limit of a run for which none was given.
    pub fn default_timeout(&self) -> Duration {
        Duration::from_secs(120 + self.calls() / 1000)
    }

    /// One plan of this work: that which `only` names, or the only one that there is.
    pub fn plan(&self, seed: u64, only: Option<u64>) -> Option<Plan> {
        let single = !matches!(self, Self::Run { calls } if *calls > CALLS_PER_PLAN);
        self.plans(seed).find(|(index, _)| single || Some(*index) == only).filter(|_| single || only.is_some()).map(|(_, plan)| plan)
    }

    /// The plans, made one after the other when asked for.
    fn plans(&self, seed: u64) -> Box<dyn Iterator<Item = (u64, Plan)> + Send> {
        let generated = move |index: u64, calls: u64| {
            let calls = usize::try_from(calls).expect("plans hold at most CALLS_PER_PLAN calls");
            (index, generate::plan(seed, index, calls))
        };
        match self {
            Self::Run { calls } => {
                let calls = *calls;
                let sizes =
                    (0..calls.div_ceil(CALLS_PER_PLAN)).map(move |index| (index, CALLS_PER_PLAN.min(calls - index * CALLS_PER_PLAN)));
                Box::new(sizes.map(move |(index, calls)| generated(index, calls)))
            }
            Self::OnePlan { index, calls } => {
                let (index, calls) = (*index, *calls);
                Box::new(std::iter::once_with(move || generated(index, calls)))
            }
            Self::Cases { names } => {
                let names = names.clone();
                Box::new((0..).zip(names).filter_map(move |(index, name)| Some((index, catalogue::find(name)?.plan(seed)))))
            }
            Self::Literal { plan, .. } => Box::new(std::iter::once((0, plan.clone()))),
        }
    }
}

/// The cases of these names, which are names of the catalogue.
pub(crate) fn cases(names: &[&'static str]) -> impl Iterator<Item = &'static catalogue::Case> {
    names.iter().filter_map(|name| catalogue::find(name))
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
    /// Added to the guest's kernel command line.
    pub append: String,
    /// The tracer's ring buffer (`settime32-tracer --buffer`); `None` leaves its default.
    pub buffer: Option<String>,
    /// A failure to cause.
    pub inject: Option<Injection>,
}

/// Kernel of runs that name none.
pub const DEFAULT_KERNEL: &str = "6.12";
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
            append: String::new(),
            buffer: None,
            inject: None,
        }
    }
}

/// A guest that is not up by then never will be: ten times the usual under emulation on a busy machine.
pub const BOOT_TIMEOUT: Duration = Duration::from_secs(60);

/// Plans that are generated ahead of the one that runs.
const PLANS_AHEAD: usize = 2;

/// Told what the run is at.
pub trait Watch {
    /// A stage begins, or something is worth a line.
    fn say(&self, text: &str);
    /// So many calls were made.
    fn calls_made(&self, calls: u64);
}

/// Runs everything; whatever happens, there is a report.
pub fn verify(options: &VerifyOptions, watch: &dyn Watch) -> Report {
    let mut seconds = Seconds::default();
    let mut report = Report::new(options);
    let started = Instant::now();
    let outcome = run(options, watch, &mut seconds, &mut report);
    seconds.total = started.elapsed().as_secs_f64();
    report.conclude(options, seconds, outcome);
    report
}

fn run(options: &VerifyOptions, watch: &dyn Watch, seconds: &mut Seconds, report: &mut Report) -> Result<(), Failure> {
    let setup = &options.setup;
    boot::check_qemu(&setup.qemu)?;
    let kernel = timed(&mut seconds.prepare, || kernels::resolve(&setup.kernel, &|text| watch.say(text)))?;
    report.kernel.package_version.clone_from(&kernel.package_version);
    // A download takes what it takes; the limit is for what may hang.
    let deadline = Deadline::after(options.timeout);
    watch.say(&format!("booting {}", kernel.name));
    let scratch = Scratch::new()?;
    let vm = timed(&mut seconds.boot, || setup.boot(kernel, &scratch, deadline, &|text| watch.say(text)));
    let vm = vm.inspect_err(|_| report.not_booted(&scratch))?;
    report.booted(&vm);
    watch.say("attaching the tracer");
    let mut session = setup.session(vm, deadline);
    let outcome = timed(&mut seconds.attach, || session.attach());
    watch.say("making calls");
    let outcome = outcome.and_then(|()| timed(&mut seconds.calls, || run_plans(options, &mut session, watch)));
    let outcome = outcome.and_then(|()| timed(&mut seconds.drain, || session.stop_tracer()));
    report.ran(session, outcome.is_ok());
    outcome
}

impl std::fmt::Display for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.kernel, self.attach)
    }
}

impl Setup {
    /// A session with the tracer attached, for tests; [`verify`] takes the same steps one by one.
    pub fn start(&self, deadline: Deadline) -> Result<Session, Failure> {
        let vm = self.boot_alone(deadline)?;
        let mut session = self.session(vm, deadline);
        session.attach()?;
        Ok(session)
    }

    /// A guest in which nothing runs but the agent, for tests.
    pub fn boot_alone(&self, deadline: Deadline) -> Result<Vm, Failure> {
        let say = |text: &str| eprintln!("settime32-harness: {text}");
        let kernel = kernels::resolve(&self.kernel, &say)?;
        self.boot(kernel, &Scratch::new()?, deadline, &say)
    }

    fn boot(&self, kernel: Kernel, scratch: &Scratch, deadline: Deadline, say: Say) -> Result<Vm, Failure> {
        let (qemu, append) = (self.qemu.clone(), self.append.clone());
        let (choice, cpu, time) = (self.accelerator, self.cpu, GuestTime::Host);
        let options = BootOptions { kernel, qemu, choice, cpu, time, append, boot_timeout: BOOT_TIMEOUT };
        Vm::boot(&options, scratch, deadline, say)
    }

    fn session(&self, vm: Vm, deadline: Deadline) -> Session {
        // An emulated CPU has not the new way into the kernel (FRED), which has one door for everything.
        let entry_path_needed = self.attach == Attach::Kprobe && vm.accelerator == Accelerator::Tcg;
        let comm = Some(WORKLOAD_COMM.into());
        let config = oracle::Config { cpus: vm.cpus, comm, entry_path_needed, ..oracle::Config::default() };
        let options = SessionOptions { tracer: self.tracer_command(), inject: self.inject, deadline };
        Session::new(vm, Oracle::new(config), options)
    }

    fn tracer_command(&self) -> Vec<String> {
        let mut command: Vec<String> = [TRACER_PATH, "--output", "json"].map(str::to_string).to_vec();
        // As the tracer's own words are.
        command.extend(["--attach".into(), self.attach.to_string()]);
        if let Some(buffer) = &self.buffer {
            command.extend(["--buffer".into(), buffer.clone()]);
        }
        command
    }
}

/// Generates in a thread of its own, ahead of the guest.
fn run_plans(options: &VerifyOptions, session: &mut Session, watch: &dyn Watch) -> Result<(), Failure> {
    let (sender, plans) = mpsc::sync_channel(PLANS_AHEAD);
    let source = options.work.plans(options.seed);
    // The thread ends when the plans do, or when the receiver is dropped.
    thread::spawn(move || source.into_iter().try_for_each(|plan| sender.send(plan)));
    let mut made = 0;
    for (index, plan) in plans {
        let calls = plan.calls() as u64;
        session.run_plan(index, plan)?;
        made += calls;
        watch.calls_made(made);
        session.wait_outstanding(calls)?;
    }
    Ok(())
}

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let value = work();
    *seconds += started.elapsed().as_secs_f64();
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_divided_into_plans_without_a_call_lost() {
        let work = Work::Run { calls: 2 * CALLS_PER_PLAN + 7 };
        let sizes: Vec<_> = work.plans(1).map(|(index, plan)| (index, plan.calls() as u64)).collect();
        assert_eq!(sizes, [(0, CALLS_PER_PLAN), (1, CALLS_PER_PLAN), (2, 7)]);
    }

    #[test]
    fn one_plan_of_a_run_is_the_plan_of_that_run() {
        let run = Work::Run { calls: CALLS_PER_PLAN + 5 }.plans(9).nth(1);
        assert_eq!(Work::OnePlan { index: 1, calls: 5 }.plans(9).next(), run);
    }
}
