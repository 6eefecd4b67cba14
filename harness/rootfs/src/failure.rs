//! Why a guest cannot be given what a program needs.

use std::path::PathBuf;

use settime32_vm::failure::HostError;
use thiserror::Error;

/// Why a program cannot be run in a guest.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CarryError {
    /// No such program.
    #[error("failed to find the program {program}; give its path, or a name that is on the PATH")]
    NotFound {
        /// As it was given.
        program: String,
    },
    /// A file that may not be executed.
    #[error("failed to use {path} as a program: it is not executable; `chmod +x` makes it so")]
    NotExecutable {
        /// The file.
        path: PathBuf,
    },
    /// Neither ELF nor a script.
    #[error(
        "failed to use {path} as a program: it is neither an ELF program nor a script that begins with `#!`"
    )]
    NoProgram {
        /// The file.
        path: PathBuf,
    },
    /// A program for another processor.
    #[error(
        "failed to use {path} as a program: it is for {machine}, and the guest runs i386 and x86-64"
    )]
    Machine {
        /// The file.
        path: PathBuf,
        /// The processor.
        machine: String,
    },
    /// An ELF file that cannot be read to its end.
    #[error("failed to read what {path} needs: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// No loader, or no interpreter.
    #[error(
        "failed to find {interpreter}, by which {path} is run; install it (Debian's i386 loader is in libc6-i386), or link {path} statically"
    )]
    Interpreter {
        /// The loader or interpreter.
        interpreter: PathBuf,
        /// The program.
        path: PathBuf,
    },
    /// A library is not there.
    #[error(
        "failed to find the library {name} that {needed_by} needs; install it, or name its folder in LD_LIBRARY_PATH"
    )]
    Library {
        /// Its name.
        name: String,
        /// The program, or another library.
        needed_by: PathBuf,
    },
}

/// Why a guest cannot be given files of this machine.
#[derive(Debug, Error)]
pub enum RootfsError {
    /// The program itself, or something that it needs.
    #[error(transparent)]
    Carry(#[from] CarryError),
    /// A file could not be read.
    #[error(transparent)]
    Host(#[from] HostError),
}
