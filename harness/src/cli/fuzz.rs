//! The command lines of `fuzz` and `merge`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{fresh_seed, kernels_named, mutant_name};
use crate::boot::{Choice, Cpu};
use crate::cache;
use crate::fuzz::shard::Shard;
use crate::fuzz::state::REGRESSIONS;
use crate::fuzz::{FuzzOptions, FuzzReport, merge};
use crate::setup::{Attach, DEFAULT_KERNEL, DEFAULT_QEMU, Setup};

const FUZZ_HELP: &str = "\
A seed is a plan of 10,000 calls: that of `replay --seed S --plan 0 --calls 10000`. Guests run side by side, as many as
there are CPUs. What fails is shrunk in the guest and kept with a C program; a later run does what was kept first. Ctrl-C
finishes the seeds under way; the same command with the same --out goes on, and repeats none that is done.

Shards are ranges of seeds, so that 1/N to N/N together are the run without --shard: give all of them the same --seed, and
either the same --calls (which are those of all shards) or a --duration. `merge` joins their --out folders.";

/// Arguments of `fuzz`.
#[derive(Args, Debug)]
#[command(after_help = FUZZ_HELP)]
pub struct FuzzArgs {
    /// When to stop, such as 60s or 8h [default: at the end of --calls, or when it is stopped].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    duration: Option<Duration>,
    /// Calls on each kernel and attach mode, of all shards together.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    calls: Option<u64>,
    /// The first seed [default: that of --out, or a new one, which the report shows].
    #[arg(long)]
    seed: Option<u64>,
    /// Names that `kernels` lists, `all` of them, or paths of a bzImage, divided by commas.
    #[arg(long, value_name = "NAME|all|PATH", value_delimiter = ',', default_value = DEFAULT_KERNEL)]
    kernel: Vec<String>,
    /// How the tracer attaches: auto, kprobe, fentry, or `all`, which is kprobe and fentry; divided
    /// by commas.
    #[arg(long, value_name = "MODE|all", value_delimiter = ',', default_value = "kprobe", value_parser = attach)]
    attach: Vec<Attaches>,
    /// Only this part of the seeds: the I-th of N, from 1/N to N/N.
    #[arg(long, value_name = "I/N", requires = "seed", default_value_t = Shard::WHOLE)]
    shard: Shard,
    /// Folder of state, failures and report, from which a later run goes on [default: failures go
    /// to the user's cache, and nothing else is kept].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Use a mutant, a tracer that is wrong on purpose, which `mutants --list` names, to see its error found.
    #[arg(long, value_name = "NAME", value_parser = mutant_name)]
    mutant: Option<&'static str>,
    /// Size of the tracer's ring buffer, such as 256K.
    #[arg(long, value_name = "SIZE")]
    buffer: Option<String>,
    /// What runs the guests.
    #[arg(long, value_enum, default_value = "auto")]
    accel: Choice,
    /// Who made the guests' CPU.
    #[arg(long, value_enum, default_value = "any")]
    cpu: Cpu,
    /// QEMU's program.
    #[arg(long, value_name = "PATH", default_value = DEFAULT_QEMU)]
    qemu: PathBuf,
    /// Words added to the guests' kernel command line.
    #[arg(long, value_name = "WORDS", default_value = "", allow_hyphen_values = true)]
    append: String,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What one word of `--attach` asks for.
#[derive(Clone, Debug)]
struct Attaches(Vec<Attach>);

fn attach(word: &str) -> Result<Attaches, String> {
    match word {
        "all" => Ok(Attaches(vec![Attach::Kprobe, Attach::Fentry])),
        one => <Attach as clap::ValueEnum>::from_str(one, false)
            .map(|one| Attaches(vec![one]))
            .map_err(|_| "there are auto, kprobe, fentry, and all".into()),
    }
}

impl FuzzArgs {
    /// What to run.
    pub fn options(self) -> FuzzOptions {
        let kernels = kernels_named(self.kernel);
        let mut attaches: Vec<Attach> = Vec::new();
        self.attach.into_iter().flat_map(|of| of.0).for_each(|attach| {
            if !attaches.contains(&attach) {
                attaches.push(attach)
            }
        });
        let setup = Setup {
            accelerator: self.accel,
            cpu: self.cpu,
            qemu: self.qemu,
            append: self.append,
            buffer: self.buffer,
            mutant: self.mutant,
            ..Setup::default()
        };
        let cell =
            |kernel: &String, attach| Setup { kernel: kernel.clone(), attach, ..setup.clone() };
        let cells =
            kernels.iter().flat_map(|kernel| attaches.iter().map(move |attach| (kernel, *attach)));
        FuzzOptions {
            seed: self.seed,
            fresh_seed: fresh_seed(),
            calls: self.calls,
            duration: self.duration,
            shard: self.shard,
            cells: cells.map(|(kernel, attach)| cell(kernel, attach)).collect(),
            regressions: self.out.clone().unwrap_or_else(cache::folder).join(REGRESSIONS),
            out: self.out,
        }
    }
}

/// Arguments of `merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// The folders that were given to `fuzz --out`, one of each shard.
    #[arg(required = true, value_name = "FOLDER")]
    pub folders: Vec<PathBuf>,
    /// Write the joined state, and the failures of all folders, to this folder.
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
    /// Print the report as one JSON object.
    #[arg(long)]
    pub json: bool,
}

impl MergeArgs {
    /// Joins, and keeps what was joined where that was asked for.
    ///
    /// # Errors
    ///
    /// Those of [`merge::merge`] and of the file system.
    pub fn merge(&self) -> Result<FuzzReport, merge::MergeError> {
        let mut merged = merge::merge(&self.folders)?;
        if let Some(out) = &self.out {
            merge::keep(&mut merged, &self.folders, out)?;
        }
        Ok(FuzzReport::merged(&merged, self.out.clone()))
    }
}
