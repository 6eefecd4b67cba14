//! The command line: what can be asked for, and nothing of how it is done.

mod compare;
mod describe;
mod filters;
mod fuzz;
mod plans;
mod program;

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory, Parser, Subcommand};
use settime32_abi::plan::PlanError;
use settime32_mutants::{About, MUTANTS};

use crate::boot::{Choice, Cpu, Start};
use crate::mutants::MutantsOptions;
use crate::session::Injection;
use crate::setup::{Attach, DEFAULT_KERNEL, DEFAULT_QEMU, Setup, VerifyOptions};
use crate::work::{CALLS_PER_PLAN, Work};

pub use compare::CompareArgs;
pub use describe::{CompletionsArgs, ManArgs, Manual};
pub use fuzz::{FuzzArgs, MergeArgs};
pub use plans::{LifecycleArgs, ReplayArgs, VerifyArgs};
pub use program::{PlaceArgs, ProgramArgs, ShellArgs};

/// Proves a tracer of timerfd_settime32: generated calls in a virtual machine, compared with what
/// was captured.
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
    #[command(mut_arg("kernel", or_all))]
    Verify(VerifyArgs),
    /// Have timers live lifecycles in a guest: created, set, read back, waited for, copied,
    /// passed, inherited, closed. Trace all of it (--events all), and compare each story.
    #[command(mut_arg("kernel", or_all))]
    Lifecycle(LifecycleArgs),
    /// Do again what a failed run did; its report prints the command.
    #[command(mut_arg("kernel", or_all))]
    Replay(ReplayArgs),
    /// Make generated calls until a budget ends, several guests side by side; shrink and keep what
    /// fails.
    Fuzz(FuzzArgs),
    /// Join what the shards of a fuzzing run did.
    Merge(MergeArgs),
    /// Run a program of this machine, i386 or x86-64, in a guest, and end with its exit code.
    Run(ProgramArgs),
    /// Open a shell in a guest, as root.
    Shell(ShellArgs),
    /// List the kernels known by name, with what the cache holds of each; fetch them.
    Kernels(KernelsArgs),
    /// List the situations that `verify --case` and `verify --catalogue` go through.
    Catalogue {
        /// Print one JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Run mutants, each on the calls that must show its error, and the right
    /// one on all of them; anything but all of them caught, and the right one passed, is a
    /// violation.
    Mutants(MutantsArgs),
    /// Run tracers of any make on the same calls, and print what each was right and wrong about,
    /// what it lost and what it costs.
    #[command(mut_arg("kernel", or_several))]
    Compare(CompareArgs),
    /// Count the guest instructions that tracing adds to one call: with empty probes, and with the
    /// tracer.
    Cost(CostArgs),
    /// Measure.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print completions for a shell, such as for bash: source <(settime32-harness completions
    /// bash).
    Completions(CompletionsArgs),
    /// Print the manual page, in roff: settime32-harness man | man -l -
    Man(ManArgs),
}

impl Cli {
    /// Refuses what the definition cannot say to be wrong.
    pub fn checked(self) -> Result<Self, clap::Error> {
        let place = match &self.command {
            Command::Run(arguments) => arguments.place(),
            Command::Shell(arguments) => arguments.place(),
            _ => return Ok(self),
        };
        if place.asks_in_vain() {
            let message = "--output tracee tells of timerfd_settime32 alone; give --output json for other events";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(self)
    }
}

/// For the jobs that go through several kernels.
fn or_several(kernel: clap::Arg) -> clap::Arg {
    kernel
        .value_name("NAME|all|PATH,...")
        .help("Names that `kernels` lists, `all` of them, or paths of a bzImage, divided by commas")
}

fn or_all(kernel: clap::Arg) -> clap::Arg {
    kernel
        .value_name("NAME|all|PATH")
        .help("A name that `kernels` lists, `all` of them, or the path of a bzImage")
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
    if names.contains(&name) {
        Ok(name.into())
    } else {
        Err(format!("no such kernel; there are {}", names.join(", ")))
    }
}

/// Arguments of `mutants`.
#[derive(Args, Debug)]
pub struct MutantsArgs {
    /// Only these; all when none is named.
    #[arg(value_name = "NAME", hide_possible_values = true,
          value_parser = clap::builder::PossibleValuesParser::new(MUTANTS.iter().map(|about| about.name)))]
    names: Vec<String>,
    /// List them, each with its error and what it is caught by.
    #[arg(long)]
    pub list: bool,
    /// Seed of the generator.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    #[command(flatten)]
    guest: GuestArgs,
    /// How the tracers attach.
    #[arg(long, value_enum, default_value = "kprobe")]
    attach: Attach,
    /// Wall-clock limit of the whole, from the boot on, such as 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Print one JSON object; with --list one a line.
    #[arg(long)]
    pub json: bool,
}

impl MutantsArgs {
    /// The job.
    pub fn job(&self) -> MutantsOptions {
        let wanted = |about: &&About| {
            self.names.is_empty() || self.names.iter().any(|name| name == about.name)
        };
        MutantsOptions {
            wrong: MUTANTS.iter().filter(wanted).copied().collect(),
            seed: self.seed,
            setup: Setup { attach: self.attach, ..self.guest.clone().setup() },
            timeout: self.timeout,
        }
    }
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
    /// Threads that call and end before, where the cost for later threads with large ids is
    /// measured.
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub dead_threads: u32,
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
    /// Time from QEMU's start to the agent being ready, against a bare init that prints one line on
    /// the same kernel.
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
    /// Time from QEMU's start to the agent's first answer, and to the tracer's first event: of a
    /// guest that is booted, against one that goes on from a saved state.
    Warm {
        /// Starts of each kind, taken in turn.
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// What is started.
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
    /// A name that `kernels` lists, or the path of a bzImage.
    #[arg(long, value_name = "NAME|PATH", default_value = DEFAULT_KERNEL)]
    pub kernel: String,
    /// What runs the guest.
    #[arg(long, value_enum, default_value = "auto")]
    pub accel: Choice,
    /// Who made the guest's CPU: the vDSO enters the kernel by `syscall` on AMD's, by `sysenter` on
    /// Intel's.
    #[arg(long, value_enum, default_value = "any")]
    pub cpu: Cpu,
    /// QEMU's program.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_QEMU)]
    pub qemu: PathBuf,
    /// Words added to the guest's kernel command line.
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    pub append: String,
    /// Boot the guest, rather than let it go on from the state that one booted earlier was kept in.
    #[arg(long)]
    pub cold: bool,
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
    /// Wall-clock limit of a run, from the boot on, such as 90s or 5m [default: 2 minutes, and 1 s
    /// more for each 1,000 calls].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Use a mutant, a tracer that is wrong on purpose, which `mutants --list` names, to see its error found.
    #[arg(long, value_name = "NAME", value_parser = mutant_name, conflicts_with = "here")]
    mutant: Option<&'static str>,
    /// Cause a failure on purpose, to see that it is told apart.
    #[arg(long, value_enum, value_name = "FAILURE")]
    inject: Option<Injection>,
    /// Use the running kernel instead of a guest, as root: probes are attached to it, and all calls
    /// are made on it. For use inside a virtual machine of yours.
    #[arg(long, conflicts_with_all = ["kernel", "accel", "cpu", "qemu", "append", "inject", "cold"])]
    here: bool,
    /// Print the report as one JSON object.
    #[arg(long)]
    json: bool,
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
    /// A comparison of which nothing is left.
    #[error(
        "failed to find calls to compare: no plan has that number; leave --plan out, or give the other arguments as the finding does"
    )]
    NothingToCompare,
    /// The plan's file cannot be read.
    #[error("failed to read the plan {path}: {source}")]
    PlanFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The plan's file holds no plan.
    #[error(
        "failed to use the plan {path}: {source}; a plan is what a failed run kept, or what `Plan::encode` gives"
    )]
    Plan {
        /// The file.
        path: PathBuf,
        /// Why.
        source: PlanError,
    },
    /// The file is no failure that was kept.
    #[error("failed to use the regression {path}: {reason}")]
    Regression {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// `--plan` with more calls than a plan holds.
    #[error(
        "--calls {calls} is more than the {CALLS_PER_PLAN} that one plan holds; with --plan it is the number of calls in that plan"
    )]
    PlanSize {
        /// What was asked for.
        calls: u64,
    },
}

impl GuestArgs {
    /// The guest, and the tracer that `verify` takes.
    pub fn setup(self) -> Setup {
        let Self { kernel, accel, cpu, qemu, append, cold } = self;
        let start = if cold { Start::Cold } else { Start::Warm };
        Setup { kernel, accelerator: accel, cpu, qemu, append, start, ..Setup::default() }
    }
}

impl RunArgs {
    fn job(self, work: Work, seed: u64) -> Job {
        let timeout = self.timeout.unwrap_or_else(|| work.default_timeout());
        let setup = Setup {
            tells: work.tells(),
            buffer: self.buffer,
            inject: self.inject,
            here: self.here,
            mutant: self.mutant,
            ..self.guest.setup()
        };
        let kernels = kernels_named([setup.kernel.clone()]);
        let cell = |kernel: &String, attach| VerifyOptions {
            work: work.clone(),
            seed,
            setup: Setup { kernel: kernel.clone(), attach, ..setup.clone() },
            timeout,
        };
        let cells = kernels
            .iter()
            .flat_map(|kernel| self.attach.0.iter().map(move |attach| (kernel, *attach)));
        Job { cells: cells.map(|(kernel, attach)| cell(kernel, attach)).collect(), json: self.json }
    }
}

/// Attach modes to go through.
#[derive(Clone, Debug)]
struct Attaches(Vec<Attach>);

impl Attaches {
    fn all() -> Self {
        Self(vec![Attach::Kprobe, Attach::Fentry])
    }
}

fn attach_modes(text: &str) -> Result<Attaches, String> {
    match text {
        "all" => Ok(Attaches::all()),
        one => <Attach as clap::ValueEnum>::from_str(one, false)
            .map(|attach| Attaches(vec![attach]))
            .map_err(|_| "there are auto, kprobe, fentry, and all".into()),
    }
}

/// The name of a mutant.
fn mutant_name(text: &str) -> Result<&'static str, String> {
    let known = MUTANTS.iter().map(|about| about.name).find(|name| *name == text);
    known.ok_or_else(|| "no such mutant; `cargo harness mutants --list` names them".into())
}

/// Stands for every kernel of the catalogue.
const ALL_KERNELS: &str = "all";

/// The kernels that these words stand for, each once.
fn kernels_named(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let named = |word: String| match word.as_str() {
        ALL_KERNELS => crate::kernels::catalog().iter().map(|entry| entry.name.clone()).collect(),
        _ => vec![word],
    };
    let mut kernels: Vec<String> = Vec::new();
    for kernel in words.into_iter().flat_map(named) {
        if !kernels.contains(&kernel) {
            kernels.push(kernel);
        }
    }
    kernels
}

/// A seed that differs from run to run; short, since people copy it.
fn fresh_seed() -> u64 {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    now.as_nanos() as u64 % 1_000_000_007
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definitions_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn full_is_everything_on_everything() {
        let job = |words: &[&str]| {
            let cli =
                Cli::parse_from(["settime32-harness", "verify", "--seed", "1"].iter().chain(words));
            let Command::Verify(arguments) = cli.command else { panic!("{words:?}") };
            arguments
                .job()
                .cells
                .into_iter()
                .map(|cell| (cell.setup.to_string(), cell.work))
                .collect::<Vec<_>>()
        };
        let full = job(&["--full"]);
        assert_eq!(full, job(&["--catalogue", "--kernel", "all", "--attach", "all"]));
        assert_eq!(full.len(), 2 * crate::kernels::catalog().len());
        for other in ["--catalogue", "--kernel=6.12", "--attach=kprobe", "--calls=7"] {
            assert!(
                Cli::try_parse_from(["settime32-harness", "verify", "--full", other]).is_err(),
                "{other}"
            );
        }
    }
}
