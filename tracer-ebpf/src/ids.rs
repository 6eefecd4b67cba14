//! What the current thread is called: the kernel's helper gives ids of the initial pid namespace,
//! by which maps are keyed; what is reported may be those of another one. A thread has one in each
//! namespace that it can be seen from (`struct pid`, `include/linux/pid.h`).
//!
//! User space sets the switches before loading, in a map that is then frozen: where host's ids are
//! wanted, the verifier removes all of this.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::bpf_get_current_task;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_probe_read_kernel};

/// Inode of the pid namespace of the tracer; 0 for the initial one.
#[unsafe(no_mangle)]
static PID_NS_INODE: Global<u32> = Global::new(0);

/// 1 when what is reported are the ids of the namespace that the thread itself is in.
#[unsafe(no_mangle)]
static IDS_INNERMOST: Global<u32> = Global::new(0);

macro_rules! offsets {
    ($($name:ident: $member:literal,)*) => {
        $(
            #[doc = concat!("Bytes from the begin of the structure to `", $member, "`.")]
            #[unsafe(no_mangle)]
            static $name: Global<u32> = Global::new(0);
        )*
    };
}

offsets! {
    THREAD_PID_AT: "task_struct.thread_pid",
    GROUP_LEADER_AT: "task_struct.group_leader",
    PID_LEVEL_AT: "pid.level",
    PID_NUMBERS_AT: "pid.numbers",
    NS_INUM_AT: "pid_namespace.ns.inum",
}

/// `MAX_PID_NS_LEVEL` of `kernel/pid_namespace.c`: the initial namespace has level 0.
const MAX_LEVEL: u32 = 32;

/// `struct upid`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Upid {
    nr: u32,
    ns: usize,
}

/// Whether what is reported are others than the helper's.
#[inline(always)]
pub(crate) fn differ() -> bool {
    PID_NS_INODE.load() != 0 || IDS_INNERMOST.load() != 0
}

/// The ids of the current thread that are reported, as the helper has them: the thread group's in
/// the upper half. 0 when it has none there.
#[inline(always)]
pub(crate) fn own() -> u64 {
    if IDS_INNERMOST.load() != 0 {
        return look_up(0);
    }
    of_tracer(bpf_get_current_pid_tgid())
}

/// The ids of the current thread in the tracer's namespace; `host` are those that the helper gives.
#[inline(always)]
pub(crate) fn of_tracer(host: u64) -> u64 {
    match PID_NS_INODE.load() {
        0 => host,
        inode => look_up(inode),
    }
}

/// The ids in a namespace, or in the innermost one.
#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn look_up(inode: u32) -> u64 {
    // SAFETY: the helper only gives the address.
    let task = unsafe { bpf_get_current_task() } as usize;
    ids(task, inode).unwrap_or(0)
}

#[inline(always)]
fn ids(task: usize, inode: u32) -> Option<u64> {
    let pid = read::<usize>(task, &THREAD_PID_AT)?;
    let innermost = read::<u32>(pid, &PID_LEVEL_AT)?;
    let level = if inode == 0 { innermost } else { level_of(pid, innermost, inode)? };
    let tid = upid(pid, level)?.nr;
    // All threads of a group are in the same namespaces.
    let leader = read::<usize>(task, &GROUP_LEADER_AT)?;
    let tgid =
        if leader == task { tid } else { upid(read::<usize>(leader, &THREAD_PID_AT)?, level)?.nr };
    Some(u64::from(tgid) << 32 | u64::from(tid))
}

/// At which level a namespace is; from the inside, since that is where most tracers run.
#[inline(always)]
fn level_of(pid: usize, innermost: u32, inode: u32) -> Option<u32> {
    for outwards in 0..=MAX_LEVEL {
        if outwards > innermost {
            break;
        }
        let level = innermost - outwards;
        if read::<u32>(upid(pid, level)?.ns, &NS_INUM_AT)? == inode {
            return Some(level);
        }
    }
    None
}

#[inline(always)]
fn upid(pid: usize, level: u32) -> Option<Upid> {
    let at = pid
        .wrapping_add(PID_NUMBERS_AT.load() as usize)
        .wrapping_add(level as usize * size_of::<Upid>());
    // SAFETY: a source that cannot be read gives an error.
    unsafe { bpf_probe_read_kernel(at as *const Upid) }.ok()
}

#[inline(always)]
fn read<T>(structure: usize, member: &Global<u32>) -> Option<T> {
    // SAFETY: as above.
    unsafe { bpf_probe_read_kernel(structure.wrapping_add(member.load() as usize) as *const T) }
        .ok()
}
