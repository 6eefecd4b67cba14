//! What tests find beside their program when cargo runs them: the crate's folder and the build
//! script's output, neither to be written to; the crate's own programs (`CARGO_BIN_EXE_*`); an
//! empty folder for temporary files (`CARGO_TARGET_TMPDIR`). Of the rest of a workspace, and of
//! what tests find by other ways, it knows nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use memchr::memmem;
use settime32_vm::failure::HostError;

use crate::failure::RootfsError;
use crate::furnish::Furniture;
use crate::needed;

/// Marks folders that can be made again (bford.info/cachedir), as cargo's target folder can.
const CACHE_MARK: &str = "CACHEDIR.TAG";
const GIT: &str = ".git";

/// The programs of the crate: the start of the variables that cargo and nextest have for them.
const PROGRAM_VARIABLES: [&str; 2] = ["CARGO_BIN_EXE_", "NEXTEST_BIN_EXE_"];

/// Adds what is there of all this. `variable` is the environment that cargo gave to its runner.
pub fn add(
    furniture: &mut Furniture,
    program: &Path,
    variables: &[(String, String)],
) -> Result<(), RootfsError> {
    let folder = |name: &str| {
        let value = variables
            .iter()
            .find(|(other, _)| other == name)
            .map(|(_, value)| PathBuf::from(value));
        value.filter(|path| path.is_absolute() && path.is_dir())
    };
    for folder in [folder("CARGO_MANIFEST_DIR"), folder("OUT_DIR")].into_iter().flatten() {
        furniture.carried.add(&folder)?;
        furniture.carried.add_without(&folder, &folder, &is_left_out)?;
        furniture.read_only.push(folder);
    }
    let named = variables
        .iter()
        .filter(|(name, _)| PROGRAM_VARIABLES.iter().any(|start| name.starts_with(start)));
    let named = named
        .map(|(_, value)| PathBuf::from(value))
        .filter(|path| path.is_absolute() && is_executable(path));
    let layout = Layout::of(program);
    let built_in = layout
        .iter()
        .map(|layout| layout.programs_named_in(program))
        .collect::<Result<Vec<_>, _>>()?;
    let programs: BTreeSet<PathBuf> = named.chain(built_in.into_iter().flatten()).collect();
    programs.iter().try_for_each(|program| needed::add_program(&mut furniture.carried, program))?;
    if let Some(temporary) = layout.map(|layout| layout.temporary).filter(|path| path.is_dir()) {
        furniture.carried.add_folder(&temporary);
        furniture.writable.push(temporary);
    }
    Ok(())
}

fn is_left_out(folder: &Path) -> bool {
    folder.ends_with(GIT) || folder.join(CACHE_MARK).exists()
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// Cargo's folders, of a program in `<target>/<profile>/deps`.
struct Layout {
    profile: PathBuf,
    temporary: PathBuf,
}

impl Layout {
    fn of(program: &Path) -> Option<Self> {
        let deps = program.parent().filter(|folder| folder.ends_with("deps"))?;
        let profile = deps.parent()?;
        Some(Self { profile: profile.into(), temporary: profile.parent()?.join("tmp") })
    }

    /// `env!("CARGO_BIN_EXE_name")` leaves the path in the test's program. Cargo sets the variable
    /// at run time, too, but not in each version.
    fn programs_named_in(&self, program: &Path) -> Result<Vec<PathBuf>, RootfsError> {
        let content = fs::read(program).map_err(HostError::file("read", program))?;
        let Ok(entries) = fs::read_dir(&self.profile) else { return Ok(Vec::new()) };
        let programs =
            entries.flatten().map(|entry| entry.path()).filter(|path| is_executable(path));
        let is_named =
            |path: &PathBuf| memmem::find(&content, path.as_os_str().as_bytes()).is_some();
        Ok(programs.filter(|path| path.extension().is_none()).filter(is_named).collect())
    }
}
