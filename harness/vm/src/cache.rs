//! A folder in the user's cache: fetched kernels, what was learnt about the machine,
//! records of failed runs. Everything in it can be removed at any time.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::failure::HostError;
use crate::say::Say;

/// Overrides the folder.
pub const CACHE_ENV: &str = "SETTIME32_CACHE";

/// The cache's folder: [`CACHE_ENV`], else `settime32` in the user's cache folder (XDG base
/// directories), else in the system's folder for temporary files.
pub fn folder() -> PathBuf {
    if let Some(path) = std::env::var_os(CACHE_ENV) {
        return path.into();
    }
    let base = directories::BaseDirs::new().map(|dirs| dirs.cache_dir().to_path_buf());
    base.unwrap_or_else(std::env::temp_dir).join("settime32")
}

/// Makes a folder and those above it.
pub fn make_folder(path: &Path) -> Result<(), HostError> {
    fs::create_dir_all(path).map_err(HostError::file("create", path))
}

/// Writes a file whole or not at all: under another name first, then renamed.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), HostError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let write = || -> std::io::Result<()> {
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(HostError::file("write", path))
}

/// An exclusive lock between processes; given back when dropped or when the process ends
/// (`flock(2)`).
#[derive(Debug)]
pub struct Lock {
    file: File,
}

/// Waits this long for a lock without a word: who checks a kernel holds one for an instant.
const QUIET_WAIT: Duration = Duration::from_secs(2);

/// Waits for the lock `name` of the cache, and says so when that takes long.
pub fn lock(name: &str, say: Say) -> Result<Lock, HostError> {
    lock_at(&folder().join("locks").join(name), say)
}

/// The same with a file for the lock's own.
pub fn lock_at(path: &Path, say: Say) -> Result<Lock, HostError> {
    let file = lock_file(path)?;
    let started = Instant::now();
    while file.try_lock().is_err() {
        if started.elapsed() < QUIET_WAIT {
            std::thread::sleep(Duration::from_millis(10));
            continue;
        }
        say(&format!("waiting for another run that holds {}", path.display()));
        file.lock().map_err(HostError::file("lock", path))?;
        break;
    }
    Ok(Lock { file })
}

/// A lock that others may hold side by side, but not together with [`lock_at`]; waits for it.
pub fn share_at(path: &Path) -> Result<Lock, HostError> {
    let file = lock_file(path)?;
    file.lock_shared().map_err(HostError::file("lock", path))?;
    Ok(Lock { file })
}

/// The exclusive lock, unless somebody holds it.
pub fn try_lock_at(path: &Path) -> Result<Option<Lock>, HostError> {
    let file = lock_file(path)?;
    Ok(file.try_lock().is_ok().then_some(Lock { file }))
}

impl Lock {
    /// Lets others have it side by side with this one.
    pub fn let_share(&self) -> std::io::Result<()> {
        self.file.lock_shared()
    }
}

fn lock_file(path: &Path) -> Result<File, HostError> {
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    File::create(path).map_err(HostError::file("create", path))
}

/// Records of failed runs that are kept; older ones make room.
pub const RECORDS_KEPT: usize = 50;

/// A folder, not made yet, for the record of a run that fails now.
pub fn record_folder() -> PathBuf {
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    folder().join("failures").join(format!("{}-{}", now.as_millis(), std::process::id()))
}

/// Removes the oldest of the folders beside `folder`, whose names begin with the time of their
/// making, so that `count` are left.
pub fn keep_newest(folder: &Path, count: usize) -> Result<(), HostError> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    let listed = fs::read_dir(parent).map_err(HostError::file("list", parent))?;
    let mut folders: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    for old in folders.iter().rev().skip(count) {
        match fs::remove_dir_all(old) {
            // Another run was quicker.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            outcome => outcome.map_err(HostError::file("remove", old))?,
        }
    }
    Ok(())
}

/// SHA-256 of bytes, hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What tells a file from any other that was or will be at its path, without reading it: the kernel
/// sets the time of change, and nobody else can (`inode(7)`, `ctime`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    path: PathBuf,
    device: u64,
    inode: u64,
    len: u64,
    changed: (i64, i64),
}

impl Identity {
    /// Of the file at a path.
    pub fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Ok(Self {
            path: path.into(),
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            changed,
        })
    }
}

/// SHA-256 of a file. A file that has not changed since it was last asked for is not read again by
/// this process.
pub fn file_sha256(path: &Path) -> Result<String, HostError> {
    static KNOWN: Mutex<BTreeMap<PathBuf, (Identity, String)>> = Mutex::new(BTreeMap::new());
    let identity = Identity::of(path).map_err(HostError::file("read", path))?;
    let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, digest)) = known().get(path).filter(|(of, _)| *of == identity) {
        return Ok(digest.clone());
    }
    let digest = sha256(&fs::read(path).map_err(HostError::file("read", path))?);
    known().insert(path.into(), (identity, digest.clone()));
    Ok(digest)
}

/// Fails when a file is not what its recorded SHA-256 says.
pub fn check(path: &Path, expected: &str) -> Result<(), HostError> {
    let found = file_sha256(path)?;
    if found != expected {
        return Err(HostError::Checksum { path: path.into(), expected: expected.into(), found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_folders_are_kept() {
        let parent = tempfile::tempdir().unwrap();
        let names = ["1795506221213-7", "1795506241247-9", "1795506241300-3"];
        names.iter().for_each(|name| fs::create_dir(parent.path().join(name)).unwrap());
        keep_newest(&parent.path().join(names[2]), 2).unwrap();
        assert_eq!(names.map(|name| parent.path().join(name).exists()), [false, true, true]);
    }

    #[test]
    fn a_damaged_file_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("some/file");
        write_whole(&path, b"abc").unwrap();
        // FIPS 180-2, appendix B.1.
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check(&path, digest).unwrap();
        write_whole(&path, b"abd").unwrap();
        assert!(matches!(check(&path, digest), Err(HostError::Checksum { .. })));
        // In place, too.
        fs::write(&path, b"abc").unwrap();
        check(&path, digest).unwrap();
    }
}
