//! Why there is no guest from a template.

use std::path::PathBuf;

use thiserror::Error;

use crate::boot::{MonitorError, RestoreError};
use crate::failure::HostError;

/// Why there is no guest from a template; `E` is what whoever prepares the guest fails with.
#[derive(Debug, Error)]
pub(super) enum Setback<E> {
    /// The guest does not come up in any way.
    #[error(transparent)]
    Guest(E),
    /// The disk has no room for a template.
    #[error(
        "failed to keep a template in {path}: {free_mib} MiB are free there, and it may take {needed_mib} MiB; free some space, or set SETTIME32_CACHE to a folder of another disk"
    )]
    NoSpace { path: PathBuf, free_mib: u64, needed_mib: u64 },
    #[error("failed to use the cache of templates: {0}")]
    Files(#[from] HostError),
    #[error("failed to make a template: {0}")]
    Save(#[from] MonitorError),
    #[error("failed to go on from a template, which is removed: {source}{stderr}")]
    Restore { source: RestoreError, stderr: String },
}
