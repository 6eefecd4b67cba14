//! The files of a package that is installed on this machine, with the libraries that its programs
//! need. Debian's packages only; what they depend on is for the definition to name.

use std::io;
use std::path::Path;
use std::process::Command;

use thiserror::Error;

use crate::carried::Carried;
use crate::failure::RootfsError;
use crate::needed;

/// What no program reads as it runs.
const LEFT_OUT: [&str; 4] =
    ["/usr/share/doc", "/usr/share/man", "/usr/share/locale", "/usr/share/lintian"];

/// Why a package cannot be taken along.
#[derive(Debug, Error)]
pub enum PackageError {
    /// No Debian, presumably.
    #[error(
        "failed to run dpkg-query, which knows the files of the package {name}: {source}; name programs and files instead"
    )]
    NoDpkg {
        /// The package.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// It is not installed.
    #[error("failed to find the installed package {name}; `apt-get install {name}` brings it")]
    NotInstalled {
        /// The package.
        name: String,
    },
    /// A file of it.
    #[error(transparent)]
    File(#[from] RootfsError),
}

/// Takes a package's files.
pub fn add(carried: &mut Carried, name: &str) -> Result<(), PackageError> {
    let query = Command::new("dpkg-query").args(["--listfiles", "--", name]).output();
    let listed = query.map_err(|source| PackageError::NoDpkg { name: name.into(), source })?;
    if !listed.status.success() {
        return Err(PackageError::NotInstalled { name: name.into() });
    }
    for path in String::from_utf8_lossy(&listed.stdout).lines().map(Path::new) {
        // Diversions are said in words among the paths.
        let is_wanted =
            path.is_absolute() && !LEFT_OUT.iter().any(|folder| path.starts_with(folder));
        if is_wanted && path.is_file() {
            carried.add(path)?;
            needed::add_needed(carried, path)?;
        }
    }
    Ok(())
}
