//! The workload as an i386 process; everything is in [`settime32_workload::program`].

use std::process::ExitCode;

fn main() -> ExitCode {
    settime32_workload::program::main()
}
