//! Runs a program of the host in a guest: find what it needs → boot with it → start → relay → exit code; traced, when
//! that is asked for.
//!
//! The guest has the program, its libraries, and what is named; nothing else of the host, and no way back to it.

mod needed;
mod relay;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

use settime32_abi::frame::{Spawn, Stdin};

use crate::boot::{self, AGENT_PATH, Carried, Deadline, Scratch, TRACER_PATH};
use crate::cache;
use crate::failure::{Failure, InfraError};
use crate::kernels::{self, Say};
use crate::verify::Setup;

pub use needed::CarryError;
use relay::{PROGRAM, Relay, TRACER, Traced};

/// What programs expect to find; everything else of the environment is named.
const ENVIRONMENT: [&str; 2] = ["HOME=/root", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"];
/// Of the host's environment, since the loader needs it in the guest as here.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Path of the program, or a name on the PATH.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment beside HOME and PATH: `NAME=value`.
    pub env: Vec<String>,
    /// Its working directory in the guest, which is made there.
    pub cwd: PathBuf,
    /// Whom it runs as; root when `None`.
    pub uid: Option<u32>,
    /// Files and folders of the host that the guest has too: path here, path there.
    pub carry: Vec<(PathBuf, PathBuf)>,
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
    /// The file for them; standard error when `None`.
    pub to: Option<PathBuf>,
}

/// The forms that the tracer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A line a call, as strace prints it.
    Pretty,
    /// A JSON object a line.
    Json,
}

/// Runs it, and gives its exit code, which is 128 + N when signal N ended it.
pub fn run(options: &RunOptions, say: Say) -> Result<u8, Failure> {
    let program = needed::find(&options.program).map_err(InfraError::from)?;
    let carried = carried(options, &program)?;
    let events = match options.trace.as_ref().and_then(|trace| trace.to.as_ref()) {
        Some(path) => Some((File::create(path).map_err(InfraError::file("create", path))?, path.clone())),
        None => None,
    };
    boot::check_qemu(&options.setup.qemu)?;
    let kernel = kernels::resolve(&options.setup.kernel, say)?;
    let deadline = Deadline::after(options.timeout.unwrap_or(Duration::MAX));
    let scratch = Scratch::new()?;
    let vm = options.setup.boot(kernel, &carried, &scratch, deadline, say);
    let traced = options.trace.is_some().then(|| Traced::new(events));
    let outcome = vm.and_then(|vm| Relay::new(vm, deadline, traced).run(order(options, &program)));
    outcome.inspect_err(|failure| keep_consoles(failure, &scratch, say))
}

fn carried(options: &RunOptions, program: &Path) -> Result<Carried, InfraError> {
    let mut carried = Carried::default();
    carried.add_folder(&options.cwd);
    carried.add_folder(Path::new("/root"));
    needed::add_program(&mut carried, program)?;
    for (host, guest) in &options.carry {
        carried.add_as(host, guest)?;
        if host.is_file() {
            needed::add_needed(&mut carried, host)?;
        }
    }
    Ok(carried)
}

/// What the agent is to start: the program, or the tracer with the program behind it.
fn order(options: &RunOptions, program: &Path) -> Spawn {
    let command = [program.to_string_lossy().into_owned()].into_iter().chain(options.arguments.iter().cloned());
    let (id, argv) = match &options.trace {
        None => (PROGRAM, command.collect()),
        Some(trace) => (TRACER, tracer(options, trace).into_iter().chain(command).collect()),
    };
    let library_path = std::env::var(LIBRARY_PATH).ok().map(|folders| format!("{LIBRARY_PATH}={folders}"));
    let env = ENVIRONMENT.map(String::from).into_iter().chain(library_path).chain(options.env.iter().cloned());
    Spawn {
        env: env.collect(),
        cwd: options.cwd.to_string_lossy().into_owned(),
        stdin: Stdin::Follows,
        uid: options.uid.filter(|_| options.trace.is_none()),
        command: options.trace.as_ref().map(|_| PROGRAM),
        ..Spawn::new(id, argv)
    }
}

/// The tracer's words up to the program. The agent's program stands between them, to give the program its own output.
fn tracer(options: &RunOptions, trace: &Trace) -> Vec<String> {
    let output = match trace.output {
        Format::Pretty => "pretty",
        Format::Json => "json",
    };
    let attach = options.setup.attach.to_string();
    let tracer = [TRACER_PATH, "--output", output, "--attach", &attach, "--pass-exit-code"].map(String::from);
    let buffer = options.setup.buffer.iter().flat_map(|size| ["--buffer".into(), size.clone()]);
    let uid = options.uid.unwrap_or_default().to_string();
    tracer.into_iter().chain(buffer).chain(["--".into(), AGENT_PATH.into(), "command".into(), uid]).collect()
}

/// Keeps what the guest's console showed, where there was a guest.
fn keep_consoles(failure: &Failure, scratch: &Scratch, say: Say) {
    if matches!(failure, Failure::Infra(_)) {
        return;
    }
    let folder = cache::record_folder();
    let files = [("console.log", scratch.console()), ("qemu-stderr.log", scratch.qemu_stderr())];
    let kept = files.iter().try_for_each(|(name, text)| cache::write_whole(&folder.join(name), text.as_bytes()));
    match kept.and_then(|()| cache::keep_newest(&folder, cache::RECORDS_KEPT)) {
        Ok(()) => say(&format!("the guest's console is kept in {}", folder.display())),
        Err(error) => say(&format!("the guest's console could not be kept: {error}")),
    }
}
