//! The workload as a 64-bit process; everything is in [`settime32_workload::program`].

use std::process::ExitCode;

fn main() -> ExitCode {
    settime32_workload::program::main()
}
