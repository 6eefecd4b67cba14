//! Runs a program of the host in a guest: find what it needs → boot → furnish the guest with it →
//! start → relay → how it ended; traced, when that is asked for. It is what cargo calls a runner.
//!
//! The guest has the program, its libraries, its crate, and what is named; nothing else of the
//! host, and no way back to it.

mod relay;
mod signals;
mod tty;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anstream::AutoStream;
use clap::ColorChoice;
use settime32_abi::frame::{Spawn, Stdin};
use settime32_rootfs::furnish::{Furniture, own_program};
use settime32_rootfs::tools::{self, SHELL};
use settime32_rootfs::{environment, needed, package};
use settime32_vm::Say;

use crate::boot::{self, Deadline, Scratch};
use crate::embedded::TRACER_PATH;
use crate::failure::{Failure, InfraError};
use crate::kernels;
use crate::setup::{Format, Setup};

use relay::{PROGRAM, Relay, TRACER, Traced};
pub use signals::end_by;

/// For people, the best first.
const SHELLS: [&str; 2] = ["bash", "sh"];
const PROMPT: &str = "PS1=\\h:\\w# ";

/// What to run, and where.
#[derive(Clone, Debug, Default)]
pub struct RunOptions {
    /// Path of the program, or a name on the PATH.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment beside what is usual: `NAME=value`, or names and patterns of variables that
    /// are here.
    pub env: Vec<String>,
    /// Its working directory in the guest, which is made there.
    pub cwd: PathBuf,
    /// Whom it runs as; root when `None`.
    pub uid: Option<u32>,
    /// Files and folders of the host that the guest has too: path here, path there.
    pub carry: Vec<(PathBuf, PathBuf)>,
    /// Whether the usual small tools are carried, too.
    pub tools: bool,
    /// Whether the program is a shell, which has no crate, and has a terminal where standard input
    /// is one.
    pub is_shell: bool,
    /// Guest memory, MiB; by the size of what is carried when `None`.
    pub memory_mib: Option<u64>,
    /// The guest, and how the tracer attaches.
    pub setup: Setup,
    /// Wall-clock limit, from the boot on.
    pub timeout: Option<Duration>,
    /// Run it under the tracer.
    pub trace: Option<Trace>,
}

/// How calls are reported.
#[derive(Clone, Debug)]
pub struct Trace {
    /// The form (`settime32-tracer --output`).
    pub output: Format,
    /// When they are in colour (`settime32-tracer --color`): `Auto` goes by where they come out
    /// here.
    pub color: ColorChoice,
    /// More of the tracer's options: what it tells, and of what.
    pub words: Vec<String>,
    /// The file for them; standard error when `None`.
    pub to: Option<PathBuf>,
}

impl Trace {
    /// The tracer writes to a pipe in the guest, and cannot tell.
    fn is_coloured(&self) -> bool {
        match self.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                self.to.is_none()
                    && AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
            }
        }
    }
}

/// A shell with tools in place of a program.
pub fn shell(options: RunOptions) -> RunOptions {
    let program =
        SHELLS.into_iter().find(|shell| needed::find(shell).is_ok()).unwrap_or(SHELL).to_string();
    let env = [PROMPT.to_string()].into_iter().chain(options.env).collect();
    RunOptions { program, env, tools: true, is_shell: true, ..options }
}

/// How a program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself; or traced, and then with 128 + N when signal N ended it.
    Code(u8),
    /// By this signal.
    Signal(i32),
}

/// Runs it, and says how it ended.
pub fn run(options: &RunOptions, say: Say) -> Result<Ended, Failure> {
    let program = needed::find(&options.program).map_err(InfraError::from)?;
    let variables: Vec<(String, String)> = std::env::vars_os().filter_map(text_of).collect();
    let furniture = furniture(options, &program, &variables)?;
    let events = match options.trace.as_ref().and_then(|trace| trace.to.as_ref()) {
        Some(path) => {
            Some((File::create(path).map_err(InfraError::file("create", path))?, path.clone()))
        }
        None => None,
    };
    boot::check_qemu(&options.setup.qemu)?;
    let kernel = kernels::resolve(&options.setup.kernel, say)?;
    let deadline = Deadline::after(options.timeout.unwrap_or(Duration::MAX));
    let scratch = Scratch::new()?;
    let memory_mib = options.memory_mib.unwrap_or_else(|| furniture.memory_mib());
    let setup = Setup { memory_mib, ..options.setup.clone() };
    let traced = options.trace.is_some().then(|| Traced::new(events));
    let terminal = (options.is_shell && io::stdin().is_terminal()).then(tty::size);
    let outcome = setup.boot(kernel, &scratch, deadline, say).and_then(|mut vm| {
        furniture.bring(&mut vm, deadline)?;
        Relay::new(vm, deadline, traced)
            .run(Spawn { terminal, ..order(options, &program, variables.into_iter()) })
    });
    outcome.inspect_err(|failure| failure.keep_consoles(&scratch, say))
}

/// Variables of text alone are passed on.
fn text_of((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

fn furniture(
    options: &RunOptions,
    program: &Path,
    variables: &[(String, String)],
) -> Result<Furniture, InfraError> {
    let mut furniture = Furniture::new()?;
    if !options.is_shell {
        package::add(&mut furniture, program, variables)?;
    }
    let carried = &mut furniture.carried;
    carried.add_folder(&options.cwd);
    if Path::new(SHELL).exists() {
        needed::add_program(carried, Path::new(SHELL))?;
    }
    needed::add_program(carried, program)?;
    if options.tools {
        tools::add(carried)?;
    }
    for (host, guest) in &options.carry {
        if host == guest {
            // With the links on the way.
            carried.add(host)?;
        }
        carried.add_as(host, guest)?;
        if host.is_file() {
            needed::add_needed(carried, host)?;
        }
    }
    Ok(furniture)
}

/// What the agent is to start: the program, or the tracer with the program behind it.
fn order(
    options: &RunOptions,
    program: &Path,
    variables: impl Iterator<Item = (String, String)>,
) -> Spawn {
    let command = [program.to_string_lossy().into_owned()]
        .into_iter()
        .chain(options.arguments.iter().cloned());
    let (id, argv) = match &options.trace {
        None => (PROGRAM, command.collect()),
        Some(trace) => (TRACER, tracer(options, trace).into_iter().chain(command).collect()),
    };
    Spawn {
        env: environment::environment(variables, &options.env),
        cwd: options.cwd.to_string_lossy().into_owned(),
        stdin: Stdin::Follows,
        uid: options.uid.filter(|_| options.trace.is_none()),
        command: options.trace.as_ref().map(|_| PROGRAM),
        ..Spawn::new(id, argv)
    }
}

/// The tracer's words up to the program. The agent's program stands between them, to give the
/// program its own output.
fn tracer(options: &RunOptions, trace: &Trace) -> Vec<String> {
    let output = trace.output.as_str();
    let color = if trace.is_coloured() { "always" } else { "never" };
    let attach = options.setup.attach.to_string();
    let tracer = own_program(TRACER_PATH);
    let tracer =
        [&tracer, "--output", output, "--color", color, "--attach", &attach, "--pass-exit-code"]
            .map(String::from);
    let buffer = options.setup.buffer.iter().flat_map(|size| ["--buffer".into(), size.clone()]);
    let uid = options.uid.unwrap_or_default().to_string();
    tracer
        .into_iter()
        .chain(buffer)
        .chain(trace.words.iter().cloned())
        .chain(["--".into(), own_program("/init"), "command".into(), uid])
        .collect()
}
