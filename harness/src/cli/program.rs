//! What can be asked for of a program of the user's, or a shell, in a guest.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ColorChoice};

use super::GuestArgs;
use super::filters::TracedArgs;
use crate::run::{self, RunOptions, Trace};
use crate::setup::Format;
use crate::setup::{Attach, Setup};

const PROGRAM_HELP: &str = "\
The guest has the program, the libraries that it names, the interpreter of a script, /bin/sh, and what --carry names. What
a program opens by itself (plug-ins, locales, data) is carried only when it is named. It has a root folder in memory, the
kernel's file systems, a loopback interface, and no network.

As cargo's runner it also carries what cargo names: the crate's folder, without .git and without what holds a CACHEDIR.TAG
as target folders do, and OUT_DIR, both read-only; the crate's programs (CARGO_BIN_EXE_*); an empty CARGO_TARGET_TMPDIR.

The program has HOME=/root, a PATH of the usual folders, and of the variables here those of cargo and nextest (CARGO_*,
RUST_*, NEXTEST_*, OUT_DIR, PROPTEST_*, INSTA_*), LANG, LC_*, TZ, TERM, those for colours, and LD_LIBRARY_PATH; those whose
names look like secrets (*TOKEN*, CARGO_REGISTR*) only when --env names them. Signals that come here are passed on to it.

The exit code is the program's own. A signal that ended it ends this command, too, which shells show as 128 + N; with
--trace that is an exit code. When the program was not run to its end, a line on
standard error that begins with `settime32-harness: ` says why, and the exit code is 4 for a guest failure (a tracer
that failed, too), 5 when the guest did not come up or the time was over, 6 for what is missing on this machine.";

/// Arguments of `run`.
#[derive(Args, Debug)]
#[command(after_help = PROGRAM_HELP)]
pub struct ProgramArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Working directory in the guest, where it is made [default: that of this command].
    #[arg(long, value_name = "FOLDER")]
    cwd: Option<PathBuf>,
    /// Carry the usual small tools (ls, cat, mount, ...), as far as they are here.
    #[arg(long)]
    tools: bool,
    /// The program: a path, or a name on the PATH.
    program: String,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

const SHELL_HELP: &str = "\
The shell is bash, or sh where there is none, with the usual small tools as far as they are here. On a terminal it has a
terminal of its own in the guest; otherwise it reads commands from standard input and ends with it:
  echo 'uname -r' | cargo harness shell --kernel 6.1
It ends with `exit` or Ctrl-D, and the guest with it. The exit code is the shell's own, or as `run --help` says.";

/// Arguments of `shell`.
#[derive(Args, Debug)]
#[command(after_help = SHELL_HELP)]
pub struct ShellArgs {
    #[command(flatten)]
    place: PlaceArgs,
    /// Working directory in the guest, where it is made.
    #[arg(long, value_name = "FOLDER", default_value = "/root")]
    cwd: PathBuf,
}

/// Where a program runs, and what it has there.
#[derive(Args, Debug)]
pub struct PlaceArgs {
    #[command(flatten)]
    guest: GuestArgs,
    /// Give the program this variable of the environment, with this value or that which it has
    /// here, if any, or those that match a pattern such as `MY_*`; can be given more than once.
    #[arg(long, value_name = "NAME[=VALUE]|PATTERN")]
    env: Vec<String>,
    /// Also carry this file (a program with its libraries) or folder, to its own path or another;
    /// can be given more than once.
    #[arg(long, value_name = "PATH[:GUEST-PATH]", value_parser = carried)]
    carry: Vec<(PathBuf, PathBuf)>,
    /// Guest memory, MiB [default: 512, and more where much is carried].
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(64..))]
    memory: Option<u64>,
    /// Run the program as this user and group id [default: root].
    #[arg(long, value_name = "ID")]
    uid: Option<u32>,
    /// Wall-clock limit, from the boot on, such as 90s or 5m [default: none].
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    timeout: Option<Duration>,
    /// Run the program under the tracer, with all processes that it starts; its calls go to
    /// standard error.
    #[arg(long)]
    trace: bool,
    /// Let the calls, and nothing else, go to this file.
    #[arg(long, value_name = "FILE", requires = "trace")]
    trace_output: Option<PathBuf>,
    /// How calls are printed.
    #[arg(long, value_enum, default_value = "pretty", requires = "trace")]
    output: Format,
    /// When calls are printed in colour, by --output pretty. By itself on a terminal, unless
    /// NO_COLOR is set.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto, requires = "trace")]
    color: ColorChoice,
    /// How the tracer attaches.
    #[arg(long, value_enum, default_value = "auto", requires = "trace")]
    attach: Attach,
    /// Size of the tracer's ring buffer, such as 256K.
    #[arg(long, value_name = "SIZE", requires = "trace")]
    buffer: Option<String>,
    #[command(flatten)]
    traced: TracedArgs,
}

impl ProgramArgs {
    pub(super) const fn place(&self) -> &PlaceArgs {
        &self.place
    }

    /// What to run.
    pub fn options(self) -> RunOptions {
        let here = here();
        RunOptions {
            program: self.program,
            arguments: self.arguments,
            cwd: self.cwd.map_or_else(|| here.clone(), |cwd| here.join(cwd)),
            tools: self.tools,
            ..self.place.options()
        }
    }
}

impl ShellArgs {
    pub(super) const fn place(&self) -> &PlaceArgs {
        &self.place
    }

    /// What to run.
    pub fn options(self) -> RunOptions {
        RunOptions { cwd: here().join(self.cwd), ..run::shell(self.place.options()) }
    }
}

impl PlaceArgs {
    /// Whether other events are asked for in a form that has none.
    pub(super) fn asks_in_vain(&self) -> bool {
        self.output == Format::Tracee && self.traced.asks_for_more()
    }

    fn options(self) -> RunOptions {
        RunOptions {
            env: self.env,
            uid: self.uid,
            carry: self.carry,
            memory_mib: self.memory,
            setup: Setup { attach: self.attach, buffer: self.buffer, ..self.guest.setup() },
            timeout: self.timeout,
            trace: self.trace.then(|| Trace {
                output: self.output,
                color: self.color,
                words: self.traced.words(),
                to: self.trace_output,
            }),
            ..RunOptions::default()
        }
    }
}

fn here() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| "/".into())
}

fn carried(text: &str) -> Result<(PathBuf, PathBuf), String> {
    let (host, guest) = text
        .split_once(':')
        .map_or((text, None), |(host, guest)| (host, Some(PathBuf::from(guest))));
    let host = std::path::absolute(host).map_err(|error| error.to_string())?;
    match guest {
        Some(guest) if !guest.is_absolute() => Err("the path in the guest must be absolute".into()),
        guest => Ok((host.clone(), guest.unwrap_or(host))),
    }
}
