//! The command line: what can be asked for, and nothing of how it is done.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use settime32_abi::plan::{Plan, PlanError};

use crate::boot::{Choice, Cpu};
use crate::generate::catalogue::CASES;
use crate::session::Injection;
use crate::verify::{Attach, CALLS_PER_PLAN, DEFAULT_KERNEL, DEFAULT_QEMU, Setup, VerifyOptions, Work};

/// Proves a tracer of timerfd_settime32: generated calls in a virtual machine, compared with what was captured.
#[derive(Debug, Parser)]
#[command(name = "settime32-harness", version, after_help = EXIT_CODES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 pass, 1 violation, 2 usage, 3 inconclusive (events lost), 4 guest failure,
5 boot failure or hang, 6 infrastructure (QEMU, kernel image or toolchain missing).
Cached kernels and records of failed runs are in $SETTIME32_CACHE, else in the user's cache folder.";

/// The harness's jobs.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make generated calls in a guest, trace them, compare, and print a verdict.
    Verify(VerifyArgs),
    /// Do again what a failed run did; its report prints the command.
    Replay(ReplayArgs),
    /// List the kernels known by name, with what the cache holds of each; fetch them.
    Kernels(KernelsArgs),
    /// List the situations that `verify --case` and `verify --catalogue` go through.
    Catalogue {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Count the guest instructions that tracing adds to one call: with empty probes, and with the tracer.
    Cost(CostArgs),
    /// Measure.
    #[command(subcommand)]
    Bench(BenchCommand),
}

/// Arguments of `kernels`.
#[derive(Args, Debug)]
pub struct KernelsArgs {
    /// Only these; all when none is named.
    #[arg(value_parser = known_kernel)]
    pub names: Vec<String>,
    /// Fetch those that are not in the cache, and check those that are.
    #[arg(long)]
    pub fetch: bool,
    /// Fetch the newest patch release of each, whatever the cache holds.
    #[arg(long)]
    pub update: bool,
}

fn known_kernel(name: &str) -> Result<String, String> {
    let names: Vec<_> = crate::kernels::catalog().iter().map(|entry| entry.name.as_str()).collect();
    if names.contains(&name) { Ok(name.into()) } else { Err(format!("no such kernel; there are {}", names.join(", "))) }
}

/// Arguments of `cost`.
#[derive(Args, Clone, Debug)]
pub struct CostArgs {
    /// A name that `kernels` lists, or the path of a bzImage.
    #[arg(long, value_name = "NAME|PATH", default_value = DEFAULT_KERNEL)]
    pub kernel: String,
    /// Calls that are made under each set of probes.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(100..))]
    pub calls: u16,
    /// QEMU's program.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_QEMU)]
    pub qemu: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What can be measured.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Time from QEMU's start to the agent being ready, against a bare init that prints one line on the same kernel.
    Boot {
        /// Boots of each kind, taken in turn.
        #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// What is booted.
        #[command(flatten)]
        guest: GuestArgs,
        /// Print one JSON object.
        #[arg(long)]
        json: bool,
    },
}

/// The guest that is booted.
#[derive(Args, Clone, Debug)]
pub struct GuestArgs {
    /// A name that `kernels` lists, `all` of them, or the path of a bzImage.
    #[arg(long, value_name = "NAME|all|PATH", default_value = DEFAULT_KERNEL)]
    pub kernel: String,
    /// What runs the guest.
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
    /// Who made the guest's CPU: the vDSO enters the kernel by `syscall` on AMD's, by `sysenter` on Intel's.
    #[arg(long, value_enum, default_value = "any")]
    pub cpu: Cpu,
    /// QEMU's program.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_QEMU)]
    pub qemu: PathBuf,
    /// Words added to the guest's kernel command line.
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
}

/// What `verify` and `replay` share.
#[derive(Args, Clone, Debug)]
pub struct RunArgs {
    #[command(flatten)]
    guest: GuestArgs,
    /// How the tracer attaches: auto, kprobe or fentry, or both of these in turn.
    #[arg(long, value_name = "MODE|all", default_value = "kprobe", value_parser = attach_modes)]
    attach: Attaches,
    /// Size of the tracer's ring buffer, such as 256K.
    #[arg(long, value_name = "SIZE")]
    buffer: Option<String>,
    /// Wall-clock limit of a run, from the boot on, such as 90s or 5m [default: 2 minutes, and 1 s more for each 1,000 calls].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Cause a failure on purpose, to see that it is told apart.
    #[arg(long, value_enum, value_name = "FAILURE")]
    inject: Option<Injection>,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// Calls to make.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    calls: u64,
    /// A case of the catalogue instead of any calls; may be given more than once.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["calls", "catalogue"], hide_possible_values = true,
          value_parser = clap::builder::PossibleValuesParser::new(CASES.iter().map(|case| case.name)))]
    case: Vec<String>,
    /// All cases of the catalogue, one after the other in one guest.
    #[arg(long, conflicts_with = "calls")]
    catalogue: bool,
    /// Seed of the generator [default: a new one, which the report shows].
    #[arg(long)]
    seed: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub struct ReplayArgs {
    /// A plan in a file, instead of generated ones.
    #[arg(conflicts_with_all = ["seed", "plan", "calls"], required_unless_present = "seed")]
    file: Option<PathBuf>,
    /// Seed of the run.
    #[arg(long, requires = "calls")]
    seed: Option<u64>,
    /// Only this plan of the run; --calls is then the number of calls in it.
    #[arg(long, requires = "seed")]
    plan: Option<u64>,
    /// Calls of the run.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    #[command(flatten)]
    run: RunArgs,
}

/// A job with its options checked.
#[derive(Debug)]
pub struct Job {
    /// What to verify: one cell for each kernel.
    pub cells: Vec<VerifyOptions>,
    /// Print the report as JSON.
    pub json: bool,
}

/// Why the command line cannot be followed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UsageError {
    /// The plan's file cannot be read.
    #[error("failed to read the plan {path}: {source}")]
    PlanFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The plan's file holds no plan.
    #[error("failed to use the plan {path}: {source}; a plan is what a failed run kept, or what `Plan::encode` gives")]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PlanError,
    },
    /// `--plan` with more calls than a plan holds.
    #[error("--calls {calls} is more than the {CALLS_PER_PLAN} that one plan holds; with --plan it is the number of calls in that plan")]
    PlanSize {
        /// What was asked for.
        calls: u64,
    },
}

impl VerifyArgs {
    /// The job.
    pub fn job(self) -> Job {
        let seed = self.seed.unwrap_or_else(fresh_seed);
        let wanted = |name: &str| self.catalogue || self.case.iter().any(|case| case == name);
        let names: Vec<&str> = CASES.iter().map(|case| case.name).filter(|name| wanted(name)).collect();
        let work = if names.is_empty() { Work::Run { calls: self.calls } } else { Work::Cases { names } };
        self.run.job(work, seed)
    }
}

impl ReplayArgs {
    /// The job.
    pub fn job(self) -> Result<Job, UsageError> {
        let calls = self.calls.unwrap_or_default();
        let work = match (self.file, self.plan) {
            (Some(path), _) => {
                let bytes = std::fs::read(&path).map_err(|source| UsageError::PlanFile { path: path.clone(), source })?;
                let plan = Plan::decode(&bytes).map_err(|source| UsageError::Plan { path: path.clone(), source })?;
                Work::Literal { file: path, plan }
            }
            (None, Some(_)) if calls > CALLS_PER_PLAN => return Err(UsageError::PlanSize { calls }),
            (None, Some(index)) => Work::OnePlan { index, calls },
            (None, None) => Work::Run { calls },
        };
        Ok(self.run.job(work, self.seed.unwrap_or_default()))
    }
}

impl RunArgs {
    fn job(self, work: Work, seed: u64) -> Job {
        let timeout = self.timeout.unwrap_or_else(|| work.default_timeout());
        let GuestArgs { kernel, accel, cpu, qemu, append } = self.guest;
        let kernels = match kernel.as_str() {
            ALL_KERNELS => crate::kernels::catalog().iter().map(|entry| entry.name.clone()).collect(),
            _ => vec![kernel],
        };
        let setup = Setup { accelerator: accel, cpu, qemu, append, buffer: self.buffer, inject: self.inject, ..Setup::default() };
        let cell = |kernel: &String, attach| VerifyOptions {
            work: work.clone(),
            seed,
            setup: Setup { kernel: kernel.clone(), attach, ..setup.clone() },
            timeout,
        };
        let cells = kernels.iter().flat_map(|kernel| self.attach.0.iter().map(move |attach| (kernel, *attach)));
        Job { cells: cells.map(|(kernel, attach)| cell(kernel, attach)).collect(), json: self.json }
    }
}

/// Attach modes to go through.
#[derive(Clone, Debug)]
struct Attaches(Vec<Attach>);

fn attach_modes(text: &str) -> Result<Attaches, String> {
    match text {
        "all" => Ok(Attaches(vec![Attach::Kprobe, Attach::Fentry])),
        one => <Attach as clap::ValueEnum>::from_str(one, false)
            .map(|attach| Attaches(vec![attach]))
            .map_err(|_| "there are auto, kprobe, fentry, and all".into()),
    }
}

/// Stands for every kernel of the catalogue.
const ALL_KERNELS: &str = "all";

/// A seed that differs from run to run; short, since people copy it.
fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 % 1_000_000_007
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }
}
