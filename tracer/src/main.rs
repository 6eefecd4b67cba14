//! The program: the library with nothing changed.

use std::process::ExitCode;

use clap::Parser;
use settime32_tracer::cli::Cli;
use settime32_tracer::seam::Shipped;

fn main() -> ExitCode {
    let cli = Cli::parse().checked().unwrap_or_else(|error| error.exit());
    settime32_tracer::trace(&cli, Shipped)
}
