//! The templates in the user's cache: a folder each, which is whole or not there, a lock each, and
//! a limit for all.
//!
//! Who makes or removes a template holds its lock alone; who starts a guest from it shares the lock
//! until the guest has the files open. The kernel takes locks back from processes that end, in
//! whatever way.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::setback::Setback;
use crate::cache::{self, Lock};
use crate::failure::HostError;
use crate::say::Say;

/// Disk space that all templates may use together; beyond it, those that were not used for longest
/// go.
const LIMIT: u64 = 6 << 30;

const RECORD: &str = "template.json";
const MEMORY: &str = "memory";
const STATE: &str = "state";

/// Ending of the name under which a template is made.
const MAKING: &str = ".making";
/// Ending of the name of its lock.
const LOCK: &str = ".lock";

/// What is known of a template that is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Tells it from others of the same key, made earlier or later.
    pub made: u128,
    /// The kernel refuses the preparation, and there is nothing to start from.
    pub refused: bool,
    /// What the preparation gave for each copy.
    pub said: String,
}

/// A template, there or not.
#[derive(Debug)]
pub(super) struct Template {
    root: PathBuf,
    key: String,
}

fn root() -> PathBuf {
    cache::folder().join("templates")
}

impl Template {
    pub(super) fn new(key: String) -> Self {
        Self { root: root(), key }
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.root.join(&self.key)
    }

    /// The guest's memory.
    pub(super) fn memory(&self) -> PathBuf {
        self.folder().join(MEMORY)
    }

    /// The state of its machine.
    pub(super) fn state(&self) -> PathBuf {
        self.folder().join(STATE)
    }

    /// It stays when the template is removed, since somebody may be waiting for it.
    fn lock_path(&self) -> PathBuf {
        self.root.join(format!("{}{LOCK}", self.key))
    }

    /// What is known of it, when it is whole.
    pub(super) fn record(&self) -> Option<Record> {
        serde_json::from_slice(&fs::read(self.folder().join(RECORD)).ok()?).ok()
    }

    /// Takes down that it is used, and keeps it from being removed as long as the lock is held.
    /// `None` when it is not there.
    pub(super) fn share(&self) -> Result<Option<(Record, Lock)>, HostError> {
        if self.record().is_none() {
            return Ok(None);
        }
        let lock = cache::share_at(&self.lock_path())?;
        let Some(record) = self.record() else { return Ok(None) };
        // Failing, it is removed earlier than it need be.
        let _ = File::open(self.folder().join(RECORD))
            .and_then(|file| file.set_modified(SystemTime::now()));
        Ok(Some((record, lock)))
    }

    /// Waits until nobody else has to do with it.
    pub(super) fn lock(&self, say: Say) -> Result<Lock, HostError> {
        cache::lock_at(&self.lock_path(), say)
    }

    /// Has it made by `make`, in a folder that gets its name when all is on the disk. The lock must
    /// be held alone.
    pub(super) fn put<E>(
        &self,
        make: impl FnOnce(&Path) -> Result<Record, Setback<E>>,
    ) -> Result<Record, Setback<E>> {
        let making = self.root.join(format!("{}{MAKING}", self.key));
        // A run that was killed left the first; nothing leaves the second, which has no record.
        remove(&making)?;
        remove(&self.folder())?;
        cache::make_folder(&making)?;
        let made = make(&making).and_then(|record| Ok(self.finish(&making, record)?));
        if made.is_err() {
            // What is wrong is said already.
            let _ = fs::remove_dir_all(&making);
        }
        made
    }

    fn finish(&self, making: &Path, record: Record) -> Result<Record, HostError> {
        let sync = |path: &Path| {
            File::open(path)
                .and_then(|file| file.sync_all())
                .map_err(HostError::file("write", path))
        };
        for path in [making.join(MEMORY), making.join(STATE)].iter().filter(|path| path.exists()) {
            sync(path)?;
        }
        let text = serde_json::to_vec(&record).expect("a record is plain data");
        cache::write_whole(&making.join(RECORD), &text)?;
        sync(making)?;
        fs::rename(making, self.folder())
            .map_err(HostError::file("rename a folder to", self.folder()))?;
        Ok(record)
    }

    /// Removes it, unless it has been made anew since `record` was read.
    pub(super) fn discard(&self, record: &Record) -> Result<(), HostError> {
        let _lock = cache::lock_at(&self.lock_path(), &|_| {})?;
        if self.record().is_some_and(|now| now.made == record.made) {
            remove(&self.folder())
        } else {
            Ok(())
        }
    }
}

/// Where [`super::make`] puts the memory.
pub(super) fn memory_in(folder: &Path) -> PathBuf {
    folder.join(MEMORY)
}

/// Where [`super::make`] puts the state.
pub(super) fn state_in(folder: &Path) -> PathBuf {
    folder.join(STATE)
}

fn remove(folder: &Path) -> Result<(), HostError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(HostError::file("remove", folder)(error))
        }
        _ => Ok(()),
    }
}

/// Makes room: removes what killed runs left half-made, and templates that were not used for
/// longest, until all take no more than [`LIMIT`]. What is in use stays.
pub(super) fn prune(say: Say) {
    if let Err(error) = prune_to(&root(), LIMIT) {
        say(&format!("failed to remove old templates: {error}"));
    }
}

fn prune_to(root: &Path, limit: u64) -> Result<(), HostError> {
    let listed = fs::read_dir(root).map_err(HostError::file("list", root))?;
    let names = listed.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let names: Vec<String> = names.filter(|name| !name.ends_with(LOCK)).collect();
    for name in names.iter().filter(|name| name.ends_with(MAKING)) {
        remove_unused(root, name)?;
    }
    let mut whole: Vec<(SystemTime, u64, &String)> = names
        .iter()
        .filter(|name| !name.ends_with(MAKING))
        .map(|name| (used(&root.join(name)), size(&root.join(name)), name))
        .collect();
    whole.sort();
    let mut total: u64 = whole.iter().map(|(_, size, _)| size).sum();
    for (_, size, name) in whole {
        if total <= limit {
            break;
        }
        remove_unused(root, name)?;
        total -= size;
    }
    Ok(())
}

fn remove_unused(root: &Path, name: &str) -> Result<(), HostError> {
    let key = name.strip_suffix(MAKING).unwrap_or(name);
    match cache::try_lock_at(&Template { root: root.into(), key: key.into() }.lock_path())? {
        Some(_lock) => remove(&root.join(name)),
        None => Ok(()),
    }
}

fn used(folder: &Path) -> SystemTime {
    fs::metadata(folder.join(RECORD))
        .and_then(|metadata| metadata.modified())
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Bytes that it takes on the disk: most of a guest's memory was never written.
fn size(folder: &Path) -> u64 {
    let files = [MEMORY, STATE]
        .map(|name| fs::metadata(folder.join(name)).map_or(0, |metadata| metadata.blocks() * 512));
    files.iter().sum()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A template of 1 MiB that was used so many seconds after 1970.
    fn template(root: &Path, key: &str, used_s: u64) {
        let folder = root.join(key);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(MEMORY), vec![1; 1 << 20]).unwrap();
        fs::write(folder.join(RECORD), "{}").unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(used_s);
        File::options().write(true).open(folder.join(RECORD)).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn those_not_used_for_longest_make_room() {
        let root = tempfile::tempdir().unwrap();
        [("new", 3), ("old", 1), ("middle", 2)]
            .iter()
            .for_each(|(key, used_s)| template(root.path(), key, *used_s));
        fs::create_dir(root.path().join("killed.making")).unwrap();
        prune_to(root.path(), (2 << 20) + (1 << 19)).unwrap();
        // Nobody makes what is half-made.
        assert_eq!(
            ["new", "middle", "old", "killed.making"].map(|name| root.path().join(name).exists()),
            [true, true, false, false]
        );
    }

    #[test]
    fn what_is_in_use_stays() {
        let root = tempfile::tempdir().unwrap();
        template(root.path(), "used", 1);
        let one = Template { root: root.path().into(), key: "used".into() };
        let lock = cache::share_at(&one.lock_path()).unwrap();
        prune_to(root.path(), 0).unwrap();
        assert!(one.folder().exists());
        drop(lock);
        prune_to(root.path(), 0).unwrap();
        assert!(!one.folder().exists());
    }
}
