//! Whether this machine can be traced: facts gathered under a root folder, then judged. Loading and
//! attaching can still fail; then the kernel's own words are what there is to say.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};
use settime32_abi::exit;
use thiserror::Error;

use crate::attach::{FOLLOW_BY_KPROBE, FOLLOW_BY_TRACEPOINT, Places};
use crate::cli::Tracing;
use crate::kernel_types::{Of, look_up};
use crate::symbol::{self, Found};
use crate::{switches, trial};

/// The i386 entry of the system call: what the kernel calls for `int 0x80`, `sysenter` and compat
/// `syscall`.
pub const SYMBOL: &str = settime32_abi::hook::WRAPPER;
/// Made by the same macro (`SYSCALL_DEFINE`), and in no system call table.
const NEVER_CALLED: &str = "__x64_sys_timerfd_settime32";

/// `BPF_MAP_TYPE_RINGBUF` came with this version.
const MIN_KERNEL: (u32, u32) = (5, 8);

/// Before this version, the kernel frees a trampoline that comes off while a call sleeps below it,
/// and the call returns into what was freed (repaired by "bpf: Fix fexit trampoline.").
const MIN_FENTRY_KERNEL: (u32, u32) = (5, 12);

/// `bpf_get_current_task_btf` came with this version.
const MIN_TASK_KERNEL: (u32, u32) = (5, 11);

/// From this version on, what BPF takes counts towards the control group's memory, before that
/// towards `RLIMIT_MEMLOCK`.
const NO_MEMLOCK_KERNEL: (u32, u32) = (5, 11);

/// From 7.0 on, programs on raw tracepoints can be preempted, and are then passed over for another
/// thread on that CPU. A version earlier, to be safe.
const PREEMPTED_TRACEPOINT_KERNEL: (u32, u32) = (6, 19);

/// What the initial user namespace is called (`PROC_USER_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_USERS: &str = "user:[4026531837]";

/// Says whether programs of fentry are preempted.
const PREEMPT_MODEL: &str = "sys/kernel/debug/sched/preempt";

/// From this value on, Debian's kernels give perf events to `CAP_SYS_ADMIN` alone; others take it
/// for 2.
const PARANOID_OF_DEBIAN: i32 = 3;
/// `bpf_task_pt_regs` came with this version.
const MIN_TASK_REGS_KERNEL: (u32, u32) = (5, 15);

// Of `include/uapi/linux/capability.h`.
const CAP_SYS_ADMIN: u32 = 21;
const CAP_PERFMON: u32 = 38;
const CAP_BPF: u32 = 39;

/// What decides whether tracing can work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// `uname -r`.
    pub release: String,
    /// Effective capabilities, a bit each.
    pub capabilities: u64,
    /// The capabilities are those of a user namespace, and worth nothing outside of it.
    pub in_user_namespace: bool,
    /// A seccomp filter is in force.
    pub has_seccomp: bool,
    /// Content of the lockdown file; `None` where the kernel has none.
    pub lockdown: Option<String>,
    /// The kernel describes its types.
    pub has_btf: bool,
    /// Where a task has its name, if that is known and of use.
    pub comm_at: Option<u32>,
    /// Where a task has its thread's id, if that is known.
    pub task_pid_at: Option<u32>,
    /// The CPUs enter the kernel in the new way, by one door for everything (FRED).
    pub one_door: bool,
    /// The kernel may take a CPU from a task that is inside it; `None` when that cannot be found
    /// out.
    pub preempts: Option<bool>,
    /// What would tell may not be read.
    pub is_model_hidden: bool,
    /// Interrupts are threads, and so may be preempted themselves (`PREEMPT_RT`).
    pub interrupts_are_threads: bool,
}

/// Why this machine cannot be traced, and what to do about it.
#[derive(Debug, Error)]
pub enum Refusal {
    /// The build script found no BPF toolchain.
    #[error(
        "this binary was built without its eBPF program ({reason}); build it again where the BPF toolchain is installed"
    )]
    Stub {
        /// What the build script said.
        reason: &'static str,
    },
    /// A fact could not be read.
    #[error(
        "failed to read {}, which tells whether this machine can be traced ({})",
        path.display(),
        mounting(path)
    )]
    Unreadable {
        /// Of what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No BPF ring buffer.
    #[error("kernel {release} is too old: BPF ring buffers need {}.{} or later", MIN_KERNEL.0, MIN_KERNEL.1)]
    KernelTooOld {
        /// `uname -r`.
        release: String,
    },
    /// Not allowed to load and attach.
    #[error(
        "missing {missing}; run as root, give the binary `setcap cap_bpf,cap_perfmon=ep`, or a container `--cap-add BPF --cap-add PERFMON`"
    )]
    Unprivileged {
        /// Names of the capabilities.
        missing: &'static str,
    },
    /// Capabilities that do not count.
    #[error(
        "this is a user namespace, whose capabilities do not count for bpf(2), not even its root's; run it outside of the namespace"
    )]
    UserNamespace,
    /// bpf(2) does not do it all the same.
    #[error("bpf(2) is refused ({}): {reason}", errno.desc())]
    BpfRefused {
        /// What it said.
        errno: Errno,
        /// Who refuses it, as far as one can tell, and what to do.
        reason: &'static str,
    },
    /// No room for the maps.
    #[error(
        "RLIMIT_MEMLOCK is {limit_kib} KiB, and before 5.11 the kernel counts maps and programs towards it; give it room by `ulimit -l unlimited` as root, at least 32 MiB more than --buffer"
    )]
    Memlock {
        /// What it is.
        limit_kib: u64,
    },
    /// No perf events, by which kprobes are had.
    #[error("kprobes are refused ({}): {reason}", errno.desc())]
    NoKprobe {
        /// What `perf_event_open` said.
        errno: Errno,
        /// Who refuses them, as far as one can tell, and what to do.
        reason: String,
    },
    /// What is to be traced is not there.
    #[error("no process {pid} runs")]
    NoProcess {
        /// Its id.
        pid: u32,
    },
    /// What is to be traced is a thread.
    #[error("{tid} is a thread, and processes are traced: run with `-p {}`", .pid.map_or_else(|| "PID".into(), |pid| pid.to_string()))]
    OfThread {
        /// Its id.
        tid: u32,
        /// That of its process, where it is known.
        pid: Option<u32>,
    },
    /// A process cannot be held.
    #[error(
        "pidfd_open(2), which --pid needs, is refused ({errno}): a seccomp filter or the limit on open files (`ulimit -n`) may be why; trace with --comm, or without a filter"
    )]
    NoPidfd {
        /// By this.
        errno: Errno,
    },
    /// More files are needed than may be open.
    #[error(
        "this process may have {limit} files open, too few for the programs and maps of BPF: run it after `ulimit -n 1024`"
    )]
    Files {
        /// The limit.
        limit: u64,
    },
    /// No type information, and a command is to be followed.
    #[error(
        "kernel {release} does not say in /sys/kernel/btf/vmlinux where a task has its id, which following COMMAND needs; boot one built with CONFIG_DEBUG_INFO_BTF=y, or trace with --pid or --comm"
    )]
    FollowNeedsBtf {
        /// `uname -r`.
        release: String,
    },
    /// Kernel memory must not be read.
    #[error(
        "the kernel is locked down in confidentiality mode, which forbids probes; boot without `lockdown=confidentiality`"
    )]
    LockedDown,
    /// No type information.
    #[error(
        "kernel {release} has no BTF in /sys/kernel/btf/vmlinux, which fentry needs; boot one built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    NoBtf {
        /// `uname -r`.
        release: String,
    },
    /// No type information, and other events are asked for.
    #[error(
        "kernel {release} has no BTF in /sys/kernel/btf/vmlinux, which events beside timerfd_settime32 need; boot one built with CONFIG_DEBUG_INFO_BTF=y, or leave --events out"
    )]
    EventsNeedBtf {
        /// `uname -r`.
        release: String,
    },
    /// The kernel's structures are others than those that are known.
    #[error(
        "the kernel does not describe {member}, which events beside timerfd_settime32 need; leave --events out, and report this kernel"
    )]
    NoMember {
        /// Structure and member.
        member: String,
    },
    /// No type information, in a pid namespace or for the ids of one.
    #[error(
        "this kernel has no BTF in /sys/kernel/btf/vmlinux, which ids of a pid namespace need; trace from the initial one, by --output pretty or json"
    )]
    IdsNeedBtf,
    /// The kernel has ids otherwise than is known.
    #[error(
        "the kernel does not describe {member} as it is known, which ids of a pid namespace need; trace from the initial one, by --output pretty or json, and report this kernel"
    )]
    NoIds {
        /// Structure and member.
        member: String,
    },
    /// Trampolines do not work.
    #[error("fentry does not work here: {reason}")]
    NoFentry {
        /// Why.
        reason: String,
    },
    /// Trampolines are not safe.
    #[error("fentry is safe from kernel {}.{} on, and this is {release}", MIN_FENTRY_KERNEL.0, MIN_FENTRY_KERNEL.1)]
    FentryUnsafe {
        /// `uname -r`.
        release: String,
    },
    /// The i386 entry is not there.
    #[error("kernel has no {SYMBOL}: {reason}")]
    NoSymbol {
        /// What is there instead and what to do.
        reason: &'static str,
    },
}

impl Refusal {
    /// The exit code that stands for it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unreadable { .. } | Self::NoProcess { .. } | Self::OfThread { .. } => {
                exit::FAILED
            }
            Self::Stub { .. } => exit::STUB,
            Self::KernelTooOld { .. } => exit::TOO_OLD,
            Self::Unprivileged { .. }
            | Self::UserNamespace
            | Self::BpfRefused { .. }
            | Self::Memlock { .. }
            | Self::NoKprobe { .. }
            | Self::NoPidfd { .. }
            | Self::Files { .. } => exit::UNPRIVILEGED,
            Self::LockedDown => exit::LOCKED_DOWN,
            Self::NoBtf { .. }
            | Self::EventsNeedBtf { .. }
            | Self::FollowNeedsBtf { .. }
            | Self::IdsNeedBtf => exit::NO_BTF,
            Self::NoSymbol { .. } => exit::NO_ENTRY,
            Self::NoFentry { .. } => exit::NO_FENTRY,
            Self::FentryUnsafe { .. } => exit::FENTRY_UNSAFE,
            Self::NoMember { .. } | Self::NoIds { .. } => exit::NO_MEMBER,
        }
    }
}

impl Facts {
    /// Reads the facts below `root`, which is `/` but in tests.
    pub fn gather(root: &Path) -> Result<Self, Refusal> {
        let release = read(&root.join("proc/sys/kernel/osrelease"))?.trim().to_owned();
        let sys = root.join("sys/kernel");
        // Neither way to attach does without.
        fs::metadata(&sys).map_err(|source| Refusal::Unreadable { path: sys, source })?;
        let status_path = root.join("proc/self/status");
        let status = read(&status_path)?;
        let capabilities = effective_capabilities(&status).ok_or_else(|| Refusal::Unreadable {
            path: status_path,
            source: io::Error::new(io::ErrorKind::InvalidData, "no line `CapEff:`"),
        })?;
        let users = fs::read_link(root.join("proc/self/ns/user"));
        let in_user_namespace = users.is_ok_and(|name| name.as_os_str() != INITIAL_USERS);
        let has_seccomp = line(&status, "Seccomp:").is_some_and(|mode| mode != "0");
        let lockdown = fs::read_to_string(root.join("sys/kernel/security/lockdown")).ok();
        let version = read(&root.join("proc/sys/kernel/version"))?;
        let model = fs::read_to_string(root.join(PREEMPT_MODEL));
        let is_model_hidden =
            model.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        let btf = fs::read(root.join("sys/kernel/btf/vmlinux")).ok();
        let [comm_at, task_pid_at] =
            btf.as_deref().map_or([None; 2], |btf| in_a_task(btf, &release));
        let one_door = has_cpu_flag(root, "fred");
        let (has_btf, preempts) = (btf.is_some(), preempts(&version, model.as_deref().ok()));
        let interrupts_are_threads = version.contains("PREEMPT_RT");
        Ok(Self {
            release,
            capabilities,
            in_user_namespace,
            has_seccomp,
            lockdown,
            has_btf,
            comm_at,
            task_pid_at,
            one_door,
            preempts,
            is_model_hidden,
            interrupts_are_threads,
        })
    }
}

/// Whether the first CPU has a flag. The others are not looked at: the kernel takes a moment for
/// each.
fn has_cpu_flag(root: &Path, flag: &str) -> bool {
    let Ok(cpus) = File::open(root.join("proc/cpuinfo")) else { return false };
    let mut lines = BufReader::new(cpus).lines().map_while(Result::ok);
    lines
        .find(|line| line.starts_with("flags"))
        .is_some_and(|line| line.split_whitespace().any(|word| word == flag))
}

/// Where a task has its name, for programs that can get at the task, and its thread's id.
fn in_a_task(btf: &[u8], release: &str) -> [Option<u32>; 2] {
    let answers =
        look_up(btf, &[("task_struct", Of::Member("comm")), ("task_struct", Of::Member("pid"))]);
    let has_helper = version(release).is_some_and(|version| version >= MIN_TASK_KERNEL);
    // The programs read it in words.
    let comm_at = answers[0].filter(|at| has_helper && at.is_multiple_of(8));
    [comm_at, answers[1]]
}

/// Whether programs can get at the registers of the task that they interrupt.
pub fn has_task_pt_regs(facts: &Facts) -> bool {
    facts.has_btf && version(&facts.release).is_some_and(|version| version >= MIN_TASK_REGS_KERNEL)
}

/// Judges the facts: what the user can change least comes first.
pub fn check(facts: &Facts) -> Result<(), Refusal> {
    if version(&facts.release).is_none_or(|version| version < MIN_KERNEL) {
        return Err(Refusal::KernelTooOld { release: facts.release.clone() });
    }
    if facts.in_user_namespace {
        return Err(Refusal::UserNamespace);
    }
    if let Some(missing) = missing_capabilities(facts.capabilities) {
        return Err(Refusal::Unprivileged { missing });
    }
    if facts.lockdown.as_deref().is_some_and(|modes| modes.contains("[confidentiality]")) {
        return Err(Refusal::LockedDown);
    }
    Ok(())
}

/// Judges what this run needs besides, and tries whether the kernel loads programs at all.
pub fn check_run(facts: &Facts, tracing: &Tracing) -> Result<(), Refusal> {
    trial::load().or_else(|errno| load_refused(facts, errno, memlock_limit_kib(&facts.release)))?;
    if !tracing.command.is_empty() && facts.task_pid_at.is_none() {
        return Err(Refusal::FollowNeedsBtf { release: facts.release.clone() });
    }
    Ok(())
}

/// Why no program is loaded although the capabilities are there. It is no refusal yet where the
/// limit of memory, which may still be raised, may be why.
fn load_refused(
    facts: &Facts,
    errno: Errno,
    memlock_limit_kib: Option<u64>,
) -> Result<(), Refusal> {
    let reason = match errno {
        // There is no such helper then.
        Errno::EINVAL => return Err(Refusal::LockedDown),
        Errno::EPERM if memlock_limit_kib.is_some() => return Ok(()),
        _ if facts.has_seccomp => {
            "likely, the seccomp filter that is in force (a container's) forbids it; let its profile allow bpf(2) and perf_event_open(2)"
        }
        Errno::ENOSYS => {
            "the kernel was built without it; boot one built with CONFIG_BPF_SYSCALL=y"
        }
        _ => "likely, a security module forbids it; the kernel's log may say which",
    };
    Err(Refusal::BpfRefused { errno, reason })
}

/// What an error comes of, where the kernel itself says no more than that something is not
/// permitted, or too much.
pub fn explained(error: anyhow::Error) -> anyhow::Error {
    let is_of = |errno: Errno| {
        let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        causes.any(|cause| cause.raw_os_error() == Some(errno as i32))
    };
    if is_of(Errno::EMFILE) {
        let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
        return Refusal::Files { limit }.into();
    }
    let not_permitted = is_of(Errno::EPERM);
    let release = nix::sys::utsname::uname()
        .ok()
        .and_then(|names| names.release().to_str().map(str::to_owned));
    match release.and_then(|release| memlock_limit_kib(&release)).filter(|_| not_permitted) {
        Some(limit_kib) => error.context(Refusal::Memlock { limit_kib }),
        None => error,
    }
}

/// The limit on memory that BPF takes, if there is one.
fn memlock_limit_kib(release: &str) -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK)
        .ok()
        .filter(|_| version(release).is_some_and(|version| version < NO_MEMLOCK_KERNEL))?;
    (soft != RLIM_INFINITY).then_some(soft / 1024)
}

/// Whether kprobes can be had: by perf events, whose kind is looked up below `/sys`.
pub fn check_kprobe(root: &Path) -> Result<(), Refusal> {
    read(&root.join("sys/bus/event_source/devices/kprobe/type"))?;
    trial::perf_event().or_else(|errno| {
        let paranoid = read(&root.join("proc/sys/kernel/perf_event_paranoid"))
            .ok()
            .and_then(|value| value.trim().parse().ok());
        Err(kprobe_refused(&Facts::gather(root)?, errno, paranoid))
    })
}

/// What follows a command here: of the two, what loses nothing, if it can be had and sees.
pub fn follow_by(facts: &Facts) -> Places {
    let root = Path::new("/");
    let by_kprobe =
        tracepoints_lose(facts) && check_kprobe(root).is_ok() && !switches::are_kprobes_off(root);
    if by_kprobe { FOLLOW_BY_KPROBE } else { FOLLOW_BY_TRACEPOINT }
}

fn tracepoints_lose(facts: &Facts) -> bool {
    facts.preempts != Some(false)
        && version(&facts.release).is_some_and(|version| version >= PREEMPTED_TRACEPOINT_KERNEL)
}

fn kprobe_refused(facts: &Facts, errno: Errno, paranoid: Option<i32>) -> Refusal {
    let may_all = facts.capabilities & (1 << CAP_SYS_ADMIN) != 0;
    let reason = match paranoid {
        Some(paranoid @ PARANOID_OF_DEBIAN..) if !may_all => format!(
            "kernel.perf_event_paranoid is {paranoid}, with which this kernel gives them to CAP_SYS_ADMIN alone; run as root, or `sysctl kernel.perf_event_paranoid=2`"
        ),
        _ if facts.has_seccomp => {
            "likely, the seccomp filter that is in force (a container's) forbids it; let its profile allow perf_event_open(2)".to_owned()
        }
        _ => "likely, a security module forbids it; the kernel's log may say which".to_owned(),
    };
    Refusal::NoKprobe { errno, reason }
}

/// Judges what fentry needs besides.
pub fn check_fentry(facts: &Facts) -> Result<(), Refusal> {
    if version(&facts.release).is_none_or(|version| version < MIN_FENTRY_KERNEL) {
        return Err(Refusal::FentryUnsafe { release: facts.release.clone() });
    }
    if !facts.has_btf {
        return Err(Refusal::NoBtf { release: facts.release.clone() });
    }
    Ok(())
}

/// Why fentry would lose calls here, if it would: the kernel passes a program in a trampoline over
/// while the same program, preempted, is busy on that CPU (`__bpf_prog_enter_recur`,
/// `kernel/bpf/trampoline.c`). kprobes run with preemption off.
pub fn fentry_loses(facts: &Facts) -> Option<&'static str> {
    match facts.preempts {
        Some(false) => None,
        Some(true) => Some(
            "this kernel preempts programs of fentry, and then passes over calls of other threads",
        ),
        None if facts.is_model_hidden => Some(
            "this kernel may preempt programs of fentry, and /sys/kernel/debug/sched/preempt, which would tell, is not for this user to read",
        ),
        None => Some(
            "this kernel may preempt programs of fentry, which /sys/kernel/debug/sched/preempt would tell; mount debugfs",
        ),
    }
}

/// Judged by `uname -v`, and by the model in parentheses where it can be chosen at boot.
fn preempts(version: &str, model: Option<&str>) -> Option<bool> {
    if !version.contains("PREEMPT") {
        return Some(false);
    }
    if !version.contains("PREEMPT_DYNAMIC") {
        return Some(true);
    }
    let (_, chosen) = model?.split_once('(')?;
    let (chosen, _) = chosen.split_once(')')?;
    Some(!matches!(chosen, "none" | "voluntary"))
}

/// Looks the i386 entry up in the kernel's symbol table.
pub fn check_symbol(root: &Path) -> Result<(), Refusal> {
    let path = root.join("proc/kallsyms");
    // Each read makes the kernel look for where the last one ended, so large ones are much faster.
    let table = File::open(&path).map(|file| BufReader::with_capacity(1 << 20, file));
    let found = table
        .and_then(|table| symbol::find(table, SYMBOL, NEVER_CALLED))
        .map_err(|source| Refusal::Unreadable { path, source })?;
    let reason = match found {
        Found::Wanted => return Ok(()),
        Found::OnlyOther => {
            "it has only __x64_sys_timerfd_settime32, which nothing calls, so 32-bit programs cannot run; boot one built with CONFIG_IA32_EMULATION=y"
        }
        Found::Neither => {
            "it has no timerfd for 32-bit times; boot one built with CONFIG_IA32_EMULATION=y and CONFIG_COMPAT_32BIT_TIME=y"
        }
    };
    Err(Refusal::NoSymbol { reason })
}

fn read(path: &Path) -> Result<String, Refusal> {
    fs::read_to_string(path).map_err(|source| Refusal::Unreadable { path: path.to_owned(), source })
}

/// How what is below a path is had, if that is why it is not there.
fn mounting(path: &Path) -> &'static str {
    let proc = path.ancestors().find(|folder| folder.ends_with("proc"));
    match proc.map(statfs) {
        Some(Ok(mounted)) if mounted.filesystem_type() == PROC_SUPER_MAGIC => {
            "this procfs is another pid namespace's, or lacks it, as one with subset=pid does; run `mount -t proc proc /proc` for one of its own"
        }
        _ => "if it is not mounted, run `mount -t proc proc /proc`, `mount -t sysfs sysfs /sys`",
    }
}

fn effective_capabilities(status: &str) -> Option<u64> {
    u64::from_str_radix(line(status, "CapEff:")?, 16).ok()
}

/// What stands behind a word that begins a line.
fn line<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|other: char| !other.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn missing_capabilities(effective: u64) -> Option<&'static str> {
    let has = |capability: u32| effective & (1 << capability) != 0;
    match (has(CAP_BPF) || has(CAP_SYS_ADMIN), has(CAP_PERFMON) || has(CAP_SYS_ADMIN)) {
        (true, true) => None,
        (false, true) => Some("CAP_BPF"),
        (true, false) => Some("CAP_PERFMON"),
        (false, false) => Some("CAP_BPF and CAP_PERFMON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: &str = "000001ffffffffff";

    /// A root folder of a machine that can be traced.
    fn machine(release: &str, cap_eff: &str) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        put(root.path(), "proc/sys/kernel/osrelease", &format!("{release}\n"));
        put(root.path(), "proc/sys/kernel/version", "#1 SMP PREEMPT_DYNAMIC Debian 6.12.1-1\n");
        put(root.path(), "sys/kernel/debug/sched/preempt", "none (voluntary) full lazy\n");
        put(
            root.path(),
            "proc/self/status",
            &format!(
                "Name:\tprog\nCapPrm:\t{ALL}\nCapEff:\t{cap_eff}\nCapBnd:\t{ALL}\nSeccomp:\t0\n"
            ),
        );
        users(root.path(), INITIAL_USERS);
        put(root.path(), "sys/kernel/security/lockdown", "[none] integrity confidentiality\n");
        put(root.path(), "sys/kernel/btf/vmlinux", "");
        put(root.path(), "proc/kallsyms", &format!("0 T {NEVER_CALLED}\n0 T {SYMBOL}\n"));
        root
    }

    fn users(root: &Path, name: &str) {
        let link = root.join("proc/self/ns/user");
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(name, link).unwrap();
    }

    fn put(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn judge(root: &Path) -> Result<(), Refusal> {
        check(&Facts::gather(root)?)?;
        check_symbol(root)
    }

    fn judge_fentry(root: &Path) -> Result<(), Refusal> {
        check_fentry(&Facts::gather(root)?)
    }

    #[test]
    fn a_machine_with_everything_passes() {
        judge(machine("6.12.117+deb12-cloud-amd64", ALL).path()).unwrap();
        judge(machine("5.8.0", ALL).path()).unwrap();
        judge(machine("10.0-rc1", ALL).path()).unwrap();
    }

    #[test]
    fn flags_of_the_cpu_are_whole_words() {
        let root = machine("6.1.0", ALL);
        let has_one_door = || Facts::gather(root.path()).unwrap().one_door;
        assert!(!has_one_door());
        put(
            root.path(),
            "proc/cpuinfo",
            "processor\t: 0\nflags\t\t: fpu fredx lm\nbugs\t\t: fred\n",
        );
        assert!(!has_one_door());
        put(root.path(), "proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu fred lm\n");
        assert!(has_one_door());
    }

    #[test]
    fn lockdown_and_its_file_are_optional() {
        let root = machine("6.1.0", ALL);
        put(root.path(), "sys/kernel/security/lockdown", "none [integrity] confidentiality\n");
        judge(root.path()).unwrap();
        fs::remove_file(root.path().join("sys/kernel/security/lockdown")).unwrap();
        judge(root.path()).unwrap();
    }

    #[test]
    fn each_capability_is_asked_for() {
        let missing = |capabilities: &[u32]| {
            let mask: u64 = capabilities.iter().map(|capability| 1 << capability).sum();
            match judge(machine("6.1.0", &format!("{mask:016x}")).path()) {
                Ok(()) => None,
                Err(Refusal::Unprivileged { missing }) => Some(missing),
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(missing(&[]), Some("CAP_BPF and CAP_PERFMON"));
        assert_eq!(missing(&[CAP_BPF]), Some("CAP_PERFMON"));
        assert_eq!(missing(&[CAP_PERFMON]), Some("CAP_BPF"));
        assert_eq!(missing(&[CAP_BPF, CAP_PERFMON]), None);
        assert_eq!(missing(&[CAP_SYS_ADMIN]), None);
    }

    #[test]
    fn each_refusal_has_its_own_code_and_says_what_to_do() {
        let old = machine("5.7.19-amd64", ALL);
        let unprivileged = machine("6.1.0", "0000000000000000");
        let locked = machine("6.1.0", ALL);
        put(locked.path(), "sys/kernel/security/lockdown", "none integrity [confidentiality]\n");
        let native = machine("6.1.0", ALL);
        put(native.path(), "proc/kallsyms", &format!("0 T {NEVER_CALLED}\n"));
        let contained = machine("6.1.0", ALL);
        users(contained.path(), "user:[4026532345]");
        for (root, code, words) in [
            (&old, 11, "need 5.8 or later"),
            (&unprivileged, 12, "run as root"),
            (&contained, 12, "outside of the namespace"),
            (&locked, 13, "boot without"),
            (&native, 15, "which nothing calls"),
        ] {
            let refusal = judge(root.path()).unwrap_err();
            assert_eq!(refusal.exit_code(), code, "{refusal}");
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
    }

    /// Only fentry needs BTF.
    #[test]
    fn fentry_is_refused_where_it_does_not_work() {
        let untyped = machine("6.1.0", ALL);
        fs::remove_file(untyped.path().join("sys/kernel/btf/vmlinux")).unwrap();
        judge(untyped.path()).unwrap();
        let old = machine("5.11.22", ALL);
        judge(old.path()).unwrap();
        for (root, code, words) in [
            (&untyped, 14, "CONFIG_DEBUG_INFO_BTF"),
            (&old, 18, "safe from kernel 5.12 on, and this is 5.11.22"),
        ] {
            let refusal = judge_fentry(root.path()).unwrap_err();
            assert_eq!(refusal.exit_code(), code, "{refusal}");
            assert!(refusal.to_string().contains(words), "{refusal}");
        }
        judge_fentry(machine("5.12.0", ALL).path()).unwrap();
    }

    #[test]
    fn preemption_is_told_by_the_version_and_the_model() {
        let loses = |version: &str, model: Option<&str>| {
            let root = machine("6.1.0", ALL);
            put(root.path(), "proc/sys/kernel/version", version);
            let path = "sys/kernel/debug/sched/preempt";
            match model {
                Some(model) => put(root.path(), path, model),
                None => fs::remove_file(root.path().join(path)).unwrap(),
            }
            fentry_loses(&Facts::gather(root.path()).unwrap())
        };
        let dynamic = "#1 SMP PREEMPT_DYNAMIC Debian\n";
        assert_eq!(loses(dynamic, Some("none (voluntary) full\n")), None);
        assert_eq!(loses(dynamic, Some("(none) voluntary full\n")), None);
        assert!(loses(dynamic, Some("none voluntary (full)\n")).unwrap().contains("preempts"));
        assert!(loses(dynamic, Some("full (lazy) \n")).unwrap().contains("preempts"));
        assert!(loses(dynamic, None).unwrap().contains("mount debugfs"));
        assert_eq!(loses("#1 SMP Debian 5.10\n", None), None);
        assert!(loses("#1 SMP PREEMPT_RT Debian\n", None).unwrap().contains("preempts"));
    }

    #[test]
    fn a_kernel_without_any_timerfd_settime32_is_told_apart() {
        let root = machine("6.1.0", ALL);
        put(root.path(), "proc/kallsyms", "0 T other\n");
        assert!(judge(root.path()).unwrap_err().to_string().contains("CONFIG_COMPAT_32BIT_TIME"));
    }

    #[test]
    fn what_refuses_to_load_is_named() {
        let root = machine("6.1.0", ALL);
        let facts = Facts::gather(root.path()).unwrap();
        let filtered = Facts { has_seccomp: true, ..facts.clone() };
        let said = |facts: &Facts, errno, limit| {
            load_refused(facts, errno, limit)
                .map_err(|refusal| (refusal.exit_code(), refusal.to_string()))
        };
        let names = |facts: &Facts, errno, code, words: &str| {
            let (exit_code, text) = said(facts, errno, None).unwrap_err();
            assert!(exit_code == code && text.contains(words), "{exit_code}: {text}");
        };
        names(&filtered, Errno::EPERM, 12, "seccomp");
        names(&filtered, Errno::ENOSYS, 12, "seccomp");
        names(&facts, Errno::ENOSYS, 12, "CONFIG_BPF_SYSCALL");
        names(&facts, Errno::EPERM, 12, "security module");
        names(&facts, Errno::EINVAL, 13, "confidentiality");
        assert!(said(&facts, Errno::EPERM, Some(64)).is_ok(), "the limit is for the maps to find");
    }

    #[test]
    fn a_seccomp_filter_is_seen() {
        let root = machine("6.1.0", ALL);
        assert!(!Facts::gather(root.path()).unwrap().has_seccomp);
        put(
            root.path(),
            "proc/self/status",
            &format!("CapEff:\t{ALL}\nSeccomp:\t2\nSeccomp_filters:\t1\n"),
        );
        assert!(Facts::gather(root.path()).unwrap().has_seccomp);
    }

    #[test]
    fn what_refuses_kprobes_is_named() {
        let told = |capability: u32, seccomp: &str, paranoid| {
            let root = machine("6.1.0", "");
            put(
                root.path(),
                "proc/self/status",
                &format!("CapEff:\t{:016x}\nSeccomp:\t{seccomp}\n", 1_u64 << capability),
            );
            kprobe_refused(&Facts::gather(root.path()).unwrap(), Errno::EACCES, paranoid)
                .to_string()
        };
        assert!(told(CAP_PERFMON, "0", Some(3)).contains("perf_event_paranoid is 3"));
        assert!(told(CAP_PERFMON, "2", Some(2)).contains("seccomp"));
        assert!(told(CAP_PERFMON, "0", Some(2)).contains("security module"));
        assert!(told(CAP_SYS_ADMIN, "0", Some(4)).contains("security module"));
        assert!(told(CAP_SYS_ADMIN, "0", None).contains("security module"));
    }

    #[test]
    fn tracepoints_lose_where_they_are_preempted() {
        let lose = |release: &str, model: &str| {
            let root = machine(release, ALL);
            put(root.path(), "sys/kernel/debug/sched/preempt", model);
            tracepoints_lose(&Facts::gather(root.path()).unwrap())
        };
        assert!(lose("7.3.1", "(full) lazy\n") && lose("7.3.1", "full (lazy)\n"));
        assert!(!lose("6.18.5", "(full) lazy\n") && !lose("7.3.1", "(none) full lazy\n"));
    }

    #[test]
    fn a_missing_sys_is_named_before_anything_is_tried() {
        let root = machine("6.1.0", ALL);
        fs::remove_dir_all(root.path().join("sys")).unwrap();
        let refusal = judge(root.path()).unwrap_err().to_string();
        assert!(refusal.contains("sys/kernel") && refusal.contains("mount -t sysfs"), "{refusal}");
        let refusal = check_kprobe(machine("6.1.0", ALL).path()).unwrap_err().to_string();
        assert!(refusal.contains("devices/kprobe/type"), "{refusal}");
    }

    #[test]
    fn a_missing_proc_is_no_verdict_on_the_kernel() {
        let root = tempfile::tempdir().unwrap();
        let refusal = judge(root.path()).unwrap_err();
        assert!(
            matches!(refusal, Refusal::Unreadable { .. })
                && refusal.to_string().contains("osrelease"),
            "{refusal}"
        );
        assert!(refusal.to_string().contains("if it is not mounted"), "{refusal}");
        let hidden = Refusal::Unreadable {
            path: "/proc/sys/kernel/osrelease".into(),
            source: io::ErrorKind::NotFound.into(),
        };
        assert!(hidden.to_string().contains("subset=pid"), "{hidden}");
    }
}
