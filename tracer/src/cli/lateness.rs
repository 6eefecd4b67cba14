//! The job that tells how late timers fire.

use clap::{Args, ValueEnum};

use super::Tracing;

/// How late timers fire and who waits for them runs, in a table while it goes on and with
/// percentiles at the end.
///
/// Late is counted from when a timer was due, as the kernel holds it. Timers that were due before
/// they were armed, that were cancelled, or that came due while the machine slept or by setting
/// their clock, are counted apart. A timer that fires before its time is an anomaly, which the
/// kernel rules out. Of what is not known, since events were lost, nothing is told but that.
#[derive(Clone, Debug, Args)]
pub struct Lateness {
    /// What is told apart.
    #[arg(long, value_enum, default_value_t = Per::Process)]
    pub per: Per,

    /// How it is told.
    #[arg(long, value_enum, default_value_t = Report::Table)]
    pub output: Report,

    /// How it is traced.
    #[command(flatten)]
    pub tracing: Tracing,
}

/// What is told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Per {
    /// Each timer, by the kernel's object.
    Timer,
    /// The processes that arm timers.
    Process,
    /// Nothing.
    All,
}

/// How it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// A table; on a terminal it is there from the start.
    Table,
    /// A JSON object a line for each firing, then one for each row of the table, and the summary.
    Json,
    /// A page with the table and a plot, whole in one file.
    Html,
}
