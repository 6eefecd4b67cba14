//! Which programs of the object go where, in either way to hook a function, and how they come off
//! again. Whether a way is chosen or given up is decided elsewhere.

use std::fmt;
use std::fs;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aya::programs::fentry::FEntryLinkId;
use aya::programs::fexit::FExitLinkId;
use aya::programs::kprobe::KProbeLinkId;
use aya::programs::raw_trace_point::RawTracePointLinkId;
use aya::programs::{KProbe, ProbeKind, Program, ProgramError, ProgramFd};
use aya::{Btf, Ebpf};
use nix::errno::Errno;
use settime32_abi::hook::{BY_FENTRY, BY_KPROBE, Hook};

use crate::preflight;

/// How functions of the kernel are hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// kprobes and a return probe: everywhere.
    Kprobe,
    /// BPF trampolines (fentry and fexit): for less than half the cost.
    Fentry,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kprobe => "kprobe",
            Self::Fentry => "fentry",
        })
    }
}

impl Mode {
    /// What is attached, in this order.
    pub const fn hooks(self) -> &'static [Hook] {
        match self {
            Self::Kprobe => BY_KPROBE,
            Self::Fentry => BY_FENTRY,
        }
    }

    /// The program that sees a call enter.
    const fn entry(self) -> &'static str {
        match self {
            Self::Kprobe => "settime32_entry",
            Self::Fentry => "settime32_fentry",
        }
    }

    /// See when ftrace is switched, by whatever mount of procfs.
    pub const fn switch_programs(self) -> Places {
        match self {
            Self::Kprobe => {
                &[("settime32_switched", "proc_sys_write"), ("settime32_switch", "proc_dointvec")]
            }
            Self::Fentry => &[
                ("settime32_switched_f", "proc_sys_write"),
                ("settime32_switch_f", "proc_dointvec"),
            ],
        }
    }

    /// The program that sees a call return.
    const fn exit(self) -> &'static str {
        match self {
            Self::Kprobe => "settime32_return",
            Self::Fentry => "settime32_fexit",
        }
    }
}

/// Programs, and where they go.
pub type Places = &'static [(&'static str, &'static str)];

/// Follow a command without tracefs and without a perf event.
pub const FOLLOW_BY_TRACEPOINT: Places =
    &[("settime32_fork", "sched_process_fork"), ("settime32_exec", "sched_process_exec")];

/// Sees when kprobes are switched, and where.
pub const KPROBES_SWITCH_PROGRAM: (&str, &str) =
    ("settime32_kprobes_switch", "write_enabled_file_bool");

/// Forgets threads of a followed command, and where.
pub const FORGET_PROGRAM: (&str, &str) = ("settime32_free", "sched_process_free");

/// Follow a command with preemption off.
pub const FOLLOW_BY_KPROBE: Places =
    &[("settime32_wakes", "wake_up_new_task"), ("settime32_takes_over", "exchange_tids")];

/// Sees threads exit, and where: calls whose return the kernel passed over are told then, and a
/// command's threads forgotten.
pub const EXIT_PROGRAM: (&str, &str) = ("settime32_exit", "sched_process_exit");

#[derive(Debug)]
enum Link {
    KProbe(KProbeLinkId),
    FEntry(FEntryLinkId),
    FExit(FExitLinkId),
    RawTracePoint(RawTracePointLinkId),
}

/// What is attached, in that order.
#[derive(Debug)]
pub struct Attached {
    mode: Mode,
    links: Vec<(&'static str, Link)>,
}

impl Attached {
    /// Attaches programs to raw tracepoints, then those of the mode to functions, once all of them
    /// are loaded. What was attached before something failed comes off again.
    pub fn attach(
        ebpf: &mut Ebpf,
        mode: Mode,
        tracepoints: &[(&'static str, &'static str)],
        programs: &[(&'static str, &'static str)],
    ) -> Result<Self> {
        let places = [tracepoints, programs].concat();
        load(ebpf, &places)?;
        let mut attached = Self { mode, links: Vec::new() };
        match attached.attach_all(ebpf, &places) {
            Ok(()) => Ok(attached),
            Err(error) => {
                attached.detach(ebpf)?;
                Err(error)
            }
        }
    }

    fn attach_all(
        &mut self,
        ebpf: &mut Ebpf,
        places: &[(&'static str, &'static str)],
    ) -> Result<()> {
        for &(name, place) in places {
            let to = || format!("failed to attach {name} to {place}");
            let link = match program(ebpf, name)? {
                Program::RawTracePoint(program) => {
                    Link::RawTracePoint(program.attach(place).with_context(to)?)
                }
                Program::KProbe(program) => attach_kprobe(program, name, place)?,
                Program::FEntry(program) => Link::FEntry(program.attach().with_context(to)?),
                Program::FExit(program) => Link::FExit(program.attach().with_context(to)?),
                _ => return Err(of_another_type(name)),
            };
            self.links.push((name, link));
        }
        Ok(())
    }

    /// Detaches everything, what was attached last first. When it returns, no program runs any
    /// more.
    pub fn detach(&mut self, ebpf: &mut Ebpf) -> Result<()> {
        let links = std::mem::take(&mut self.links);
        let by_trampoline =
            links.iter().any(|(_, link)| matches!(link, Link::FEntry(_) | Link::FExit(_)));
        for (name, link) in links.into_iter().rev() {
            let detached = match (program(ebpf, name)?, link) {
                // The kernel waits for programs that run (`perf_trace_event_unreg`,
                // `kernel/trace/trace_event_perf.c`).
                (Program::KProbe(program), Link::KProbe(link)) => program.detach(link),
                (Program::FEntry(program), Link::FEntry(link)) => program.detach(link),
                (Program::FExit(program), Link::FExit(link)) => program.detach(link),
                (Program::RawTracePoint(program), Link::RawTracePoint(link)) => {
                    program.detach(link)
                }
                _ => return Err(of_another_type(name)),
            };
            detached.with_context(|| format!("failed to detach {name}"))?;
        }
        if by_trampoline {
            wait_for_programs();
        }
        Ok(())
    }

    /// Attaches one program more. Fails where its function is not there, and leaves the others as
    /// they are.
    pub fn attach_also(
        &mut self,
        ebpf: &mut Ebpf,
        place: (&'static str, &'static str),
    ) -> Result<()> {
        load(ebpf, &[place])?;
        self.attach_all(ebpf, &[place])
    }

    /// Whether any of it is by kprobe, whatever the mode is.
    pub fn has_kprobes(&self) -> bool {
        self.links.iter().any(|(_, link)| matches!(link, Link::KProbe(_)))
    }

    /// Calls whose entry the kernel passed over. By fentry it does because the program was still
    /// busy with another one on that CPU: a program in a trampoline can be preempted, and does not
    /// run twice on a CPU (`__bpf_prog_enter_recur`, `kernel/bpf/trampoline.c`). By kprobe, because
    /// a thread that changes or reads a map of BPF was preempted there (`trace_call_bpf`,
    /// `kernel/trace/bpf_trace.c`).
    pub fn missed_entries(&self, ebpf: &mut Ebpf) -> Result<u64> {
        missed(ebpf, self.mode.entry())
    }

    /// The same of any of these programs that see something begin. An end that nobody saw leaves
    /// something behind, which is found and counted later.
    pub fn missed_by(
        &self,
        ebpf: &mut Ebpf,
        programs: impl Iterator<Item = &'static str>,
    ) -> Result<u64> {
        let mut sum = 0;
        for name in programs {
            let sees_an_end = match program(ebpf, name)? {
                Program::FExit(_) => true,
                Program::KProbe(program) => matches!(program.kind(), ProbeKind::Return),
                _ => false,
            };
            if !sees_an_end {
                sum += missed(ebpf, name)?;
            }
        }
        Ok(sum)
    }

    /// New processes and new programs, of whomever, that were passed over while a command was
    /// followed.
    pub fn missed_forks(ebpf: &mut Ebpf, programs: Places) -> Result<u64> {
        programs.iter().map(|(name, _)| missed(ebpf, name)).sum()
    }

    /// The same of returns.
    pub fn missed_returns(&self, ebpf: &mut Ebpf) -> Result<u64> {
        missed(ebpf, self.mode.exit())
    }
}

/// Loads what is not loaded yet: a program for both modes is, if the other mode was tried before.
fn load(ebpf: &mut Ebpf, places: &[(&'static str, &'static str)]) -> Result<()> {
    let mut btf = None;
    let mut has_kprobe = false;
    for &(name, place) in places {
        let loaded = match program(ebpf, name)? {
            Program::RawTracePoint(program) => {
                loaded(program.fd()).unwrap_or_else(|| program.load())
            }
            Program::KProbe(program) => {
                has_kprobe = true;
                loaded(program.fd()).unwrap_or_else(|| program.load())
            }
            Program::FEntry(program) => {
                let btf = kernels_types(&mut btf)?;
                loaded(program.fd()).unwrap_or_else(|| program.load(place, btf))
            }
            Program::FExit(program) => {
                let btf = kernels_types(&mut btf)?;
                loaded(program.fd()).unwrap_or_else(|| program.load(place, btf))
            }
            _ => return Err(of_another_type(name)),
        };
        let loaded =
            loaded.map_err(refused).with_context(|| format!("failed to load {name} for {place}"));
        loaded.map_err(preflight::explained)?;
    }
    if has_kprobe {
        preflight::check_kprobe(Path::new("/"))?;
    }
    Ok(())
}

/// Why the kernel takes a program not in: the end of what its verifier says, which has thousands of
/// lines.
fn refused(error: ProgramError) -> anyhow::Error {
    const LAST: usize = 3;
    let ProgramError::LoadError { io_error, verifier_log } = error else { return error.into() };
    let said = verifier_log.to_string();
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let error = anyhow::Error::new(io_error);
    match lines[lines.len().saturating_sub(LAST)..].join("; ") {
        nothing if nothing.is_empty() => error,
        last => error.context(format!("the kernel's verifier says: {last}")),
    }
}

fn loaded(fd: Result<&ProgramFd, ProgramError>) -> Option<Result<(), ProgramError>> {
    fd.is_ok().then_some(Ok(()))
}

/// Read when it is needed, since that takes long.
fn kernels_types(btf: &mut Option<Btf>) -> Result<&Btf> {
    if btf.is_none() {
        *btf = Some(Btf::from_sys_fs().context("failed to read the kernel's BTF")?);
    }
    btf.as_ref().context("the kernel's BTF was read")
}

fn attach_kprobe(program: &mut KProbe, name: &str, function: &str) -> Result<Link> {
    let link = program.attach(function, 0).or_else(|error| {
        // The kernel looked the symbol up, which costs it nothing; reading its whole table to say
        // what is wrong is only worth it now.
        preflight::check_symbol(Path::new("/"))?;
        Err(anyhow!(error).context(format!("failed to attach {name} to {function}")))
    })?;
    Ok(Link::KProbe(link))
}

fn of_another_type(name: &str) -> anyhow::Error {
    anyhow!("program {name} of the eBPF object is of another type")
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Program> {
    ebpf.program_mut(name).with_context(|| format!("the eBPF object has no program {name}"))
}

/// What the kernel counted of a program that it passed over: in a trampoline since 5.12, on a raw
/// tracepoint since 6.3, by kprobe since 6.7.
fn missed(ebpf: &mut Ebpf, name: &str) -> Result<u64> {
    let fd = match program(ebpf, name)? {
        Program::FEntry(program) => program.fd()?,
        Program::FExit(program) => program.fd()?,
        Program::KProbe(program) => program.fd()?,
        Program::RawTracePoint(program) => program.fd()?,
        _ => return Ok(0),
    };
    let fd = fd.as_fd().as_raw_fd();
    let path = format!("/proc/self/fdinfo/{fd}");
    let info = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    Ok(recursion_misses(&info))
}

/// Programs in trampolines run as readers of RCU, and taking one off does not wait for those that
/// run. This does (`membarrier`, `kernel/sched/membarrier.c`).
fn wait_for_programs() {
    // SAFETY: the call takes no pointers.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, libc::MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if Errno::result(result).is_err() {
        // Not there on kernels with nohz_full CPUs. Programs take microseconds.
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Kernels before 5.12 do not count.
fn recursion_misses(fdinfo: &str) -> u64 {
    let count = fdinfo.lines().find_map(|line| line.strip_prefix("recursion_misses:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misses_are_read_where_the_kernel_counts_them() {
        assert_eq!(
            recursion_misses("pos:\t0\nprog_type:\t26\nrun_cnt:\t0\nrecursion_misses:\t17\n"),
            17
        );
        assert_eq!(recursion_misses("pos:\t0\nprog_type:\t26\n"), 0);
    }

    #[test]
    fn a_call_is_seen_to_enter_only_once_the_rest_is_there() {
        for mode in [Mode::Kprobe, Mode::Fentry] {
            assert_eq!(mode.hooks().last().unwrap().program, mode.entry(), "{mode}");
        }
    }
}
