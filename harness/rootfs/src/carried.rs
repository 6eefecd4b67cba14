//! Files of the host that a guest has too: each at its own path, with the symbolic links on the
//! way, so that what refers to them by path finds them. They are copied; nothing that the guest
//! does reaches the host.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use settime32_vm::failure::HostError;

use crate::failure::RootfsError;

/// As the kernel has it (`MAXSYMLINKS`, `include/linux/namei.h`).
const LINKS_MAX: usize = 40;

/// Folders over which the guest's agent mounts the kernel's file systems.
const MOUNTED: [&str; 3] = ["/dev", "/proc", "/sys"];
/// Folders that the agent makes, whatever the host has there.
const OWN: [&str; 5] = ["/dev", "/proc", "/sys", "/tmp", "/run"];

/// What is at a path of the guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A folder with these permission bits.
    Folder(u32),
    /// A symbolic link.
    Link(PathBuf),
    /// A copy of the host's file at this path.
    File(PathBuf),
    /// A file that this machine has not, with this content.
    Text(&'static str),
}

/// Files for a guest, beside the programs that it booted with.
#[derive(Clone, Debug, Default)]
pub struct Carried {
    entries: BTreeMap<PathBuf, Entry>,
}

impl Carried {
    /// Takes a file or a folder (without what is in it) at its own absolute path.
    pub fn add(&mut self, path: &Path) -> Result<(), RootfsError> {
        Ok(self.follow(path).map_err(HostError::file("read", path))?)
    }

    /// Takes a file, or a folder with all that is in it, to `guest`, an absolute path there.
    pub fn add_as(&mut self, host: &Path, guest: &Path) -> Result<(), RootfsError> {
        self.add_without(host, guest, &|_| false)
    }

    /// The same without those folders below it, and what is in them, for which `leave_out` holds.
    pub fn add_without(
        &mut self,
        host: &Path,
        guest: &Path,
        leave_out: &dyn Fn(&Path) -> bool,
    ) -> Result<(), RootfsError> {
        self.add_folder(guest.parent().unwrap_or(Path::new("/")));
        Ok(self.copy(host, guest, leave_out).map_err(HostError::file("read", host))?)
    }

    /// Makes a folder in the guest, and those above it.
    pub fn add_folder(&mut self, guest: &Path) {
        let above: Vec<&Path> =
            guest.ancestors().filter(|path| *path != Path::new("/") && !is_own(path)).collect();
        for path in above {
            self.entries.entry(path.into()).or_insert(Entry::Folder(0o755));
        }
    }

    /// Makes a folder with other permission bits than the usual.
    pub fn add_folder_with(&mut self, guest: &Path, mode: u32) {
        self.add_folder(guest);
        self.entries.insert(guest.into(), Entry::Folder(mode));
    }

    /// Makes a link, in a folder that is there.
    pub fn add_link(&mut self, guest: &Path, target: &str) {
        self.entries.insert(guest.into(), Entry::Link(target.into()));
    }

    /// Makes a file, in a folder that is there, unless one was taken.
    pub fn add_text(&mut self, guest: &Path, content: &'static str) {
        self.entries.entry(guest.into()).or_insert(Entry::Text(content));
    }

    /// All of it, each where it really is, folders before what is in them: what was to go through a
    /// link goes to where the link leads.
    pub fn settled(&self) -> BTreeMap<PathBuf, Entry> {
        let mut settled = BTreeMap::new();
        for (path, entry) in &self.entries {
            let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { continue };
            let folder = self.resolve(folder);
            for above in
                folder.ancestors().filter(|above| *above != Path::new("/") && !is_own(above))
            {
                settled.entry(above.into()).or_insert(Entry::Folder(0o755));
            }
            let place = settled.entry(folder.join(name)).or_insert_with(|| entry.clone());
            // A path may have been a folder on the way to something, and the host's own is a link.
            if !matches!(entry, Entry::Folder(_)) || matches!(place, Entry::Folder(_)) {
                *place = entry.clone();
            }
        }
        settled
    }

    /// Where a path leads in the guest, as far as links are known.
    fn resolve(&self, path: &Path) -> PathBuf {
        let mut at = path.to_path_buf();
        for _ in 0..LINKS_MAX {
            let link = at.ancestors().filter_map(|above| Some((above, self.entries.get(above)?)));
            let mut links = link.filter_map(|(above, entry)| {
                if let Entry::Link(target) = entry { Some((above, target)) } else { None }
            });
            // The nearest to the root is gone through first.
            let Some((above, target)) = links.by_ref().last() else { break };
            let rest = at.strip_prefix(above).expect("it is above");
            at = normal(&above.parent().unwrap_or(Path::new("/")).join(target).join(rest));
        }
        at
    }

    fn copy(
        &mut self,
        host: &Path,
        guest: &Path,
        leave_out: &dyn Fn(&Path) -> bool,
    ) -> io::Result<()> {
        let metadata = fs::metadata(host)?;
        if !metadata.is_dir() {
            return self.file(host, guest);
        }
        self.folder(guest, &metadata);
        for entry in fs::read_dir(host)? {
            let entry = entry?;
            let (from, to) = (entry.path(), guest.join(entry.file_name()));
            let kind = entry.file_type()?;
            if kind.is_symlink() {
                self.entries.insert(to, Entry::Link(fs::read_link(&from)?));
            } else if kind.is_file() || (kind.is_dir() && !leave_out(&from)) {
                self.copy(&from, &to, leave_out)?;
            }
        }
        Ok(())
    }

    /// Goes the way that the kernel goes, and takes all that it passes.
    fn follow(&mut self, path: &Path) -> io::Result<()> {
        let names = |path: &Path| {
            path.components().rev().map(|part| part.as_os_str().to_owned()).collect::<Vec<_>>()
        };
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
            return Err(io::Error::other(format!(
                "a guest has its own {mounted}, where {} would not be seen",
                guest.display()
            )));
        }
        self.entries.insert(guest.into(), Entry::File(host.into()));
        Ok(())
    }

    fn folder(&mut self, guest: &Path, metadata: &fs::Metadata) {
        if !is_own(guest) {
            self.entries
                .insert(guest.into(), Entry::Folder(metadata.permissions().mode() & 0o7777));
        }
    }
}

/// Whether the guest has a folder of its own there, whatever the host has.
fn is_own(path: &Path) -> bool {
    OWN.iter().any(|own| path == Path::new(own))
}

/// Without `.` and `..`, which here are no links' names.
fn normal(path: &Path) -> PathBuf {
    let mut normal = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => _ = normal.pop(),
            Component::CurDir => {}
            part => normal.push(part),
        }
    }
    normal
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
        assert_eq!(
            found(&carried, &at("real/deep/file.1")),
            Some(Entry::File(at("real/deep/file.1")))
        );
        assert!(matches!(found(&carried, &at("away")), Some(Entry::Folder(_))));
        assert!(
            carried.settled().keys().all(|path| path != Path::new("/tmp")),
            "/tmp is the guest's own"
        );
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
    fn what_goes_through_a_link_goes_where_it_leads() {
        let mut carried = Carried::default();
        carried.add_folder(Path::new("/bin"));
        carried.add_text(Path::new("/bin/tool"), "text");
        carried.add_link(Path::new("/bin"), "usr/bin");
        carried.add_link(Path::new("/usr"), "/srv/x/../usr");
        let settled = carried.settled();
        let kinds: Vec<_> = settled
            .iter()
            .map(|(path, entry)| (path.to_str().unwrap(), matches!(entry, Entry::Folder(_))))
            .collect();
        let expected = [
            ("/bin", false),
            ("/srv", true),
            ("/srv/usr", true),
            ("/srv/usr/bin", true),
            ("/srv/usr/bin/tool", false),
            ("/usr", false),
        ];
        assert_eq!(kinds, expected);
    }

    #[test]
    fn a_folder_is_taken_with_all_that_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("sub")).unwrap();
        fs::write(root.path().join("sub/file"), "").unwrap();
        let mut carried = Carried::default();
        fs::create_dir(root.path().join("sub/left")).unwrap();
        fs::write(root.path().join("sub/left/file"), "").unwrap();
        carried
            .add_without(root.path(), Path::new("/srv/data"), &|path| path.ends_with("left"))
            .unwrap();
        assert!(carried.entries.keys().all(|path| !path.starts_with("/srv/data/sub/left")));
        assert_eq!(found(&carried, Path::new("/srv")), Some(Entry::Folder(0o755)));
        assert_eq!(
            found(&carried, Path::new("/srv/data/sub/file")),
            Some(Entry::File(root.path().join("sub/file")))
        );
    }
}
