//! Joins what shards have done into what one run would have done.

use std::path::{Path, PathBuf};

use super::state::{REGRESSIONS, State};
use crate::cache;
use crate::failure::InfraError;
use crate::report::quoted;
use crate::verdict::Verdict;

/// Why folders cannot be joined.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// No run was there.
    #[error("failed to find the state of a run in {}; give the folders that were given to --out", folder.display())]
    NoState {
        /// The folder.
        folder: PathBuf,
    },
    /// They are not of one run.
    #[error("{} and {} are not of one run: {difference}", first.display(), folder.display())]
    Differ {
        /// The first folder.
        first: PathBuf,
        /// The other one.
        folder: PathBuf,
        /// In what.
        difference: String,
    },
    /// They have seeds in common.
    #[error("{} has seeds that were done by a folder before it, on {cell}: {seeds}; each shard must be there once", folder.display())]
    Overlap {
        /// The folder.
        folder: PathBuf,
        /// Kernel and attach mode.
        cell: String,
        /// The first of them.
        seeds: String,
    },
    /// The host's files.
    #[error(transparent)]
    Infra(#[from] InfraError),
}

/// Joins the states of the folders.
///
/// # Errors
///
/// When they are not parts of one run, each seed once.
pub fn merge(folders: &[PathBuf]) -> Result<State, MergeError> {
    let mut merged: Option<State> = None;
    for folder in folders {
        let state =
            State::load(folder)?.ok_or_else(|| MergeError::NoState { folder: folder.clone() })?;
        match &mut merged {
            None => merged = Some(state),
            Some(merged) => join(merged, state, &folders[0], folder)?,
        }
    }
    merged.ok_or_else(|| MergeError::NoState { folder: PathBuf::from(".") })
}

fn join(merged: &mut State, state: State, first: &Path, folder: &Path) -> Result<(), MergeError> {
    let refused =
        |difference| MergeError::Differ { first: first.into(), folder: folder.into(), difference };
    let counts = |state: &State| state.shards.first().map_or(1, |shard| shard.count());
    if let Some(difference) = merged.config.difference(&state.config) {
        return Err(refused(difference));
    }
    if counts(merged) != counts(&state) {
        return Err(refused(format!(
            "shards: one of {} there, one of {} here",
            counts(merged),
            counts(&state)
        )));
    }
    for (cell, other) in merged.cells.iter_mut().zip(&state.cells) {
        if let Some(range) = cell.done.overlap(&other.done) {
            let seed = |at| state.config.seed_at(at);
            let seeds = format!("{} to {}", seed(range.start), seed(range.end - 1));
            return Err(MergeError::Overlap {
                folder: folder.into(),
                cell: cell.name.clone(),
                seeds,
            });
        }
        other.done.iter().for_each(|range| cell.done.insert_range(range));
        (cell.calls, cell.captured, cell.lost) =
            (cell.calls + other.calls, cell.captured + other.captured, cell.lost + other.lost);
        cell.not_run = cell.not_run.take().or_else(|| other.not_run.clone());
    }
    merged.shards.extend(&state.shards);
    merged.shards.sort();
    merged.shards.dedup();
    state.faults.into_iter().for_each(|fault| merged.add(fault));
    merged.seconds += state.seconds;
    Ok(())
}

impl MergeError {
    /// The verdict of a command that ends this way.
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Infra(_) => Verdict::Infrastructure,
            Self::NoState { .. } | Self::Differ { .. } | Self::Overlap { .. } => Verdict::Usage,
        }
    }
}

/// Writes what was joined, with the regressions of all folders, as a run's folder; the faults then
/// name the files there.
///
/// # Errors
///
/// Those of the file system.
pub fn keep(merged: &mut State, folders: &[PathBuf], out: &Path) -> Result<(), InfraError> {
    for folder in
        folders.iter().map(|folder| folder.join(REGRESSIONS)).filter(|folder| folder.exists())
    {
        let listed = std::fs::read_dir(&folder).map_err(InfraError::file("list", &folder))?;
        for from in listed.flatten().map(|entry| entry.path()) {
            let Some(name) = from.file_name() else { continue };
            let content = std::fs::read(&from).map_err(InfraError::file("read", &from))?;
            cache::write_whole(&out.join(REGRESSIONS).join(name), &content)?;
        }
    }
    for fault in &mut merged.faults {
        let Some(name) = fault.file.file_name() else { continue };
        let kept = out.join(REGRESSIONS).join(name);
        let word = |path: &Path| quoted(&path.display().to_string()).into_owned();
        fault.replay = fault.replay.replace(&word(&fault.file), &word(&kept));
        if Path::new(&fault.c) == fault.file.with_extension("c") {
            fault.c = kept.with_extension("c").display().to_string();
        }
        fault.file = kept;
    }
    merged.save(out)
}

#[cfg(test)]
mod tests {
    use super::super::shard::Shard;
    use super::super::state::Cell;
    use super::super::state::tests::{config, fault};
    use super::*;

    /// A run that did these places on its first cell; each place was captured whole and showed a
    /// fault of its parity.
    fn ran(shard: Shard, places: std::ops::Range<u64>) -> State {
        let mut state = State::new(config(Some(95_000)), shard);
        for at in places {
            let calls = state.config.calls_of(at);
            let seed = state.config.seed_at(at);
            let cell: &mut Cell = &mut state.cells[0];
            cell.done.insert(at);
            (cell.calls, cell.captured, cell.lost) =
                (cell.calls + calls, cell.captured + calls - 1, cell.lost + 1);
            state.add(fault(if at % 2 == 0 { &["ret"] } else { &["old"] }, seed));
        }
        state
    }

    fn kept(states: &[State]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let folders: Vec<PathBuf> =
            (0..states.len()).map(|at| folder.path().join(at.to_string())).collect();
        states.iter().zip(&folders).for_each(|(state, folder)| state.save(folder).unwrap());
        (folder, folders)
    }

    #[test]
    fn the_union_of_shards_is_the_whole_run() {
        for count in 1..=12 {
            let shard = |number| format!("{number}/{count}").parse::<Shard>().unwrap();
            let parts: Vec<State> =
                (1..=count).map(|number| ran(shard(number), shard(number).range(10))).collect();
            let (_folder, mut folders) = kept(&parts);
            folders.reverse();
            let merged = merge(&folders).unwrap();
            let whole = ran(Shard::WHOLE, 0..10);
            assert_eq!(merged.cells, whole.cells);
            let seen = |state: &State| {
                let mut faults: Vec<_> = state
                    .faults
                    .iter()
                    .map(|fault| (fault.title.clone(), fault.seen.clone()))
                    .collect();
                faults.sort();
                faults
            };
            assert_eq!(seen(&merged), seen(&whole));
            assert_eq!(merged.shards, shard(1).siblings().collect::<Vec<_>>());
            let gaps: Vec<String> =
                merged.gaps().into_iter().filter(|gap| !gap.starts_with("6.1 ")).collect();
            assert_eq!(gaps, [""; 0], "{count} shards");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let shard = |text: &str| text.parse::<Shard>().unwrap();
        let (_folder, folders) = kept(&[ran(shard("1/3"), 0..3), ran(shard("3/3"), 6..10)]);
        let merged = merge(&folders).unwrap();
        assert!(
            merged.gaps().contains(&"shard 2/3 is not there".to_owned()),
            "{:?}",
            merged.gaps()
        );
        assert!(!merged.gaps().iter().any(|gap| gap.contains("6.12 kprobe, shard")));
    }

    #[test]
    fn parts_of_different_runs_and_the_same_part_twice_are_refused() {
        let shard: Shard = "1/2".parse().unwrap();
        let part = || ran(shard, 0..5);
        let mut other = part();
        other.config.seed += 1;
        let refused = |states: &[State]| merge(&kept(states).1).unwrap_err();
        assert!(
            matches!(refused(&[part(), other]), MergeError::Differ { difference, .. } if difference == "seed: 100 there, 101 here")
        );
        assert!(
            matches!(refused(&[part(), ran("1/3".parse().unwrap(), 7..8)]), MergeError::Differ { difference, .. } if difference.contains("one of 2 there, one of 3 here"))
        );
        assert!(
            matches!(refused(&[part(), ran("2/2".parse().unwrap(), 4..9)]), MergeError::Overlap { seeds, .. } if seeds == "104 to 104")
        );
        assert!(matches!(
            merge(&[PathBuf::from("/nonexistent")]).unwrap_err(),
            MergeError::NoState { .. }
        ));
    }

    #[test]
    fn regressions_of_all_folders_are_kept() {
        let (folder, folders) =
            kept(&[ran("1/2".parse().unwrap(), 0..5), ran("2/2".parse().unwrap(), 5..10)]);
        for (at, folder) in folders.iter().enumerate() {
            cache::write_whole(&folder.join(REGRESSIONS).join(format!("{at}.json")), b"{}")
                .unwrap();
        }
        let out = folder.path().join("out");
        let mut merged = merge(&folders).unwrap();
        merged.faults[0].replay = "cargo harness replay a.json --kernel 6.12".into();
        keep(&mut merged, &folders, &out).unwrap();
        let kept = out.join(REGRESSIONS).join("a.json");
        assert_eq!(
            merged.faults[0].replay,
            format!("cargo harness replay {} --kernel 6.12", kept.display())
        );
        assert_eq!(State::load(&out).unwrap(), Some(merged));
        assert!(["0.json", "1.json"].iter().all(|name| out.join(REGRESSIONS).join(name).exists()));
    }
}
