//! What is traced and how, whatever is then made of it.

use std::ffi::OsString;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum, value_parser};
use settime32_abi::event::COMM_LEN;
use thiserror::Error;

use super::FILTERS;
use crate::buffer_size::BufferSize;

/// Options of everything that traces.
#[derive(Clone, Debug, Args)]
pub struct Tracing {
    /// Report the calls of this process only, by its id in the tracer's own pid namespace; can be
    /// given more than once. Without COMMAND, tracing ends when none of them runs any more.
    #[arg(short, long = "pid", value_name = "PID", value_parser = value_parser!(u32).range(1..=i64::from(i32::MAX)), help_heading = FILTERS)]
    pub pids: Vec<u32>,

    /// Report the calls of threads with this name only; can be given more than once. The kernel
    /// keeps the first 15 bytes of a name, and so does this.
    #[arg(long = "comm", value_name = "NAME", help_heading = FILTERS)]
    pub comms: Vec<Comm>,

    /// Stop after this time, such as 10s or 5min.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub duration: Option<Duration>,

    /// Size of the buffer between the kernel and this program: a power of two of at least 4K. A
    /// call takes 144 bytes (152 in a pid namespace), so the default holds 116,508 calls that this
    /// program has not come round to yet.
    #[arg(long, value_name = "SIZE", default_value = "16M")]
    pub buffer: BufferSize,

    /// How the kernel's functions are hooked.
    #[arg(long, value_enum, default_value_t = Attach::Auto)]
    pub attach: Attach,

    /// End with COMMAND's exit code even when calls were lost; the last line on standard error
    /// still says so.
    #[arg(long)]
    pub pass_exit_code: bool,

    /// A command to run, traced with all processes that it starts; tracing ends when it does.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// How the kernel's functions are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Attach {
    /// By fentry where that works, else by kprobe; the line that says "ready" names it.
    Auto,
    /// By kprobes and a return probe, which every kernel has.
    Kprobe,
    /// By fentry and fexit, which cost each call less than half as much and need the kernel's BTF
    /// and 5.12.
    Fentry,
}

/// Which calls the kernel side is to report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Process ids, in the tracer's pid namespace; empty lets every process through, unless a
    /// command is followed.
    pub pids: Vec<u32>,
    /// Thread names; empty lets every name through.
    pub comms: Vec<Comm>,
    /// The first process of a followed command.
    pub command: Option<u32>,
}

impl Filter {
    /// Whether not all calls are wanted.
    pub fn is_any(&self) -> bool {
        self != &Self::default()
    }
}

impl Tracing {
    /// The filter that was asked for, with the process id of the command, if any.
    pub fn filter(&self, command: Option<u32>) -> Filter {
        Filter { pids: self.pids.clone(), comms: self.comms.clone(), command }
    }
}

/// A thread's name as the kernel has it: cut and padded with NULs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comm(pub [u8; COMM_LEN]);

/// Why a text is no [`Comm`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("a thread's name has no NUL")]
pub struct CommError;

impl FromStr for Comm {
    type Err = CommError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        if name.contains('\0') {
            return Err(CommError);
        }
        let mut comm = [0; COMM_LEN];
        let len = name.len().min(COMM_LEN - 1);
        comm[..len].copy_from_slice(&name.as_bytes()[..len]);
        Ok(Self(comm))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_as_the_kernel_cuts_them() {
        assert_eq!("prog".parse(), Ok(Comm(*b"prog\0\0\0\0\0\0\0\0\0\0\0\0")));
        // By `prctl`.
        assert_eq!("".parse(), Ok(Comm([0; COMM_LEN])));
        assert_eq!("a-very-long-program-name".parse(), Ok(Comm(*b"a-very-long-pro\0")));
    }
}
