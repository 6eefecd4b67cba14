//! The eBPF object: loaded, attached, detached, and read once tracing has ended. No map is touched
//! by a system call before: the kernel skips probes on a CPU that is inside one
//! (`bpf_disable_instrumentation`).

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aya::maps::{HashMap, Map, MapData, PerCpuArray, RingBuf};
use aya::{Ebpf, EbpfLoader, Pod, VerifierLogLevel};
use bytemuck::Zeroable;
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use settime32_abi::event::{COMM_LEN, Counter, RawEvent, SLOTS, Slot, flag};
use settime32_abi::moment::{Inside, RawCall};
use settime32_abi::output::Lost;
use settime32_abi::timespec::OldTimespec32;

use crate::attach::{
    Attached, EXIT_PROGRAM, FOLLOW_BY_KPROBE, FOLLOW_BY_TRACEPOINT, FORGET_PROGRAM,
    KPROBES_SWITCH_PROGRAM, Mode, Places,
};
use crate::buffer_size::BufferSize;
use crate::cli::Filter;
use crate::ids::Ids;
use crate::inside::Threads;
use crate::lifecycle::{self, Lifecycle};
use crate::preflight::{self, Refusal};

static OBJECT: &[u8] =
    aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/settime32-tracer-ebpf"));

/// Most threads of a followed command at one time.
const MAX_FOLLOWED: u32 = 32_768;

/// `BPF_MAP_LOOKUP_ELEM` of `include/uapi/linux/bpf.h`.
const MAP_LOOKUP_ELEM: libc::c_int = 1;

/// What it takes, of `union bpf_attr`.
#[repr(C, align(8))]
struct Lookup {
    map: RawFd,
    key: *const u32,
    value: *mut Slot,
    flags: u64,
}

/// The program that the build script put into this binary.
pub fn embedded_object() -> Result<&'static [u8], Refusal> {
    if OBJECT.is_empty() {
        let reason = option_env!("SETTIME32_STUB_REASON_SETTIME32_TRACER_EBPF")
            .unwrap_or("the build script did not say why");
        return Err(Refusal::Stub { reason });
    }
    Ok(OBJECT)
}

/// The ring buffer, apart from the rest so that both can be used.
pub struct Ring {
    /// The mapped buffer.
    pub map: RingBuf<MapData>,
    /// Its size.
    pub size: BufferSize,
}

/// What the programs are told of this machine and this run.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Where a task has its name, if that is known.
    pub comm_at: Option<u32>,
    /// Where a task has its id, if that is known; a followed command needs it.
    pub task_pid_at: Option<u32>,
    /// What follows a command here.
    pub follow: Places,
    /// The interval by which the tracer's own calls are known, if it makes any.
    pub own_interval: Option<OldTimespec32>,
    /// The ways into the kernel can be told apart.
    pub tells_doors: bool,
    /// What a timer's life needs, if it is asked for.
    pub lifecycle: Option<&'a Lifecycle>,
    /// Which ids are reported.
    pub ids: &'a Ids,
    /// Programs can get at a task's registers.
    pub task_pt_regs: bool,
}

/// The loaded object with what of it is attached.
#[derive(Debug)]
pub struct Probes {
    ebpf: Ebpf,
    /// Programs that follow a command, if there is one.
    follow: Places,
    /// Calls are filtered in the kernel.
    filters: bool,
    /// Programs of a timer's life that are attached.
    lifecycle: Vec<(&'static str, &'static str)>,
    attached: Option<Attached>,
    /// Nothing sees when kprobes are switched, which programs depend on.
    pub is_switch_unseen: bool,
}

impl Probes {
    /// Loads the object with `filter`, a ring buffer of `size`, what is `known`, and `globals` set
    /// besides those that this needs.
    pub fn load(
        object: &[u8],
        filter: &Filter,
        size: BufferSize,
        known: Known<'_>,
        globals: &[(&'static str, u32)],
    ) -> Result<(Self, Ring)> {
        let mut ebpf = load_object(object, filter, size, known, globals)?;
        fill_filters(&mut ebpf, filter, known.ids)?;
        let map = RingBuf::try_from(
            ebpf.take_map("EVENTS").context("the eBPF object has no map EVENTS")?,
        )?;
        let probes = Self {
            ebpf,
            follow: known.follow,
            filters: filter.is_any(),
            lifecycle: Vec::new(),
            attached: None,
            is_switch_unseen: false,
        };
        Ok((probes, Ring { map, size }))
    }

    /// Attaches programs in the way of `mode`, after those of a timer's life, if that is asked for:
    /// a call must not be seen to enter before everything is there.
    pub fn attach(
        &mut self,
        mode: Mode,
        lifecycle: Option<&Lifecycle>,
        programs: &[(&'static str, &'static str)],
    ) -> Result<()> {
        let mut first = vec![EXIT_PROGRAM];
        self.lifecycle = lifecycle.map_or_else(Vec::new, |lifecycle| lifecycle.programs(mode));
        first.extend(lifecycle.map(|_| lifecycle::EXIT_PROGRAM));
        // Where kprobes follow a command, tracepoints still do while kprobes are switched off.
        let by_tracepoint =
            if self.follow == FOLLOW_BY_KPROBE { FOLLOW_BY_TRACEPOINT } else { &[] };
        first.extend(self.follow.iter().chain(by_tracepoint));
        first.extend((!self.follow.is_empty()).then_some(FORGET_PROGRAM));
        let programs = [self.lifecycle.as_slice(), programs].concat();
        let mut attached = Attached::attach(&mut self.ebpf, mode, &first, &programs)?;
        // Debian's kernels have the function; one without debugfs has no switch.
        self.is_switch_unseen = attached.has_kprobes()
            && attached.attach_also(&mut self.ebpf, KPROBES_SWITCH_PROGRAM).is_err();
        self.attached = Some(attached);
        Ok(())
    }

    /// Whether anything that is attached needs kprobes.
    pub fn have_kprobes(&self) -> bool {
        self.attached.as_ref().is_some_and(Attached::has_kprobes)
    }

    /// Detaches everything. When it returns, no program runs any more.
    pub fn detach(&mut self) -> Result<()> {
        self.attached.as_mut().map_or(Ok(()), |attached| attached.detach(&mut self.ebpf))
    }

    /// Calls that entered and were not seen to return, oldest first. Those that did return all the
    /// same have [`flag::RESULT_LOST`], as far as one can tell.
    pub fn in_flight(&mut self) -> Result<Vec<RawEvent>> {
        let missed = self
            .attached
            .as_ref()
            .map_or(Ok(0), |attached| attached.missed_returns(&mut self.ebpf))?;
        let any_lost = missed > 0 || self.losses()?.0.result > 0;
        let beside = entries_of::<u64, [u64; size_of::<Slot>() / 8]>(&self.ebpf, "BESIDE")?;
        let mut slots = self.slots()?;
        slots.extend(beside.into_iter().map(|(_, words)| bytemuck::cast::<_, Slot>(words)));
        let mut calls: Vec<RawEvent> = slots
            .iter()
            .filter(|slot| slot.owner != 0)
            .map(|slot| slot.event.with_host_ids())
            .collect();
        // Set ahead of the return.
        calls.iter_mut().for_each(|call| call.flags &= !flag::RETURNED);
        calls.sort_by_key(|call| call.entry_ns);
        // A call that returned while the probes came off was not lost, and must not be taken for
        // one that was.
        let threads = Threads::below(Path::new("/"));
        for call in calls.iter_mut().filter(|_| any_lost) {
            let (pid, tid) = if threads.is_initial {
                (call.host_pid, call.host_tid)
            } else {
                (call.pid, call.tid)
            };
            if !threads.may_be_inside(pid, tid) {
                call.flags |= flag::RESULT_LOST;
            }
        }
        Ok(calls)
    }

    /// The places of calls, which are one value to the kernel.
    fn slots(&self) -> Result<Vec<Slot>> {
        let Some(Map::Array(map)) = self.ebpf.map(".bss.slots") else {
            return Err(anyhow!("the eBPF object has no calls in .bss.slots"));
        };
        let mut slots = vec![Slot::zeroed(); SLOTS as usize];
        let key = 0_u32;
        let lookup = Lookup {
            map: map.fd().as_fd().as_raw_fd(),
            key: &raw const key,
            value: slots.as_mut_ptr(),
            flags: 0,
        };
        // SAFETY: the kernel writes one value of the map, which is as long as the places.
        let result = unsafe {
            libc::syscall(libc::SYS_bpf, MAP_LOOKUP_ELEM, &raw const lookup, size_of::<Lookup>())
        };
        Errno::result(result).context("failed to read the calls in flight")?;
        Ok(slots)
    }

    /// What threads seem to be doing with timers and are not, if a timer's life is traced. While
    /// the programs are attached, so that what ends is seen to.
    pub fn life_unseen(&self) -> Result<lifecycle::Unseen> {
        let (calls, inside) = self.life_left()?;
        Ok(lifecycle::Unseen::look(Threads::below(Path::new("/")), &calls, &inside))
    }

    /// What threads are doing with timers that was not seen to end, though the programs are
    /// detached.
    pub fn life_rest(&self, unseen: &lifecycle::Unseen) -> Result<lifecycle::Rest> {
        let (calls, inside) = self.life_left()?;
        Ok(lifecycle::rest(unseen, calls, &inside))
    }

    fn life_left(&self) -> Result<(Vec<RawCall>, Vec<Inside>)> {
        if self.lifecycle.is_empty() {
            return Ok((Vec::new(), Vec::new()));
        }
        let calls = entries_of::<u32, [u64; size_of::<RawCall>() / 8]>(&self.ebpf, "CALLS")?;
        let inside = entries_of::<u32, [u64; size_of::<Inside>() / 8]>(&self.ebpf, "INSIDE")?;
        let calls = calls.into_iter().map(|(_, words)| bytemuck::cast(words)).collect();
        Ok((calls, inside.into_iter().map(|(_, words)| bytemuck::cast(words)).collect()))
    }

    /// What could not be reported; and what the kernel passed over of which nobody knows whether it
    /// was wanted, at most.
    pub fn losses(&mut self) -> Result<(Lost, u64)> {
        let of_timers = self
            .lifecycle
            .iter()
            .map(|(name, _)| *name)
            .filter(|name| !lifecycle::is_of_others(name));
        let (missed, forks_missed) = match &self.attached {
            Some(attached) => {
                let entries = attached.missed_entries(&mut self.ebpf)?
                    + attached.missed_by(&mut self.ebpf, of_timers)?;
                (entries, Attached::missed_forks(&mut self.ebpf, self.follow)?)
            }
            None => (0, 0),
        };
        // The kernel counts alike what any process does.
        let (missed, unknown) = if self.filters { (0, missed + forks_missed) } else { (missed, 0) };
        let map = self.ebpf.map("LOSSES").context("the eBPF object has no map LOSSES")?;
        let map: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        let sum = |counter: Counter| -> Result<u64> {
            let values =
                map.get(&(counter as u32), 0).context("failed to read the counts of losses")?;
            Ok(values.iter().sum())
        };
        let lost = Lost {
            buffer: sum(Counter::LostBuffer)?,
            in_flight: sum(Counter::LostInFlight)? + missed,
            result: sum(Counter::LostResult)?,
            follow: sum(Counter::LostFollow)?,
        };
        Ok((lost, unknown))
    }
}

/// What is in a map by thread. Whoever goes on from an entry that is gone begins again, so that
/// there may be more of them than there are.
fn entries_of<K: Pod, V: Pod>(ebpf: &Ebpf, name: &str) -> Result<Vec<(K, V)>> {
    let map = ebpf.map(name).with_context(|| format!("the eBPF object has no map {name}"))?;
    let map: HashMap<_, K, V> = HashMap::try_from(map)?;
    map.iter()
        .take(2 * lifecycle::MAX_INSIDE as usize)
        .collect::<Result<_, _>>()
        .with_context(|| format!("failed to read what is in {name}"))
}

/// Makes the maps and patches the switches that the programs' filters read.
fn load_object(
    object: &[u8],
    filter: &Filter,
    size: BufferSize,
    known: Known<'_>,
    globals: &[(&'static str, u32)],
) -> Result<Ebpf> {
    let [comm_at, task_pid_at] = [known.comm_at, known.task_pid_at].map(Option::unwrap_or_default);
    let OldTimespec32 { tv_sec: own_seconds, tv_nsec: own_nanos } =
        known.own_interval.unwrap_or_default();
    let tells_doors = u32::from(known.tells_doors && known.own_interval.is_some());
    let task_pt_regs = u32::from(known.task_pt_regs);
    let by_pid = u32::from(!filter.pids.is_empty());
    let by_comm = u32::from(!filter.comms.is_empty());
    let follow = u32::from(filter.command.is_some());
    let any = u32::from(filter.is_any());
    let is_plain = u32::from(any == 0 && known.ids.variables.is_empty() && known.task_pt_regs);
    let command_pid = filter.command.filter(|_| known.ids.elsewhere).unwrap_or(0);
    let mut loader = loader_without_btf();
    loader
        .verifier_log_level(VerifierLogLevel::DEBUG)
        .override_global("FILTER_ANY", &any, true)
        .override_global("FILTER_PIDS", &by_pid, true)
        .override_global("FILTER_COMMS", &by_comm, true)
        .override_global("FOLLOW", &follow, true)
        .override_global("COMM_AT", &comm_at, true)
        .override_global("TELLS_DOORS", &tells_doors, true)
        .override_global("OWN_SECONDS", &own_seconds, true)
        .override_global("OWN_NANOSECONDS", &own_nanos, true)
        .override_global("TASK_PID_AT", &task_pid_at, true)
        .override_global("IS_PLAIN", &is_plain, true)
        .override_global("HAS_TASK_PT_REGS", &task_pt_regs, true)
        .override_global("COMMAND_PID", &command_pid, true)
        .map_max_entries("EVENTS", size.bytes())
        .map_max_entries("PIDS", entries(filter.pids.len())?)
        .map_max_entries("COMMS", entries(filter.comms.len())?)
        .map_max_entries("FOLLOWED", if filter.command.is_some() { MAX_FOLLOWED } else { 1 });
    let offsets = known.lifecycle.map_or(&[][..], |lifecycle| &lifecycle.offsets);
    for (name, value) in globals.iter().chain(offsets).chain(&known.ids.variables) {
        loader.override_global(name, value, true);
    }
    if known.lifecycle.is_some() {
        loader
            .map_max_entries("CALLS", lifecycle::MAX_CALLS)
            .map_max_entries("INSIDE", lifecycle::MAX_INSIDE);
        loader.map_max_entries("TIMERS", lifecycle::MAX_TIMERS);
    }
    raise_memlock();
    let loaded = loader.load(object).context("failed to load the eBPF program");
    loaded.map_err(preflight::explained)
}

/// Before 5.11, what maps take counts towards this limit. aya does away with it where that is
/// allowed.
fn raise_memlock() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_MEMLOCK) {
        // Where it fails, there may be room enough.
        _ = setrlimit(Resource::RLIMIT_MEMLOCK, hard, hard);
    }
}

/// A loader that does not know the kernel's types, which this object does not need. aya parses all
/// of them as soon as it makes a loader and has no way to say no: five megabytes, more work than
/// everything else at startup. So it is kept from opening the file, and goes on without, as it does
/// on a kernel that has none.
fn loader_without_btf<'a>() -> EbpfLoader<'a> {
    let limit = getrlimit(Resource::RLIMIT_NOFILE);
    if let Ok((_, hard)) = limit {
        // Where it fails, startup is slower.
        _ = setrlimit(Resource::RLIMIT_NOFILE, 0, hard);
    }
    let loader = EbpfLoader::new();
    if let Ok((soft, hard)) = limit {
        // It was the limit a moment ago, so it is allowed.
        _ = setrlimit(Resource::RLIMIT_NOFILE, soft, hard);
    }
    loader
}

/// A map has at least one entry.
fn entries(len: usize) -> Result<u32> {
    u32::try_from(len.max(1)).context("too many filters")
}

fn fill_filters(ebpf: &mut Ebpf, filter: &Filter, ids: &Ids) -> Result<()> {
    // Elsewhere the programs find the command's first process themselves.
    let first = filter.command.filter(|_| !ids.elsewhere);
    for (name, keys) in [("PIDS", &filter.pids), ("FOLLOWED", &first.into_iter().collect())] {
        let map =
            ebpf.map_mut(name).with_context(|| format!("the eBPF object has no map {name}"))?;
        let mut map: HashMap<_, u32, u8> = HashMap::try_from(map)?;
        for key in keys {
            map.insert(key, 0, 0).with_context(|| format!("failed to put {key} into {name}"))?;
        }
    }
    let map = ebpf.map_mut("COMMS").context("the eBPF object has no map COMMS")?;
    let mut map: HashMap<_, [u8; COMM_LEN], u8> = HashMap::try_from(map)?;
    for comm in &filter.comms {
        map.insert(comm.0, 0, 0).context("failed to put a name into COMMS")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// aya (0.14) links functions by their offset alone, whatever section they are in: a call could
    /// end in another one.
    #[test]
    fn functions_of_the_object_are_in_one_section() {
        let has = |name: &[u8]| OBJECT.windows(name.len()).any(|window| window == name);
        assert!(!has(b"\0.text.") && (OBJECT.is_empty() || has(b"\0.text\0")));
    }
}
