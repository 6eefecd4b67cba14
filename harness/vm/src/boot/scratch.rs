//! The folder in which a guest's files are while it runs; it goes when the last holder does.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::cache;
use crate::failure::HostError;
use crate::say::Say;

/// File that keeps what QEMU writes to stderr.
pub(super) const QEMU_STDERR: &str = "qemu-stderr.log";

/// A folder that the guest and whoever started it own together, so that its logs can be read after a
/// boot that failed.
#[derive(Clone, Debug)]
pub struct Scratch(Arc<TempDir>);

impl Scratch {
    /// A new folder among the system's temporary files.
    pub fn new() -> Result<Self, HostError> {
        let folder = tempfile::Builder::new().prefix("settime32-vm-").tempdir();
        Ok(Self(Arc::new(
            folder.map_err(HostError::file("create a folder in", std::env::temp_dir()))?,
        )))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Where the guest's initramfs is while it boots.
    pub fn initramfs_path(&self) -> PathBuf {
        self.path().join("initramfs.cpio")
    }

    /// Where the guest's console is kept.
    pub fn console_path(&self) -> PathBuf {
        self.path().join("console.log")
    }

    /// What the guest's console showed so far; empty before QEMU has run.
    pub fn console(&self) -> String {
        self.text(&self.console_path())
    }

    /// What QEMU wrote to stderr so far.
    pub fn qemu_stderr(&self) -> String {
        self.text(&self.path().join(QEMU_STDERR))
    }

    /// Keeps what the guest's console showed in the cache, and says where.
    pub fn keep_consoles(&self, say: Say) {
        let folder = cache::record_folder();
        let files = [("console.log", self.console()), ("qemu-stderr.log", self.qemu_stderr())];
        let kept = files
            .iter()
            .try_for_each(|(name, text)| cache::write_whole(&folder.join(name), text.as_bytes()));
        match kept.and_then(|()| cache::keep_newest(&folder, cache::RECORDS_KEPT)) {
            Ok(()) => say(&format!("the guest's console is kept in {}", folder.display())),
            Err(error) => say(&format!("the guest's console could not be kept: {error}")),
        }
    }

    fn text(&self, path: &Path) -> String {
        fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }
}
