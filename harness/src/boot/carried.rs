//! Files of the host that a guest has too: each at its own path, with the symbolic links on the way, so that what
//! refers to them by path finds them. It copies; nothing that the guest does reaches the host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use super::initramfs::FOLDERS;
use crate::failure::InfraError;

/// As the kernel has it (`MAXSYMLINKS`, `include/linux/namei.h`).
const LINKS_MAX: usize = 40;

/// Folders over which the guest's agent mounts the kernel's file systems.
const MOUNTED: [&str; 3] = ["/dev", "/proc", "/sys"];

/// What is at a path of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// A folder with these permission bits.
    Folder(u32),
    /// A symbolic link.
    Link(PathBuf),
    /// A copy of the host's file at this path.
    File(PathBuf),
}

/// What a guest is given beside the harness's own programs.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Carried {
    /// Takes a file or a folder (without what is in it) at its own absolute path.
    pub fn add(&mut self, path: &Path) -> Result<(), InfraError> {
        self.follow(path).map_err(InfraError::file("read", path))
    }

    /// Takes a file, or a folder with all that is in it, to `guest`, an absolute path there.
    pub fn add_as(&mut self, host: &Path, guest: &Path) -> Result<(), InfraError> {
        self.add_folder(guest.parent().unwrap_or(Path::new("/")));
        self.copy(host, guest).map_err(InfraError::file("read", host))
    }

    /// Makes a folder in the guest, and those above it.
    pub fn add_folder(&mut self, guest: &Path) {
        let above: Vec<&Path> = guest.ancestors().filter(|path| *path != Path::new("/") && !is_own(path)).collect();
        for path in above {
            self.entries.entry(path.into()).or_insert(Entry::Folder(0o755));
        }
    }

    /// Whether it is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All of it, folders before what is in them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&Path, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_path(), entry))
    }

    fn copy(&mut self, host: &Path, guest: &Path) -> io::Result<()> {
        let metadata = fs::metadata(host)?;
        if !metadata.is_dir() {
            return self.file(host, guest);
        }
        self.folder(guest, &metadata);
        for entry in fs::read_dir(host)? {
            let entry = entry?;
            let (from, to) = (entry.path(), guest.join(entry.file_name()));
            if entry.file_type()?.is_symlink() {
                self.entries.insert(to, Entry::Link(fs::read_link(&from)?));
            } else if entry.file_type()?.is_dir() || entry.file_type()?.is_file() {
                self.copy(&from, &to)?;
            }
        }
        Ok(())
    }

    /// Goes the way that the kernel goes, and takes all that it passes.
    fn follow(&mut self, path: &Path) -> io::Result<()> {
        let names = |path: &Path| path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>();
        let mut at = PathBuf::from("/");
        let mut left = names(path);
        let mut links = 0;
        while let Some(name) = left.pop() {
            let next = match name.to_str() {
                Some("/") => "/".into(),
                Some(".") => at.clone(),
                Some("..") => at.parent().unwrap_or(Path::new("/")).into(),
                _ => at.join(&name),
            };
            // What is above `at` has been taken already.
            if at.starts_with(&next) || is_own(&next) {
                at = next;
                continue;
            }
            let metadata = fs::symlink_metadata(&next)?;
            if metadata.is_symlink() {
                links += 1;
                if links > LINKS_MAX {
                    return Err(Errno::ELOOP.into());
                }
                let target = fs::read_link(&next)?;
                left.extend(names(&target));
                self.entries.insert(next, Entry::Link(target));
            } else {
                if metadata.is_dir() {
                    self.folder(&next, &metadata);
                } else {
                    self.file(&next, &next)?;
                }
                at = next;
            }
        }
        Ok(())
    }

    fn file(&mut self, host: &Path, guest: &Path) -> io::Result<()> {
        if let Some(mounted) = MOUNTED.iter().find(|folder| guest.starts_with(folder)) {
            return Err(io::Error::other(format!("a guest has its own {mounted}, where {} would not be seen", guest.display())));
        }
        self.entries.insert(guest.into(), Entry::File(host.into()));
        Ok(())
    }

    fn folder(&mut self, guest: &Path, metadata: &fs::Metadata) {
        if !is_own(guest) {
            self.entries.insert(guest.into(), Entry::Folder(metadata.permissions().mode() & 0o7777));
        }
    }
}

/// Whether the guest has a folder of its own there, whatever the host has.
fn is_own(path: &Path) -> bool {
    path.strip_prefix("/").is_ok_and(|path| FOLDERS.iter().any(|(name, _)| path == Path::new(name)))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(carried: &Carried, path: &Path) -> Option<Entry> {
        carried.entries.get(path).cloned()
    }

    #[test]
    fn links_on_the_way_are_taken_along() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        fs::create_dir_all(at("real/deep")).unwrap();
        fs::write(at("real/deep/file.1"), "").unwrap();
        symlink("file.1", at("real/deep/file")).unwrap();
        symlink("../away/../real", at("real/loop")).unwrap();
        fs::create_dir(at("away")).unwrap();
        let mut carried = Carried::default();
        carried.add(&at("real/loop/deep/file")).unwrap();
        assert_eq!(found(&carried, &at("real/loop")), Some(Entry::Link("../away/../real".into())));
        assert_eq!(found(&carried, &at("real/deep/file")), Some(Entry::Link("file.1".into())));
        assert_eq!(found(&carried, &at("real/deep/file.1")), Some(Entry::File(at("real/deep/file.1"))));
        assert!(matches!(found(&carried, &at("away")), Some(Entry::Folder(_))));
        assert!(carried.entries().all(|(path, _)| path != Path::new("/tmp")), "/tmp is the guest's own");
    }

    #[test]
    fn what_would_be_hidden_is_refused() {
        let error = Carried::default().add(Path::new("/proc/version")).unwrap_err().to_string();
        assert!(error.contains("a guest has its own /proc"), "{error}");
    }

    #[test]
    fn a_loop_of_links_ends() {
        let root = tempfile::tempdir().unwrap();
        symlink("b", root.path().join("a")).unwrap();
        symlink("a", root.path().join("b")).unwrap();
        assert!(Carried::default().add(&root.path().join("a")).is_err());
    }

    #[test]
    fn a_folder_is_taken_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sub")).unwrap();
        fs::write(root.path().join("sub/file"), "").unwrap();
        let mut carried = Carried::default();
        carried.add_as(root.path(), Path::new("/srv/data")).unwrap();
        assert_eq!(found(&carried, Path::new("/srv")), Some(Entry::Folder(0o755)));
        assert_eq!(found(&carried, Path::new("/srv/data/sub/file")), Some(Entry::File(root.path().join("sub/file"))));
    }
}
