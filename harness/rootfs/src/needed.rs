//! What a program needs to run elsewhere: its loader, its libraries, a script's interpreter; read
//! from the files, as the kernel and the dynamic loader (ld.so(8)) would, without running any of
//! it.
//!
//! What a program opens by itself (`dlopen`, locales, name services, data) cannot be known before
//! it runs.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use goblin::elf::Elf;
use goblin::elf::header::{EM_386, EM_X86_64, machine_to_str};
use lddtree::{DependencyAnalyzer, Library};
use settime32_vm::failure::HostError;

use crate::carried::Carried;
use crate::failure::{CarryError, RootfsError};

/// As the kernel has it (`BINPRM_BUF_SIZE`, `include/uapi/linux/binfmts.h`).
const INTERPRETER_LINE_MAX: u64 = 256;
/// Interpreters that are scripts themselves, as the kernel bounds them (`exec_binprm`,
/// `fs/exec.c`).
const INTERPRETERS_MAX: usize = 5;
/// Where the loader finds what is in none of its own folders; it says which path each library has
/// here.
const LOADER_CACHE: &str = "/etc/ld.so.cache";
const C_LIBRARY: &str = "libc.so.6";
/// Name services of before glibc 2.34, which has them inside (nss(5)); and what unwinds threads
/// that are cancelled (pthread_cancel(3)).
const OPENED_BY_C_LIBRARY: [&str; 2] = ["libnss_files.so.2", "libgcc_s.so.1"];

/// Finds a program as a shell does: by path when there is a slash in it, else on the PATH. Gives an
/// absolute path.
pub fn find(program: &str) -> Result<PathBuf, CarryError> {
    let not_found = || CarryError::NotFound { program: program.into() };
    let is_program = |path: &PathBuf| path.is_file() && is_executable(path);
    if !program.contains('/') {
        let folders = env::var_os("PATH").unwrap_or_default();
        let found = env::split_paths(&folders).map(|folder| folder.join(program)).find(is_program);
        return found.and_then(|path| std::path::absolute(path).ok()).ok_or_else(not_found);
    }
    let path = std::path::absolute(program).map_err(|_| not_found())?;
    match path {
        path if is_program(&path) => Ok(path),
        path if path.is_file() => Err(CarryError::NotExecutable { path }),
        _ => Err(not_found()),
    }
}

fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

/// Takes a program, at an absolute path, with all that it needs.
pub fn add_program(carried: &mut Carried, path: &Path) -> Result<(), RootfsError> {
    let mut path = path.to_path_buf();
    for _ in 0..INTERPRETERS_MAX {
        carried.add(&path)?;
        match Kind::of(&path)? {
            Kind::Elf => return add_elf(carried, &path),
            Kind::Script { interpreter } if !interpreter.exists() => {
                return Err(CarryError::Interpreter { interpreter, path }.into());
            }
            Kind::Script { interpreter } => path = interpreter,
            Kind::Other => return Err(CarryError::NoProgram { path }.into()),
        }
    }
    Err(CarryError::NoProgram { path }.into())
}

/// Takes what a file that is perhaps a program needs, beside the file itself.
pub fn add_needed(carried: &mut Carried, path: &Path) -> Result<(), RootfsError> {
    match Kind::of(path)? {
        Kind::Elf => add_elf(carried, path),
        Kind::Script { .. } | Kind::Other => Ok(()),
    }
}

/// What the kernel takes a file for.
#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Elf,
    Script { interpreter: PathBuf },
    Other,
}

impl Kind {
    fn of(path: &Path) -> Result<Self, RootfsError> {
        let mut head = Vec::new();
        let file = fs::File::open(path).map_err(HostError::file("open", path))?;
        file.take(INTERPRETER_LINE_MAX)
            .read_to_end(&mut head)
            .map_err(HostError::file("read", path))?;
        Ok(Self::of_head(&head))
    }

    fn of_head(head: &[u8]) -> Self {
        if head.starts_with(goblin::elf::header::ELFMAG) {
            return Self::Elf;
        }
        let line =
            head.strip_prefix(b"#!").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
        let words = line.map(|line| {
            line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
        });
        match words.and_then(|mut words| words.next()) {
            Some(word) => Self::Script { interpreter: OsStr::from_bytes(word).into() },
            None => Self::Other,
        }
    }
}

fn add_elf(carried: &mut Carried, path: &Path) -> Result<(), RootfsError> {
    let paths = SearchPaths::of(path)?;
    let damaged = |reason: String| CarryError::Damaged { path: path.into(), reason };
    let tree = DependencyAnalyzer::default()
        .library_paths(paths.inherited.clone())
        .analyze(path)
        .map_err(|error| damaged(error.to_string()))?;
    let Some(interpreter) = tree.interpreter.map(PathBuf::from) else { return Ok(()) };
    if !interpreter.exists() {
        return Err(CarryError::Interpreter { interpreter, path: path.into() }.into());
    }
    if let Some(missing) = tree.libraries.values().find(|library| !library.found()) {
        let needs = |needed: &[String]| needed.contains(&missing.name);
        let library =
            tree.libraries.values().find(|library| !needs(&tree.needed) && needs(&library.needed));
        let needed_by = library.map_or_else(|| path.to_path_buf(), |library| library.path.clone());
        return Err(CarryError::Library { name: missing.name.clone(), needed_by }.into());
    }
    carried.add(&interpreter)?;
    paths.add_folders(carried)?;
    for library in tree.libraries.values() {
        carried.add(&library.path)?;
        add_opened(carried, library)?;
        SearchPaths::of(&library.path)?.add_folders(carried)?;
    }
    let cache = Path::new(LOADER_CACHE);
    if cache.exists() { carried.add(cache) } else { Ok(()) }
}

/// Takes what a library is known to open by itself, as far as it is there.
fn add_opened(carried: &mut Carried, library: &Library) -> Result<(), RootfsError> {
    if library.name != C_LIBRARY {
        return Ok(());
    }
    let opened = OPENED_BY_C_LIBRARY.iter().map(|name| library.path.with_file_name(name));
    opened.filter(|path| path.exists()).try_for_each(|path| carried.add(&path))
}

/// Folders in which an ELF file wants libraries to be looked for.
struct SearchPaths {
    own: Vec<PathBuf>,
    /// Those that hold for the libraries' libraries too: of DT_RPATH where there is no DT_RUNPATH.
    inherited: Vec<PathBuf>,
}

impl SearchPaths {
    fn of(path: &Path) -> Result<Self, RootfsError> {
        let content = fs::read(path).map_err(HostError::file("read", path))?;
        let elf = Elf::parse(&content).map_err(|error| CarryError::Damaged {
            path: path.into(),
            reason: error.to_string(),
        })?;
        match (elf.header.e_machine, elf.is_64) {
            (EM_386, false) | (EM_X86_64, true) => {}
            (EM_X86_64, false) => {
                return Err(CarryError::Machine { path: path.into(), machine: "x32".into() }.into());
            }
            (other, _) => {
                return Err(CarryError::Machine {
                    path: path.into(),
                    machine: machine_to_str(other).into(),
                }
                .into());
            }
        }
        let origin = fs::canonicalize(path).map_err(HostError::file("find", path))?;
        let origin = origin.parent().unwrap_or(Path::new("/")).to_string_lossy().into_owned();
        let folders = |lists: &[&str]| {
            let expanded = lists
                .iter()
                .flat_map(|list| list.split(':'))
                .map(|folder| folder.replace("${ORIGIN}", &origin));
            expanded
                .map(|folder| PathBuf::from(folder.replace("$ORIGIN", &origin)))
                .collect::<Vec<_>>()
        };
        let runpaths = folders(&elf.runpaths);
        let rpaths = if runpaths.is_empty() { folders(&elf.rpaths) } else { Vec::new() };
        Ok(Self { own: [runpaths, rpaths.clone()].concat(), inherited: rpaths })
    }

    /// Takes the folders themselves, for the links on the way to them.
    fn add_folders(&self, carried: &mut Carried) -> Result<(), RootfsError> {
        let there = self.own.iter().filter(|folder| folder.is_absolute() && folder.is_dir());
        there.into_iter().try_for_each(|folder| carried.add(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_bytes_tell_what_a_file_is() {
        let script = |interpreter: &str| Kind::Script { interpreter: interpreter.into() };
        assert_eq!(Kind::of_head(b"#!/bin/sh\necho"), script("/bin/sh"));
        assert_eq!(Kind::of_head(b"#! /usr/bin/env -S python3 -u\n"), script("/usr/bin/env"));
        assert_eq!(Kind::of_head(b"#!\n"), Kind::Other);
        assert_eq!(Kind::of_head(b"\x7fELF\x02"), Kind::Elf);
        assert_eq!(Kind::of_head(b""), Kind::Other);
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        assert!(find("sh").unwrap().is_absolute());
        assert!(matches!(find("/nonexistent/program"), Err(CarryError::NotFound { .. })));
        assert!(matches!(find("no-such-program-anywhere"), Err(CarryError::NotFound { .. })));
        assert!(matches!(find("/etc/passwd"), Err(CarryError::NotExecutable { .. })));
        assert!(matches!(find("/etc"), Err(CarryError::NotFound { .. })));
    }
}
