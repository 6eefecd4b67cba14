//! What a fuzzing run has done, in a file that a later run goes on from and `merge` joins with
//! others. Written whole or not at all; a run that is killed repeats at most the seeds that were
//! not written yet.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::ranges::Ranges;
use super::shard::Shard;
use crate::cache;
use crate::failure::InfraError;
use crate::shrink::Signature;

/// Of the file's layout.
const FORMAT: u32 = 1;

/// The file in a run's folder.
pub const FILE: &str = "state.json";

/// The folder beside it in which failures are.
pub const REGRESSIONS: &str = "regressions";

/// Seeds of a run that has no number of calls: more than any run gets through, so that shards of it
/// never meet.
const ENDLESS_SEEDS: u64 = 1 << 32;

/// What decides a run's calls and what they are compared with; shards of one run have the same.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Version of the harness.
    pub harness: String,
    /// The first seed.
    pub seed: u64,
    /// Calls of all shards on each kernel and attach mode; `None` is without end.
    pub calls: Option<u64>,
    /// Calls of a seed.
    pub calls_per_seed: u64,
    /// The tracer.
    pub tracer: String,
    /// The kernels and attach modes, in words.
    pub cells: Vec<String>,
}

impl Config {
    /// Seeds of all shards.
    pub fn seeds(&self) -> u64 {
        self.calls.map_or(ENDLESS_SEEDS, |calls| calls.div_ceil(self.calls_per_seed))
    }

    /// Calls of the seed at this place, from 0: the last has what is left.
    pub fn calls_of(&self, at: u64) -> u64 {
        let left =
            self.calls.map_or(u64::MAX, |calls| calls.saturating_sub(at * self.calls_per_seed));
        self.calls_per_seed.min(left)
    }

    /// The seed at this place.
    pub const fn seed_at(&self, at: u64) -> u64 {
        self.seed.wrapping_add(at)
    }

    /// In what another differs, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let calls = |config: &Self| config.calls.map_or("no end".into(), |calls| calls.to_string());
        let pairs = [
            ("version", self.harness.clone(), other.harness.clone()),
            ("seed", self.seed.to_string(), other.seed.to_string()),
            ("calls", calls(self), calls(other)),
            ("calls of a seed", self.calls_per_seed.to_string(), other.calls_per_seed.to_string()),
            ("tracer", self.tracer.clone(), other.tracer.clone()),
            ("kernels and attach modes", self.cells.join(", "), other.cells.join(", ")),
        ];
        pairs
            .into_iter()
            .find(|(_, one, two)| one != two)
            .map(|(what, one, two)| format!("{what}: {one} there, {two} here"))
    }
}

/// A kernel and attach mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// In words.
    pub name: String,
    /// Places of the seeds that are done, from 0.
    pub done: Ranges,
    /// Calls that those seeds have.
    pub calls: u64,
    /// Calls of them whose event was there and was compared.
    pub captured: u64,
    /// Events that the tracer counted as lost.
    pub lost: u64,
    /// Why nothing could be run, when this kernel cannot be traced this way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_run: Option<String>,
}

/// A fault; all that is alike in what it is known by is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What it is, in words; no two have the same.
    pub title: String,
    /// Of a finding; `None` of a guest that failed.
    pub signature: Option<Signature>,
    /// Cells and seeds that showed it.
    pub seen: BTreeSet<(String, u64)>,
    /// What was made of the plan.
    pub note: String,
    /// The smallest plan in words.
    pub words: Vec<String>,
    /// What the oracle says of it.
    pub finding: Vec<String>,
    /// The regression's file.
    pub file: PathBuf,
    /// The C program, or why there is none.
    pub c: String,
    /// The command that shows it again.
    pub replay: String,
}

/// See the head of this file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    format: u32,
    /// What the calls are.
    pub config: Config,
    /// Which shards are in it.
    pub shards: Vec<Shard>,
    /// What was done.
    pub cells: Vec<Cell>,
    /// What was found.
    pub faults: Vec<Fault>,
    /// Seconds that it took, of all shards together.
    pub seconds: f64,
}

impl State {
    /// Nothing is done.
    pub fn new(config: Config, shard: Shard) -> Self {
        let cells = config
            .cells
            .iter()
            .map(|name| Cell { name: name.clone(), ..Cell::default() })
            .collect();
        Self {
            format: FORMAT,
            config,
            shards: vec![shard],
            cells,
            faults: Vec::new(),
            seconds: 0.0,
        }
    }

    /// That of a run's folder; `None` where there is none.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or is not of this version.
    pub fn load(folder: &Path) -> Result<Option<Self>, InfraError> {
        let path = folder.join(FILE);
        let bytes = match std::fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            read => read.map_err(InfraError::file("read", &path))?,
        };
        let refused = |reason| InfraError::FuzzState { path: path.clone(), reason };
        let state: Self =
            serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))?;
        if state.format == FORMAT {
            Ok(Some(state))
        } else {
            Err(refused(format!("it is of format {}", state.format)))
        }
    }

    /// Writes it into the folder.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn save(&self, folder: &Path) -> Result<(), InfraError> {
        let text = serde_json::to_vec_pretty(self).expect("a state is plain data");
        Ok(cache::write_whole(&folder.join(FILE), &text)?)
    }

    /// Takes a fault in; one that is known is only seen once more.
    pub fn add(&mut self, fault: Fault) {
        let known =
            self.faults.iter_mut().find(|known| match (&known.signature, &fault.signature) {
                (Some(known), Some(signature)) => known.explains(signature),
                _ => known.title == fault.title,
            });
        match known {
            Some(known) => known.seen.extend(fault.seen),
            None => self.faults.push(fault),
        }
    }

    /// The fault that explains this.
    pub fn known(&mut self, signature: &Signature) -> Option<&mut Fault> {
        self.faults
            .iter_mut()
            .find(|fault| fault.signature.as_ref().is_some_and(|known| known.explains(signature)))
    }

    /// Sum over the cells.
    pub fn total(&self, of: impl Fn(&Cell) -> u64) -> u64 {
        self.cells.iter().map(of).sum()
    }

    /// Seeds of its shards that are not done, in words. Without an end there are none but those
    /// between done ones.
    pub fn gaps(&self) -> Vec<String> {
        let mut gaps = Vec::new();
        for shard in &self.shards {
            let range = shard.range(self.config.seeds());
            for cell in self.cells.iter().filter(|cell| cell.not_run.is_none()) {
                let last = cell
                    .done
                    .iter()
                    .filter(|done| done.start < range.end)
                    .last()
                    .map_or(range.start, |done| done.end);
                let end = if self.config.calls.is_some() {
                    range.end
                } else {
                    last.clamp(range.start, range.end)
                };
                let missing = cell.done.gaps(range.start..end);
                if !missing.is_empty() {
                    gaps.push(format!(
                        "{}, shard {shard}: seeds {} are not done",
                        cell.name,
                        self.in_seeds(&missing)
                    ));
                }
            }
        }
        let absent = self
            .shards
            .first()
            .into_iter()
            .flat_map(|shard| shard.siblings())
            .filter(|shard| !self.shards.contains(shard));
        gaps.extend(absent.map(|shard| format!("shard {shard} is not there")));
        gaps
    }

    fn in_seeds(&self, places: &Ranges) -> String {
        let mut seeds = Ranges::default();
        places.iter().for_each(|range| {
            seeds.insert_range(self.config.seed_at(range.start)..self.config.seed_at(range.end))
        });
        seeds.to_string()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::oracle::Kind;
    use crate::work::CALLS_PER_PLAN;

    pub(crate) fn config(calls: Option<u64>) -> Config {
        Config {
            harness: "1".into(),
            seed: 100,
            calls,
            calls_per_seed: CALLS_PER_PLAN,
            tracer: "settime32-tracer".into(),
            cells: vec!["6.12 kprobe".into(), "6.1 kprobe".into()],
        }
    }

    pub(crate) fn fault(fields: &[&str], seed: u64) -> Fault {
        let signature = Signature {
            kind: Kind::Field,
            fields: fields.iter().map(ToString::to_string).collect(),
        };
        Fault {
            title: signature.to_string(),
            signature: Some(signature),
            seen: [("6.12 kprobe".to_owned(), seed)].into(),
            note: String::new(),
            words: Vec::new(),
            finding: Vec::new(),
            file: PathBuf::from("a.json"),
            c: String::new(),
            replay: String::new(),
        }
    }

    #[test]
    fn the_calls_of_all_seeds_are_the_calls_asked_for() {
        for calls in [1, 9_999, 10_000, 10_001, 123_456] {
            let config = config(Some(calls));
            assert_eq!((0..config.seeds()).map(|at| config.calls_of(at)).sum::<u64>(), calls);
            assert!((0..config.seeds()).all(|at| config.calls_of(at) > 0));
        }
        assert_eq!(config(None).calls_of(ENDLESS_SEEDS - 1), CALLS_PER_PLAN);
    }

    #[test]
    fn a_state_survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), None);
        let mut state = State::new(config(Some(50_000)), "2/3".parse().unwrap());
        state.cells[0].done.insert_range(2..4);
        state.add(fault(&["ret"], 102));
        state.save(folder.path()).unwrap();
        assert_eq!(State::load(folder.path()).unwrap(), Some(state));
        std::fs::write(folder.path().join(FILE), "{").unwrap();
        assert!(State::load(folder.path()).unwrap_err().to_string().contains(FILE));
    }

    #[test]
    fn a_known_fault_is_counted_and_not_kept_twice() {
        let mut state = State::new(config(None), Shard::WHOLE);
        for (fields, seed) in
            [(&["ret"][..], 100), (&["ret"], 101), (&["errno", "ret"], 101), (&["old"], 103)]
        {
            state.add(fault(fields, seed));
        }
        let seen: Vec<usize> = state.faults.iter().map(|fault| fault.seen.len()).collect();
        assert_eq!(seen, [2, 1]);
    }

    #[test]
    fn gaps_are_named_by_their_seeds() {
        let mut state = State::new(config(Some(100_000)), "1/2".parse().unwrap());
        state.cells.truncate(1);
        state.cells[0].done.insert_range(0..2);
        state.cells[0].done.insert_range(4..5);
        assert_eq!(
            state.gaps(),
            ["6.12 kprobe, shard 1/2: seeds 102 to 103 are not done", "shard 2/2 is not there"]
        );
        // Without an end the seeds behind the last are no gap.
        let mut endless = State::new(config(None), Shard::WHOLE);
        endless.cells[0].done.insert_range(0..2);
        endless.cells[0].done.insert_range(3..5);
        assert_eq!(endless.gaps(), ["6.12 kprobe, shard 1/1: seeds 102 are not done"]);
    }

    #[test]
    fn what_differs_is_said() {
        assert_eq!(config(Some(1)).difference(&config(Some(1))), None);
        assert_eq!(
            config(Some(1)).difference(&config(None)).unwrap(),
            "calls: 1 there, no end here"
        );
    }
}
