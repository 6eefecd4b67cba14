//! What the tracer around a program is to tell: options of the tracer's own, by its own names.

use clap::Args;
use clap::builder::PossibleValuesParser;
use settime32_abi::lifecycle::Kind;
use settime32_abi::output::CALL_EVENT;

const FILTERS: &str = "Filters of --trace";
/// Stands for every event.
const ALL: &str = "all";

/// Arguments that are passed on.
#[derive(Args, Clone, Debug)]
pub(super) struct TracedArgs {
    /// What is reported, as by settime32-tracer: names divided by commas, or `all`.
    #[arg(long, value_name = "EVENT", value_delimiter = ',', requires = "trace", hide_possible_values = true,
          value_parser = PossibleValuesParser::new(Kind::ALL.map(Kind::as_str).into_iter().chain([CALL_EVENT, ALL])))]
    events: Vec<String>,
    /// Report the calls of this process of the guest, too; can be given more than once.
    #[arg(short, long = "pid", value_name = "PID", requires = "trace", help_heading = FILTERS,
          value_parser = clap::value_parser!(u32).range(1..=i64::from(i32::MAX)))]
    pids: Vec<u32>,
    /// Report the calls of threads with this name only; can be given more than once.
    #[arg(long = "comm", value_name = "NAME", requires = "trace", help_heading = FILTERS,
          value_parser = clap::builder::NonEmptyStringValueParser::new())]
    comms: Vec<String>,
    /// Print calls with this descriptor only; can be given more than once.
    #[arg(long = "fd", value_name = "N", allow_negative_numbers = true, requires = "trace", help_heading = FILTERS)]
    fds: Vec<i32>,
    /// Print the calls of this kind of process only.
    #[arg(long, requires = "trace", help_heading = FILTERS, value_parser = ["i386", "x86_64"])]
    abi: Option<String>,
    /// Print calls that returned an error only.
    #[arg(long, requires = "trace", help_heading = FILTERS)]
    failed: bool,
    /// Print calls only that arm the timer for longer than this time, such as 20ms or 1h.
    #[arg(long, value_name = "TIME", requires = "trace", help_heading = FILTERS, value_parser = time)]
    armed_longer: Option<String>,
    /// The same for a shorter time; with both, for a time in between.
    #[arg(long, value_name = "TIME", requires = "trace", help_heading = FILTERS, value_parser = time)]
    armed_shorter: Option<String>,
}

fn time(text: &str) -> Result<String, humantime::DurationError> {
    humantime::parse_duration(text).map(|_| text.to_owned())
}

impl TracedArgs {
    /// Whether anything but the call itself is asked for.
    pub(super) fn asks_for_more(&self) -> bool {
        self.events.iter().any(|event| event != CALL_EVENT)
    }

    /// The tracer's words.
    pub(super) fn words(&self) -> Vec<String> {
        let Self { events, pids, comms, fds, abi, failed, armed_longer, armed_shorter } = self;
        let word = |name: &str, value: &str| format!("--{name}={value}");
        let mut words = Vec::new();
        words.extend((!events.is_empty()).then(|| word("events", &events.join(","))));
        words.extend(pids.iter().map(|pid| word("pid", &pid.to_string())));
        words.extend(comms.iter().map(|comm| word("comm", comm)));
        words.extend(fds.iter().map(|fd| word("fd", &fd.to_string())));
        words.extend(abi.iter().map(|abi| word("abi", abi)));
        words.extend(failed.then(|| "--failed".to_owned()));
        words.extend(armed_longer.iter().map(|time| word("armed-longer", time)));
        words.extend(armed_shorter.iter().map(|time| word("armed-shorter", time)));
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};

    fn words(arguments: &[&str]) -> Vec<String> {
        let cli =
            Cli::parse_from(["settime32-harness", "run"].iter().chain(arguments).chain(&["prog"]));
        let Command::Run(arguments) = cli.command else { panic!("it runs a program") };
        arguments.options().trace.map(|trace| trace.words).unwrap_or_default()
    }

    #[test]
    fn options_of_the_tracer_are_passed_on_by_their_names() {
        assert!(words(&["--trace"]).is_empty());
        let given = [
            "--trace",
            "--events",
            "expiry,release",
            "-p",
            "7",
            "--comm",
            "a b",
            "--fd",
            "-1",
            "--fd",
            "4",
            "--abi",
            "i386",
        ];
        let passed =
            ["--events=expiry,release", "--pid=7", "--comm=a b", "--fd=-1", "--fd=4", "--abi=i386"];
        assert_eq!(words(&given), passed);
        let given = ["--trace", "--failed", "--armed-longer", "20ms", "--armed-shorter", "1h"];
        assert_eq!(words(&given), ["--failed", "--armed-longer=20ms", "--armed-shorter=1h"]);
    }

    #[test]
    fn what_the_tracer_would_refuse_is_refused_here() {
        let refused = |arguments: &[&str]| {
            let line = ["settime32-harness", "run"].iter().chain(arguments).chain(&["prog"]);
            Cli::try_parse_from(line).and_then(Cli::checked).is_err()
        };
        assert!(!refused(&["--trace", "--events", "all", "--output", "json"]));
        for arguments in [
            &["--events", "all"][..],
            &["--trace", "--events", "expires"],
            &["--trace", "--pid", "0"],
            &["--trace", "--comm", ""],
            &["--trace", "--armed-longer", "soon"],
            &["--trace", "--abi", "arm"],
            &["--trace", "--events", "all", "--output", "tracee"],
        ] {
            assert!(refused(arguments), "{arguments:?}");
        }
    }
}
