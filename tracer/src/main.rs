//! The program: the library with nothing changed.

use std::process::ExitCode;

use settime32_tracer::cli::Cli;
use settime32_tracer::seam::Shipped;

fn main() -> ExitCode {
    match Cli::read() {
        Ok(cli) => settime32_tracer::trace(&cli, Shipped),
        Err(answer) => settime32_tracer::answer(&answer),
    }
}
