//! Kernel images: by name from the machine's package mirror, or by path.

mod apt;
mod catalog;
mod package;
mod record;

use std::fs;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::failure::HostError;
use crate::say::Say;

pub use catalog::{Entry, catalog};
use record::{IMAGE, RECORD, Record};

/// A kernel that can be booted.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// What the user called it: a name of the catalogue, or a path.
    pub name: String,
    /// The bzImage.
    pub image: PathBuf,
    /// Version of the package that it came from; `None` for a path.
    pub package_version: Option<String>,
    /// Modules that the guest's agent must load, in order.
    pub modules: Vec<PathBuf>,
}

/// The first two numbers of what `uname -r` prints; 0 for one that is not there.
pub fn version(release: &str) -> (u32, u32) {
    let mut numbers = release
        .split(|letter: char| !letter.is_ascii_digit())
        .map(|word| word.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// The kernel that `spec` names: a name of `ci/kernels.toml`, fetched when it is not in the cache,
/// or the path of a bzImage. Cached files are checked against their recorded SHA-256 each time.
pub fn resolve(spec: &str, say: Say) -> Result<Kernel, HostError> {
    match catalog().iter().find(|entry| entry.name == spec) {
        Some(entry) => named(entry, say),
        None => by_path(Path::new(spec)),
    }
}

fn named(entry: &Entry, say: Say) -> Result<Kernel, HostError> {
    let folder = cache::folder().join("kernels").join(&entry.name);
    let _lock = cache::lock(&format!("kernel-{}", entry.name), say)?;
    let fetched = || -> Result<Record, HostError> {
        fetch(entry, &folder, say)?;
        check(&folder)
    };
    let record = if folder.join(RECORD).exists() {
        check(&folder).or_else(|error| {
            say(&format!("the cached kernel {} cannot be used ({error})", entry.name));
            fetched()
        })?
    } else {
        fetched()?
    };
    let modules = record
        .files
        .iter()
        .filter(|file| file.name != IMAGE)
        .map(|file| folder.join(&file.name))
        .collect();
    Ok(Kernel {
        name: entry.name.clone(),
        image: folder.join(IMAGE),
        package_version: Some(record.version),
        modules,
    })
}

/// The record of a cached kernel whose files are all there and as they were.
fn check(folder: &Path) -> Result<Record, HostError> {
    let path = folder.join(RECORD);
    let text = fs::read(&path).map_err(HostError::file("read", &path))?;
    let record: Record = serde_json::from_slice(&text)
        .map_err(|error| HostError::file("decode", &path)(error.into()))?;
    for file in &record.files {
        cache::check(&folder.join(&file.name), &file.sha256)?;
    }
    Ok(record)
}

/// Package and version that the cache holds of a kernel of the catalogue.
pub fn cached(entry: &Entry) -> Option<(String, String)> {
    let text = fs::read(cache::folder().join("kernels").join(&entry.name).join(RECORD)).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    Some((record.package, record.version))
}

/// Fetches the newest patch release of a kernel of the catalogue, whatever the cache holds.
pub fn update(entry: &Entry, say: Say) -> Result<(), HostError> {
    let _lock = cache::lock(&format!("kernel-{}", entry.name), say)?;
    fetch(entry, &cache::folder().join("kernels").join(&entry.name), say)
}

/// Fetches, unpacks beside the final place and renames, so that a half-made kernel is never found.
fn fetch(entry: &Entry, folder: &Path, say: Say) -> Result<(), HostError> {
    let parent = folder.parent().expect("the folder is inside the cache");
    cache::make_folder(parent)?;
    say(&format!("fetching kernel {} from the package mirror", entry.name));
    let scratch = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(parent)
        .map_err(HostError::file("create a folder in", parent))?;
    let found = apt::download(entry, scratch.path())?;
    let files = package::unpack(entry, &found.deb, scratch.path())?;
    let record = Record { package: found.package, version: found.version, files };
    let staged = scratch.path().join("kernel");
    let text = serde_json::to_vec_pretty(&record).expect("a record is plain data");
    cache::write_whole(&staged.join(RECORD), &text)?;
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(HostError::file("remove", folder))?;
    }
    fs::rename(&staged, folder).map_err(HostError::file("rename a folder to", folder))
}

/// The image of a user's own; it must have all drivers built in.
fn by_path(path: &Path) -> Result<Kernel, HostError> {
    let refuse = |reason: String| HostError::KernelImage { path: path.into(), reason };
    let content = fs::read(path).map_err(|error| refuse(error.to_string()))?;
    // Documentation/arch/x86/boot.rst: the setup header's magic number.
    if content.get(0x202..0x206) != Some(b"HdrS") {
        return Err(refuse("it is no bzImage (boot header not found)".into()));
    }
    let image = fs::canonicalize(path).map_err(|error| refuse(error.to_string()))?;
    Ok(Kernel {
        name: path.display().to_string(),
        image,
        package_version: None,
        modules: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::record::FileRecord;
    use super::*;

    #[test]
    fn a_file_that_is_no_kernel_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), vec![0; 4096]).unwrap();
        let error = resolve(file.path().to_str().unwrap(), &|_| ()).unwrap_err();
        assert!(error.to_string().contains("no bzImage"), "{error}");
    }

    #[test]
    fn a_damaged_cache_is_noticed_whatever_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let write =
            |name: &str, content: &[u8]| fs::write(folder.path().join(name), content).unwrap();
        let files = vec![FileRecord { name: IMAGE.into(), sha256: cache::sha256(b"image") }];
        let record = Record { package: "package".into(), version: "1".into(), files };
        write(RECORD, &serde_json::to_vec(&record).unwrap());
        assert!(check(folder.path()).is_err(), "the image is missing");
        write(IMAGE, b"other");
        assert!(check(folder.path()).is_err(), "the image is another");
        write(IMAGE, b"image");
        assert_eq!(check(folder.path()).unwrap(), record);
        write(RECORD, b"{");
        assert!(check(folder.path()).is_err(), "the record is cut off");
    }

    #[test]
    fn a_missing_kernel_names_its_path() {
        let error = resolve("/nonexistent/vmlinuz", &|_| ()).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/vmlinuz"), "{error}");
    }
}
