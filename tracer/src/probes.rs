//! The eBPF object: loaded, attached, detached, and read once it is detached. No map is touched by a system call
//! while probes are attached: the kernel skips probes on a CPU that is inside one (`bpf_disable_instrumentation`).

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::{KProbe, TracePoint, kprobe::KProbeLinkId, trace_point::TracePointLinkId};
use aya::{Ebpf, EbpfLoader, VerifierLogLevel};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use settime32_abi::event::{COMM_LEN, Counter, RawEvent, flag};
use settime32_abi::output::Lost;

use crate::buffer_size::BufferSize;
use crate::cli::Filter;
use crate::preflight::{self, Refusal};
use crate::tracepoint;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/settime32-tracer-ebpf"));

/// Most threads of a followed command at one time.
const MAX_FOLLOWED: u32 = 32_768;

/// Tracepoint programs that follow a command, and where each goes in the category `sched`.
const FOLLOW_PROGRAMS: [(&str, &str); 3] =
    [("settime32_fork", "sched_process_fork"), ("settime32_exec", "sched_process_exec"), ("settime32_exit", "sched_process_exit")];

/// A [`RawEvent`] in words, which aya takes for plain data.
type RawWords = [u64; size_of::<RawEvent>() / 8];

/// The program that the build script put into this binary.
pub fn embedded_object() -> Result<&'static [u8], Refusal> {
    if OBJECT.is_empty() {
        let reason = option_env!("SETTIME32_STUB_REASON_SETTIME32_TRACER_EBPF").unwrap_or("the build script did not say why");
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

/// The loaded object with its links.
#[derive(Debug)]
pub struct Probes {
    ebpf: Ebpf,
    follows: bool,
    entry: Option<KProbeLinkId>,
    exit: Option<KProbeLinkId>,
    tracepoints: Vec<(&'static str, TracePointLinkId)>,
}

impl Probes {
    /// Loads the object with `filter` and a ring buffer of `size`.
    pub fn load(object: &[u8], filter: &Filter, size: BufferSize) -> Result<(Self, Ring)> {
        let mut ebpf = load_object(object, filter, size)?;
        fill_filters(&mut ebpf, filter)?;
        let map = RingBuf::try_from(ebpf.take_map("EVENTS").context("the eBPF object has no map EVENTS")?)?;
        let probes = Self { ebpf, follows: filter.command.is_some(), entry: None, exit: None, tracepoints: Vec::new() };
        Ok((probes, Ring { map, size }))
    }

    /// Attaches to `symbol`: the return before the entry, so that no call is seen to enter whose return is not.
    pub fn attach(&mut self, symbol: &str) -> Result<()> {
        if self.follows {
            for (program, name) in FOLLOW_PROGRAMS {
                let link = self.attach_tracepoint(program, name)?;
                self.tracepoints.push((program, link));
            }
        }
        self.exit = Some(self.attach_kprobe("settime32_return", symbol)?);
        self.entry = Some(self.attach_kprobe("settime32_entry", symbol)?);
        Ok(())
    }

    /// Detaches everything, the entry first. When it returns, no program runs any more: the kernel waits for
    /// those that do (`perf_trace_event_unreg`, `kernel/trace/trace_event_perf.c`).
    pub fn detach(&mut self) -> Result<()> {
        for (name, link) in [("settime32_entry", self.entry.take()), ("settime32_return", self.exit.take())] {
            if let Some(link) = link {
                self.kprobe(name)?.detach(link).with_context(|| format!("failed to detach {name}"))?;
            }
        }
        for (name, link) in std::mem::take(&mut self.tracepoints) {
            self.tracepoint(name)?.detach(link).with_context(|| format!("failed to detach {name}"))?;
        }
        Ok(())
    }

    /// Calls that entered and did not return, oldest first.
    pub fn in_flight(&self) -> Result<Vec<RawEvent>> {
        let mut calls = self.last_calls("THREADS")?;
        calls.extend(self.last_calls("OVERFLOW")?);
        calls.retain(|call| call.flags & flag::RETURNED == 0);
        calls.sort_by_key(|call| call.entry_ns);
        Ok(calls)
    }

    fn last_calls(&self, name: &str) -> Result<Vec<RawEvent>> {
        let map = self.ebpf.map(name).with_context(|| format!("the eBPF object has no map {name}"))?;
        let map: HashMap<_, u32, RawWords> = HashMap::try_from(map)?;
        let calls = map.iter().map(|entry| entry.map(|(_tid, words)| bytemuck::cast::<RawWords, RawEvent>(words)));
        calls.collect::<Result<_, _>>().with_context(|| format!("failed to read the calls in {name}"))
    }

    /// What could not be reported.
    pub fn losses(&self) -> Result<Lost> {
        let map = self.ebpf.map("LOSSES").context("the eBPF object has no map LOSSES")?;
        let map: PerCpuArray<_, u64> = PerCpuArray::try_from(map)?;
        let sum = |counter: Counter| -> Result<u64> {
            let values = map.get(&(counter as u32), 0).context("failed to read the counts of losses")?;
            Ok(values.iter().sum())
        };
        Ok(Lost {
            buffer: sum(Counter::LostBuffer)?,
            in_flight: sum(Counter::LostInFlight)?,
            result: sum(Counter::LostResult)?,
            follow: sum(Counter::LostFollow)?,
        })
    }

    fn attach_kprobe(&mut self, name: &str, symbol: &str) -> Result<KProbeLinkId> {
        let program = self.kprobe(name)?;
        program.load().with_context(|| format!("failed to load {name}"))?;
        program.attach(symbol, 0).or_else(|error| {
            // The kernel looked the symbol up, which costs it nothing; reading its whole table to say what is
            // wrong is only worth it now.
            preflight::check_symbol(Path::new("/"))?;
            Err(anyhow!(error).context(format!("failed to attach {name} to {symbol}")))
        })
    }

    fn attach_tracepoint(&mut self, program: &str, name: &str) -> Result<TracePointLinkId> {
        let tracepoint = self.tracepoint(program)?;
        tracepoint.load().with_context(|| format!("failed to load {program}"))?;
        tracepoint.attach("sched", name).with_context(|| format!("failed to attach {program} to sched:{name}"))
    }

    fn kprobe(&mut self, name: &str) -> Result<&mut KProbe> {
        let program = self.ebpf.program_mut(name).with_context(|| format!("the eBPF object has no program {name}"))?;
        Ok(program.try_into()?)
    }

    fn tracepoint(&mut self, name: &str) -> Result<&mut TracePoint> {
        let program = self.ebpf.program_mut(name).with_context(|| format!("the eBPF object has no program {name}"))?;
        Ok(program.try_into()?)
    }
}

/// Makes the maps and patches the switches that the programs' filters read.
fn load_object(object: &[u8], filter: &Filter, size: BufferSize) -> Result<Ebpf> {
    let root = Path::new("/");
    let by_pid = u32::from(!filter.pids.is_empty());
    let by_comm = u32::from(!filter.comms.is_empty());
    let follow = u32::from(filter.command.is_some());
    let (child_pid_at, old_pid_at) = match filter.command {
        Some(_) => (
            tracepoint::field_offset(root, "sched", "sched_process_fork", "child_pid")?,
            tracepoint::field_offset(root, "sched", "sched_process_exec", "old_pid")?,
        ),
        None => (0, 0),
    };
    let mut loader = loader_without_btf();
    loader
        .verifier_log_level(VerifierLogLevel::DISABLE)
        .override_global("FILTER_PIDS", &by_pid, true)
        .override_global("FILTER_COMMS", &by_comm, true)
        .override_global("FOLLOW", &follow, true)
        .override_global("FORK_CHILD_PID_AT", &child_pid_at, true)
        .override_global("EXEC_OLD_PID_AT", &old_pid_at, true)
        .map_max_entries("EVENTS", size.bytes())
        .map_max_entries("PIDS", entries(filter.pids.len())?)
        .map_max_entries("COMMS", entries(filter.comms.len())?)
        .map_max_entries("FOLLOWED", if filter.command.is_some() { MAX_FOLLOWED } else { 1 });
    loader.load(object).context("failed to load the eBPF program")
}

/// A loader that does not know the kernel's types, which this object does not need. aya parses all of them as soon
/// as it makes a loader and has no way to say no: five megabytes, more work than everything else at startup. So it
/// is kept from opening the file, and goes on without, as it does on a kernel that has none.
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

fn fill_filters(ebpf: &mut Ebpf, filter: &Filter) -> Result<()> {
    for (name, keys) in [("PIDS", &filter.pids), ("FOLLOWED", &filter.command.into_iter().collect())] {
        let map = ebpf.map_mut(name).with_context(|| format!("the eBPF object has no map {name}"))?;
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
