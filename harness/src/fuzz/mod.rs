//! Generated calls without end, or to the end of a budget: guests side by side take one seed after
//! the other, and what fails is shrunk and kept. What was done is written down, so that a run can
//! be stopped, gone on with, and joined with other shards of it.
//!
//! A seed is a plan of [`CALLS_PER_PLAN`] calls, that of `replay --seed S --plan 0`. It counts as
//! done when the tracer that saw it has stopped, since its last words are a part of what is
//! compared.

mod found;
mod lane;
pub mod merge;
mod queue;
mod ranges;
mod report;
pub mod shard;
pub mod state;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use crate::boot;
use crate::failure::{Failure, HostError, InfraError};
use crate::kernels::{self, Kernel};
use crate::oracle::Findings;
use crate::progress::FuzzProgress;
use crate::regression::{self, Regression};
use crate::report::{quoted, setup_words};
use crate::setup::Setup;
use crate::shrink::Signature;
use crate::verdict::Verdict;
use crate::work::CALLS_PER_PLAN;

use lane::Lane;
use queue::Queue;
pub use report::FuzzReport;
use shard::Shard;
use state::{Config, Fault, State};

/// What to run, and how long.
#[derive(Clone, Debug)]
pub struct FuzzOptions {
    /// The first seed; `None` goes on with that of the folder, or takes `fresh_seed`.
    pub seed: Option<u64>,
    /// Taken where no seed is given and none is known.
    pub fresh_seed: u64,
    /// Calls of all shards on each cell.
    pub calls: Option<u64>,
    /// How long, from the first boot on.
    pub duration: Option<Duration>,
    /// Which part of it.
    pub shard: Shard,
    /// Kernels and attach modes.
    pub cells: Vec<Setup>,
    /// Where state and failures are kept.
    pub out: Option<PathBuf>,
    /// Where failures are.
    pub regressions: PathBuf,
}

/// Why nothing was run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FuzzError {
    /// Something else is in the folder.
    #[error("failed to go on with {}: it has another run, and they differ in the {difference}; give another folder to --out", folder.display())]
    OtherRun {
        /// The folder.
        folder: PathBuf,
        /// In words.
        difference: String,
    },
    /// Somebody is at it.
    #[error("failed to use {}: another run is writing there", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// Something is missing.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<HostError> for FuzzError {
    fn from(error: HostError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<InfraError> for FuzzError {
    fn from(error: InfraError) -> Self {
        Self::Failure(error.into())
    }
}

impl FuzzError {
    /// The verdict of a command that ends this way.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::OtherRun { .. } | Self::InUse { .. } => Verdict::Usage,
            Self::Failure(failure) => failure.verdict(),
        }
    }
}

/// What the guests share.
struct Run<'a> {
    options: &'a FuzzOptions,
    config: Config,
    /// That of each cell.
    kernels: Vec<Kernel>,
    queue: Queue<'a>,
    state: Mutex<State>,
    /// Held by the guest that shrinks.
    shrinking: Mutex<()>,
    regressions: Vec<(PathBuf, Regression)>,
    progress: &'a FuzzProgress,
}

/// Runs until the budget ends, or `stopped` is set.
///
/// # Errors
///
/// When nothing can be run; whatever happens later is in the report.
pub fn run(
    options: &FuzzOptions,
    stopped: &AtomicBool,
    progress: &FuzzProgress,
) -> Result<FuzzReport, FuzzError> {
    let _lock = options.out.as_deref().map(lock).transpose()?;
    let state = begin(options)?;
    let regressions = regression::all(&options.regressions)?;
    boot::check_qemu(&options.cells[0].qemu)?;
    let resolve = |setup: &Setup| kernels::resolve(&setup.kernel, &|text| progress.say(text));
    let kernels = options.cells.iter().map(resolve).collect::<Result<Vec<Kernel>, _>>()?;
    let started = Instant::now();
    let until = options.duration.map(|duration| started + duration);
    let done = state.cells.iter().map(|cell| cell.done.clone()).collect::<Vec<_>>().into_iter();
    let range = options.shard.range(state.config.seeds());
    let queue = Queue::new(range, done, !regressions.is_empty(), until, stopped);
    let before = state.clone();
    let config = state.config.clone();
    let run = Run {
        options,
        config,
        kernels,
        queue,
        state: Mutex::new(state),
        shrinking: Mutex::new(()),
        regressions,
        progress,
    };
    let failure = side_by_side(&run);
    let interrupted = stopped.load(Ordering::Relaxed)
        && (options.calls.is_some() || until.is_some_and(|until| Instant::now() < until));
    let replayed = run.regressions.len();
    let mut state = run.state.into_inner().expect("no holder panics");
    state.seconds = before.seconds + started.elapsed().as_secs_f64();
    if let Some(out) = &options.out {
        state.save(out)?;
    }
    Ok(FuzzReport::new(options, &before, &state, started.elapsed(), failure, interrupted, replayed))
}

/// As many guests as the machine has CPUs; gives the first failure that ended one.
fn side_by_side(run: &Run<'_>) -> Option<Failure> {
    let guests = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        // QEMU dies with the thread that started it, so that a guest stays with its own.
        let lanes: Vec<_> = (0..guests).map(|_| scope.spawn(|| Lane::new(run).work())).collect();
        let ended = lanes.into_iter().map(|lane| lane.join().expect("a lane does not panic"));
        ended.filter_map(Result::err).fold(None, |first, failure| first.or(Some(failure)))
    })
}

/// Held while a run writes into its folder.
fn lock(folder: &Path) -> Result<std::fs::File, FuzzError> {
    crate::cache::make_folder(folder)?;
    let path = folder.join("lock");
    let file = std::fs::File::create(&path).map_err(InfraError::file("create", &path))?;
    file.try_lock().map_err(|_| FuzzError::InUse { folder: folder.into() })?;
    Ok(file)
}

/// The state to go on with: that of the folder, if it is of the same run.
fn begin(options: &FuzzOptions) -> Result<State, FuzzError> {
    let kept = options.out.as_deref().map(State::load).transpose()?.flatten();
    let seed =
        options.seed.or(kept.as_ref().map(|kept| kept.config.seed)).unwrap_or(options.fresh_seed);
    let config = Config {
        harness: env!("CARGO_PKG_VERSION").into(),
        seed,
        calls: options.calls,
        calls_per_seed: CALLS_PER_PLAN,
        tracer: options.cells[0]
            .mutant
            .map_or_else(|| "settime32-tracer".into(), |name| format!("settime32-mutant {name}")),
        cells: options
            .cells
            .iter()
            .map(|setup| setup_words(setup).trim_start().to_owned())
            .collect(),
    };
    let Some(kept) = kept else { return Ok(State::new(config, options.shard)) };
    let folder = options.out.clone().unwrap_or_default();
    if let Some(difference) = kept.config.difference(&config) {
        return Err(FuzzError::OtherRun { folder, difference });
    }
    if kept.shards != [options.shard] {
        let there = kept.shards.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        return Err(FuzzError::OtherRun {
            folder,
            difference: format!("shard: {there} there, {} here", options.shard),
        });
    }
    Ok(kept)
}

impl Run<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Takes a finding for one of a known fault, if it is; a place is noted with it.
    fn count(&self, signature: &Signature, cell: usize, place: Option<u64>) -> bool {
        let seen =
            place.map(|place| (self.options.cells[cell].to_string(), self.config.seed_at(place)));
        self.state().known(signature).map(|fault| fault.seen.extend(seen)).is_some()
    }

    /// Whether a fault was seen in this seed.
    fn saw(&self, fault: &Fault, cell: usize, place: u64) -> bool {
        fault.seen.contains(&(self.options.cells[cell].to_string(), self.config.seed_at(place)))
    }

    fn add(&self, fault: Fault) {
        let mut state = self.state();
        state.add(fault);
        self.progress.faults(state.faults.len());
    }

    /// Takes down what a turn did, which was judged before.
    fn record(&self, cell: usize, places: &[u64], findings: &Findings) {
        let mut state = self.state();
        let calls: u64 = places.iter().map(|place| self.config.calls_of(*place)).sum();
        let of = &mut state.cells[cell];
        places.iter().for_each(|place| of.done.insert(*place));
        of.calls += calls;
        of.captured += findings.checked;
        of.lost += findings.lost;
        self.progress.verified(findings.checked, places.len() as u64);
        if let Some(out) = &self.options.out {
            // The end of the run writes it again, and says what is wrong if it cannot.
            let _ = state.save(out);
        }
    }

    /// The command that runs a regression again.
    fn replay(&self, cell: usize, file: &Path) -> String {
        let setup = &self.options.cells[cell];
        format!(
            "cargo harness replay {}{}",
            quoted(&file.display().to_string()),
            setup_words(setup)
        )
    }
}
