//! What can be asked for of the comparison of tracers.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::{GuestArgs, UsageError};
use crate::compare::definition::{self, Definition};
use crate::compare::{self, CompareOptions};
use crate::generate::catalogue::CASES;
use crate::setup::Setup;

/// Arguments of `compare`.
#[derive(Args, Debug)]
pub struct CompareArgs {
    /// A tracer that comes with the harness, or a TOML file that describes one of yours; all that
    /// come with it when none is named.
    #[arg(long = "tracer", value_name = "NAME|FILE", value_parser = |name: &str| Definition::load(name))]
    tracers: Vec<Definition>,
    /// List those that come with the harness.
    #[arg(long)]
    pub list: bool,
    /// Only these cases of the catalogue.
    #[arg(long = "case", value_name = "NAME", hide_possible_values = true,
          value_parser = clap::builder::PossibleValuesParser::new(CASES.iter().map(|case| case.name)))]
    cases: Vec<String>,
    /// Generated calls beside those of the cases.
    #[arg(long, default_value_t = 10_000)]
    calls: u64,
    /// Only the plan of this number; a wrong fact names its own.
    #[arg(long, value_name = "INDEX")]
    plan: Option<u64>,
    /// Calls under each tracer to measure its cost by; 0 measures none.
    #[arg(long, default_value_t = 500)]
    cost_calls: u16,
    /// Seed of the generator.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    #[command(flatten)]
    guest: GuestArgs,
    /// Wall-clock limit of each tracer, such as 90s or 5m.
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = humantime::parse_duration)]
    timeout: Duration,
    /// Keep what each tracer wrote in this folder, as it was.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Write the scoreboard as one HTML page.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

impl CompareArgs {
    /// The job on each kernel.
    ///
    /// # Errors
    ///
    /// [`UsageError::NothingToCompare`].
    pub fn jobs(&self) -> Result<Vec<CompareOptions>, UsageError> {
        let shipped = || {
            definition::shipped_names()
                .into_iter()
                .map(|name| Definition::load(name).expect("a test reads them all"))
        };
        let cases = || compare::CASES.map(str::to_owned).into();
        let options = CompareOptions {
            tracers: if self.tracers.is_empty() {
                shipped().collect()
            } else {
                self.tracers.clone()
            },
            cases: if self.cases.is_empty() { cases() } else { self.cases.clone() },
            calls: self.calls,
            plan: self.plan,
            seed: self.seed,
            cost_calls: self.cost_calls,
            setup: self.guest.clone().setup(),
            timeout: self.timeout,
            keep: self.keep.clone(),
        };
        if !options.makes_calls() {
            return Err(UsageError::NothingToCompare);
        }
        let on = |kernel: String| CompareOptions {
            setup: Setup { kernel, ..options.setup.clone() },
            ..options.clone()
        };
        Ok(super::kernels_named(self.guest.kernel.split(',').map(str::to_owned))
            .into_iter()
            .map(on)
            .collect())
    }
}
