//! What the cache knows of a kernel: where it came from, and what its files must be.

use serde::{Deserialize, Serialize};

/// What is recorded beside a cached kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Debian package.
    pub package: String,
    /// Its version.
    pub version: String,
    /// Files in the same folder, image first, then modules in the order in which they are loaded.
    pub files: Vec<FileRecord>,
}

/// A file of a cached kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileRecord {
    /// Its name.
    pub name: String,
    /// Its digest, hexadecimal.
    pub sha256: String,
}

/// File name of a [`Record`].
pub(super) const RECORD: &str = "kernel.json";
/// File name of the image in the cache.
pub(super) const IMAGE: &str = "vmlinuz";
