//! The command line.

mod asked;
mod lateness;
mod tracing;

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum, value_parser};
use settime32_abi::lifecycle::Kind;
use settime32_abi::output;

pub use self::asked::Asked;
pub use self::lateness::{Lateness, Per, Report};
pub use self::tracing::{Attach, Comm, Filter, Tracing};
use crate::choice::Choice;
use crate::describe::Description;
use crate::ids::Reported;

const EXIT_CODES: &str = "\
Exit codes:
  0    all calls were reported, or nobody read on (or that of COMMAND, 128 + N when signal N ended it)
  1    tracing failed
  2    the command line is wrong
  3    calls were lost, or the probes saw nothing for a while; the last line on standard error says how many, and when
  10   this binary holds no eBPF program
  11   the kernel is too old
  12   privileges are missing: capabilities, or a setting, a limit or a filter that stands before them
  13   the kernel is locked down
  14   the kernel has no BTF (with --attach fentry, --events or COMMAND)
  15   the kernel has no i386 entry of timerfd_settime32, or it is switched off
  16   standard output is closed, full or stuck: not all was written
  17   fentry does not work here (with --attach fentry)
  18   fentry is not safe on this kernel (with --attach fentry)
  19   the kernel's structures are not known (with --events)
  20   the probes are attached and see nothing: kprobes or ftrace are switched off
  126  COMMAND could not be executed
  127  COMMAND was not found

SIGINT, SIGTERM and SIGHUP (unless it is ignored) end the tracing, not COMMAND; a second one ends the tracer at once. So does a reader of standard output that
goes away.";

const FILTERS: &str = "Filters";

/// Reports every timerfd_settime32 system call (i386 number 325): its arguments, the times that it
/// sets and the times that it replaces, and its result.
///
/// Without a filter, the calls of all processes are reported. -p and COMMAND add up; --comm narrows
/// them. Of what is left, those calls are printed, and counted by --count, for which every other
/// filter that is given is true; of one that is given more than once, one value is enough. Losses
/// are counted whether or not the lost call would have been printed.
#[derive(Debug, Parser)]
#[command(name = "settime32-tracer", version, after_help = EXIT_CODES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
#[command(subcommand_value_name = "JOB", subcommand_help_heading = "Other jobs")]
pub struct Cli {
    /// What to do instead of printing events.
    #[command(subcommand)]
    pub job: Option<Job>,

    /// How calls are printed.
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    pub output: Format,

    /// What is reported: names separated by commas, or `all`. Beside the call itself these are
    /// related calls, and what becomes of a timer, whose kernel object is told by a number that
    /// survives dup, fork and passing.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        value_name = "EVENT",
        default_value = "timerfd_settime32"
    )]
    pub events: Vec<Asked>,

    /// Print the ids of the initial pid namespace, too, which are the host's. Without this, they
    /// are printed beside those of the tracer's own namespace only where they differ.
    #[arg(long)]
    pub host_ids: bool,

    /// When calls are printed in colour, by --output pretty. By itself on a terminal, unless
    /// NO_COLOR is set.
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub color: ColorChoice,

    /// Print calls with this descriptor only; can be given more than once.
    #[arg(long = "fd", value_name = "N", allow_negative_numbers = true, help_heading = FILTERS)]
    pub fds: Vec<i32>,

    /// Print the calls of this kind of process only: i386, or x86_64 that used the i386 entry.
    #[arg(long, value_enum, help_heading = FILTERS)]
    pub abi: Option<Abi>,

    /// Print calls that returned an error only. A call whose result was not seen is none of them.
    #[arg(long, help_heading = FILTERS)]
    pub failed: bool,

    /// Print calls only that arm the timer for longer than this time, such as 20ms or 1h: from the
    /// call to the first expiry, by the value that the kernel used, whether or not it then refused
    /// the call. Calls that set a point in time (TFD_TIMER_ABSTIME), that disarm, or whose value is
    /// invalid or could not be read, are not printed.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = FILTERS)]
    pub armed_longer: Option<Duration>,

    /// The same for a shorter time; with both, for a time in between.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = FILTERS)]
    pub armed_shorter: Option<Duration>,

    /// How it is traced.
    #[command(flatten)]
    pub tracing: Tracing,

    /// Stop after this many events were printed.
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    pub count: Option<u64>,
}

/// Something else to do than to print events.
#[derive(Clone, Debug, Subcommand)]
pub enum Job {
    /// Tell how late timers fire, and how late who waits for them runs.
    Lateness(Lateness),
    /// A description of the program, without tracing anything.
    #[command(flatten)]
    Describe(Description),
}

/// How calls are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line a call: who, what it does to the timer in words, and the call as strace prints it.
    Pretty,
    /// One JSON object a line, with every fact; the last is a summary.
    Json,
    /// One JSON object a line, as `tracee --output json` prints it: the arguments and the result,
    /// not what the pointers point to.
    Tracee,
}

/// What kind of process called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Abi {
    /// A 32-bit process.
    #[value(name = "i386")]
    I386,
    /// A 64-bit process that used the i386 entry.
    #[value(name = "x86_64")]
    X86_64,
}

impl From<Abi> for output::Abi {
    fn from(abi: Abi) -> Self {
        match abi {
            Abi::I386 => Self::I386,
            Abi::X86_64 => Self::X86_64,
        }
    }
}

impl Cli {
    /// The command line of this process.
    pub fn read() -> Result<Self, clap::Error> {
        Self::try_parse()?.checked()
    }

    /// Refuses what the definition cannot say to be wrong.
    pub fn checked(self) -> Result<Self, clap::Error> {
        if self.output == Format::Tracee && !self.kinds().is_empty() {
            let message = "--output tracee tells of timerfd_settime32 alone; give --output json for other events";
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(self)
    }

    /// Which ids are reported: Tracee's events have those of the namespace that a process is in.
    pub fn ids(&self) -> Reported {
        if self.output == Format::Tracee { Reported::Innermost } else { Reported::OfTracer }
    }

    /// What is asked for beside the call itself.
    pub fn kinds(&self) -> Vec<Kind> {
        let asked: Vec<Kind> =
            self.events.iter().flat_map(|asked| asked.kinds()).copied().collect();
        Kind::ALL.into_iter().filter(|kind| asked.contains(kind)).collect()
    }

    /// Whether the call itself is asked for.
    pub fn wants_calls(&self) -> bool {
        self.events.iter().any(|asked| matches!(asked, Asked::TimerfdSettime32 | Asked::All))
    }

    /// Which of the calls that the kernel side reports are to be printed.
    pub fn choice(&self) -> Choice {
        Choice {
            fds: self.fds.clone(),
            abi: self.abi.map(output::Abi::from),
            failed: self.failed,
            armed_longer: self.armed_longer,
            armed_shorter: self.armed_shorter,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let cli =
            Cli::parse_from(["settime32-tracer", "-p", "7", "--pid", "8", "--", "prog", "-p", "9"]);
        assert_eq!(cli.tracing.pids, [7, 8]);
        assert_eq!(cli.tracing.command, ["prog", "-p", "9"]);
    }

    #[test]
    fn a_command_may_have_the_name_of_a_job() {
        let cli = Cli::parse_from(["settime32-tracer", "--count", "1", "--", "schema"]);
        assert!(cli.job.is_none());
        assert_eq!((cli.tracing.command, cli.count), (vec!["schema".into()], Some(1)));
        let cli = Cli::parse_from(["settime32-tracer", "schema"]);
        assert!(
            cli.tracing.command.is_empty()
                && matches!(cli.job, Some(Job::Describe(Description::Schema)))
        );
        assert!(Cli::try_parse_from(["settime32-tracer", "--count", "1", "schema"]).is_err());
    }

    #[test]
    fn what_is_chosen_is_what_was_asked_for() {
        let choice =
            |words: &[&str]| Cli::parse_from(["settime32-tracer"].iter().chain(words)).choice();
        assert_eq!(choice(&[]), Choice::default());
        assert_eq!(
            choice(&["--fd", "-1", "--fd", "4", "--failed"]),
            Choice { fds: vec![-1, 4], failed: true, ..Choice::default() }
        );
        assert_eq!(choice(&["--abi", "i386"]).abi, Some(output::Abi::I386));
        assert_eq!(choice(&["--abi", "x86_64"]).abi, Some(output::Abi::X86_64));
        let between = choice(&["--armed-longer", "20ms", "--armed-shorter", "1h"]);
        assert_eq!(
            (between.armed_longer, between.armed_shorter),
            (Some(Duration::from_millis(20)), Some(Duration::from_secs(3600)))
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            &["-p", "0"][..],
            &["--count", "0"],
            &["--duration", "soon"],
            &["--buffer", "5000"],
            &["prog"],
        ] {
            let line = ["settime32-tracer"].iter().chain(arguments);
            assert!(Cli::try_parse_from(line).is_err(), "{arguments:?}");
        }
    }
}
