//! A simulated run: a small kernel of timers driven by a plan, with the journal that the workload
//! would write and the events that an exact tracer would print. It shares nothing with the
//! harness's model: it follows `fs/timerfd.c` on concrete instants, where the model reasons about
//! bounds. It does not simulate what no plan can ask for.

mod kernel;
mod memory;

use proptest::prelude::{Rng, RngExt};
use proptest::test_runner::{RngAlgorithm, TestRng};
use settime32_abi::errno;
use settime32_abi::journal::{
    CPU_UNKNOWN, Clocks, ENTRY_INT80, ENTRY_REWRITTEN, ENTRY_VDSO, Header, Journal, MAGIC,
    Operation, VERSION, what,
};
use settime32_abi::number::i386::TIMERFD_SETTIME32;
use settime32_abi::output::{
    Abi, CALL_EVENT, CallEvent, EntryPath, Halves, Lost, SUMMARY_EVENT, Summary,
};
use settime32_abi::plan::{self, Call, Entry, FdKind, Page, Plan, SLOTS, Step};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32};

pub use kernel::Bug;
use kernel::{Kernel, What};
use memory::Memory;

/// Name of the simulated process.
pub const COMM: &str = "settime32-workl";
/// CPUs of the simulated machine.
pub const CPUS: u32 = 2;

/// What is left of one simulated plan.
#[derive(Clone, Debug)]
pub struct Run {
    pub plan: Plan,
    pub journal: Journal,
    pub events: Vec<CallEvent<'static>>,
}

/// A machine on which plans are done one after another.
pub struct Machine {
    kernel: Kernel,
    rng: TestRng,
    next_pid: u32,
}

#[derive(Clone)]
struct Process {
    pid: u32,
    /// The thread that calls.
    tid: u32,
    kind: plan::Process,
    /// Number and what is behind it.
    table: [(i32, What); SLOTS],
    next_fd: i32,
    wake_alarm: bool,
    /// As in the journal.
    cpu: u16,
    /// When its last call had ended.
    since_ns: i64,
}

/// The CPU that a thread is kept on, as in the journal.
pub fn pinned(cpu: Option<u8>) -> u16 {
    cpu.map_or(CPU_UNKNOWN, |cpu| u16::from(cpu) % CPUS as u16)
}

impl Machine {
    /// A machine that was up for a while; the seed decides how long everything takes.
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let mut key = [0x5a; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &key);
        let up_ns = rng.random_range(2_000_000_000..90_000_000_000);
        Self { kernel: Kernel::new(up_ns, bug), next_pid: 80 + rng.next_u32() % 4000, rng }
    }

    /// Does a plan in a process of its own.
    pub fn run(&mut self, plan: &Plan) -> Run {
        self.spend(50_000, 400_000);
        let pid = self.new_pid();
        let mut process = Process {
            pid,
            tid: pid,
            kind: plan.process,
            table: [(-1, What::Closed); SLOTS],
            next_fd: 3,
            wake_alarm: true,
            cpu: CPU_UNKNOWN,
            since_ns: 0,
        };
        let mut run =
            Run { plan: plan.clone(), journal: empty_journal(process.pid), events: Vec::new() };
        run.journal.header.start = self.read_clocks();
        process.since_ns = self.kernel.monotonic();
        let mut parent: Option<(usize, Process)> = None;
        let mut threads_until = 0;
        for (index, step) in plan.steps.iter().enumerate() {
            if let Some((_, back)) = parent.take_if(|(end, _)| *end == index) {
                process = back;
            }
            self.spend(300, 9_000);
            if matches!(step, Step::Threads { .. }) {
                threads_until = index + 1 + step.inner();
            }
            match step {
                Step::Open { slot, kind } => self.open(&mut process, *slot, *kind),
                Step::SetClock => {
                    let read_ns = self.kernel.realtime();
                    self.spend(400, 6_000);
                    self.kernel.set_realtime(read_ns);
                }
                Step::WakeAlarm { allowed } => process.wake_alarm = *allowed,
                Step::Pin { cpu } => process.cpu = pinned(*cpu),
                // Those of lifecycles are simulated elsewhere.
                Step::Silent(_) | Step::Lifecycle(_) => {}
                Step::Threads { .. } => self.threads(&mut run, &mut process, index),
                Step::Wait { timeout_ms, .. } => {
                    self.spend(1_000, i64::from(*timeout_ms) * 1_000_000)
                }
                Step::Fork { .. } => {
                    parent = Some((index + 1 + step.inner(), process.clone()));
                    process.pid = self.new_pid();
                    process.tid = process.pid;
                    self.spend(50_000, 200_000);
                }
                // Those of threads were made when the threads were started.
                Step::Call(_) if index < threads_until => {}
                Step::Call(call) => {
                    let (record, event) = self.call(&mut process, index as u32, call);
                    run.journal.operations.push(record);
                    run.events.push(event);
                }
            }
        }
        self.spend(300, 9_000);
        run.journal.header.end = self.read_clocks();
        run.journal.header.operations = run.journal.operations.len() as u32;
        run
    }

    fn new_pid(&mut self) -> u32 {
        self.next_pid += 1 + self.rng.next_u32() % 3;
        self.next_pid
    }

    fn spend(&mut self, least_ns: i64, most_ns: i64) {
        let ns = self.rng.random_range(least_ns..=most_ns);
        self.kernel.pass(ns);
    }

    fn read_clocks(&mut self) -> Clocks {
        let monotonic_before_ns = self.kernel.monotonic();
        self.spend(40, 900);
        let realtime_ns = self.kernel.realtime();
        self.spend(40, 900);
        Clocks { monotonic_before_ns, realtime_ns, monotonic_after_ns: self.kernel.monotonic() }
    }

    fn open(&mut self, process: &mut Process, slot: u8, kind: FdKind) {
        let mut fresh = |what| {
            process.next_fd += 1;
            (process.next_fd, what)
        };
        let opened = match kind {
            FdKind::Timer(clock) => {
                let timer = self.kernel.timerfd_create(clock.id());
                fresh(What::Timer(timer))
            }
            FdKind::Dup(of) | FdKind::Passed(of) => fresh(process.table[usize::from(of)].1),
            FdKind::Closed => fresh(What::Closed),
            FdKind::Number(number) => (number, What::Closed),
            FdKind::Path => fresh(What::Path),
            FdKind::NotATimer(_) => fresh(What::Other),
        };
        process.table[usize::from(slot)] = opened;
    }

    /// Threads whose calls come in an order that chance decides, each after the other: they overlap
    /// in no instant, which no tracer could tell from overlapping.
    fn threads(&mut self, run: &mut Run, process: &mut Process, index: usize) {
        let calls: Vec<Vec<Call>> = plan::threads_of(&run.plan.steps[index..])
            .map(|calls| calls.copied().collect())
            .collect();
        let mut threads: Vec<Process> =
            calls.iter().map(|_| Process { tid: self.new_pid(), ..process.clone() }).collect();
        let mut made: Vec<Vec<Operation>> = vec![Vec::new(); calls.len()];
        while let Some(most) = (0..calls.len())
            .map(|thread| calls[thread].len() - made[thread].len())
            .max()
            .filter(|most| *most > 0)
        {
            let thread = self.rng.random_range(0..calls.len());
            let next = made[thread].len();
            let Some(call) = calls[thread].get(next).filter(|_| most > 0) else { continue };
            let step = index + 1 + thread * calls[thread].len() + next;
            self.spend(10, 900);
            let (record, event) = self.call(&mut threads[thread], step as u32, call);
            made[thread].push(record);
            run.events.push(event);
        }
        process.since_ns = self.kernel.monotonic();
        run.journal.operations.extend(made.into_iter().flatten());
    }

    fn call(
        &mut self,
        process: &mut Process,
        step: u32,
        call: &Call,
    ) -> (Operation, CallEvent<'static>) {
        let (ufd, what) = process.table[usize::from(call.slot)];
        let [before, at_entry, used] = self.settings(call);
        let (mut memory, utmr, otmr) =
            Memory::for_call(call.utmr, before, call.otmr, [0xa5; ITIMERSPEC32_SIZE]);
        let ((utmr_there, utmr_before), (otmr_there, otmr_before)) =
            (memory.look(utmr), memory.look(otmr));
        let halves = memory.halves_without_fault(utmr);
        let before_ns = process.since_ns;
        self.spend(50, 300);
        let entry_ns = self.kernel.monotonic() as u64;
        self.spend(100, 1_500);
        self.kernel.wake_alarm = process.wake_alarm;
        let mut spend = || self.rng.random_range(5..=300);
        let copied =
            memory.copy_in(utmr).map(|copied| if call.meanwhile.is_some() { used } else { copied });
        let (mut ret, old) = self.kernel.timerfd_settime32(what, call.flags, copied, &mut spend);
        let old = old.filter(|_| otmr != 0);
        if old.is_some_and(|old| !memory.copy_out(otmr, old)) {
            ret = -errno::EFAULT;
            self.kernel.old_not_written(what);
        }
        self.spend(100, 1_500);
        let exit_ns = self.kernel.monotonic() as u64;
        self.spend(50, 300);
        process.since_ns = self.kernel.monotonic();
        let (_, otmr_after) = memory.look(otmr);
        let (pid, tid, flags) = (process.pid, process.tid, call.flags);
        let entry = match call.entry {
            Entry::Int80 => ENTRY_INT80,
            Entry::Vdso => ENTRY_VDSO,
            Entry::Rewritten => ENTRY_REWRITTEN,
        };
        let memory = |bytes: [u8; ITIMERSPEC32_SIZE]| bytemuck::cast([bytes, Default::default()]);
        let record = Operation {
            before_ns,
            after_ns: process.since_ns,
            step,
            what: what::SETTIME32,
            pid,
            tid,
            nr: TIMERFD_SETTIME32,
            ret,
            args: [
                ufd.cast_unsigned().into(),
                flags.cast_unsigned().into(),
                utmr.into(),
                otmr.into(),
            ],
            extra: 0,
            cpu: process.cpu,
            entry,
            new_there: utmr_there,
            out_there: otmr_there,
            padding: 0,
            new: memory(utmr_before),
            out_before: memory(otmr_before),
            out_after: memory(otmr_after),
        };
        let anywhere = self.rng.next_u32() % CPUS;
        let cpu = if process.cpu == CPU_UNKNOWN { anywhere } else { process.cpu.into() };
        let abi = if process.kind == plan::Process::I386 { Abi::I386 } else { Abi::X86_64 };
        let mut event =
            CallEvent { abi, ..event_with(&record, halves, old, entry_ns, exit_ns, cpu) };
        if call.meanwhile.is_some() {
            event.utmr_entry = event.utmr_entry.map(|Halves { it_interval, it_value }| Halves {
                it_interval: it_interval.map(|_| at_entry.it_interval),
                it_value: it_value.map(|_| at_entry.it_value),
            });
            event.utmr_used = event.utmr_used.map(|_| used);
            event.toctou = event
                .utmr_entry
                .zip(event.utmr_used)
                .is_some_and(|(entry, used)| entry.differs_from(&used));
        }
        (record, event)
    }

    /// What is at `utmr` by the journal, as a probe at entry reads it, and as the kernel copies it.
    fn settings(&mut self, call: &Call) -> [OldItimerspec32; 3] {
        let Some(meanwhile) = call.meanwhile else { return [call.new; 3] };
        if call.is_raced() {
            return [(); 3].map(|()| {
                let [interval, value] = [(); 2].map(|()| self.rng.random_range(0..2) == 0);
                mixed(call.new, meanwhile, [interval, value])
            });
        }
        // Who waits for the first half finds both rewritten; the first was copied before who waits
        // for the second.
        match [0, 8].map(|byte| call.utmr_page(byte) == Page::Held) {
            [true, true] => [meanwhile; 3],
            [true, false] => [mixed(call.new, meanwhile, [true, false]), call.new, meanwhile],
            [false, _] => {
                let used = mixed(call.new, meanwhile, [false, true]);
                [used, call.new, used]
            }
        }
    }
}

/// Interval and value of the one setting or of the other.
fn mixed(
    one: OldItimerspec32,
    other: OldItimerspec32,
    [interval, value]: [bool; 2],
) -> OldItimerspec32 {
    OldItimerspec32 {
        it_interval: if interval { other } else { one }.it_interval,
        it_value: if value { other } else { one }.it_value,
    }
}

/// A journal of nothing yet, of the process with this id.
pub fn empty_journal(pid: u32) -> Journal {
    let mut comm = [0; 16];
    comm[..COMM.len()].copy_from_slice(COMM.as_bytes());
    let clocks = Clocks::default();
    let header = Header {
        magic: MAGIC,
        version: VERSION,
        pid,
        complete: 1,
        operations: 0,
        operation_size: size_of::<Operation>() as u32,
        comm,
        start: clocks,
        end: clocks,
    };
    Journal { header, operations: Vec::new() }
}

/// What an exact tracer prints about a call, of which it can read these halves of the new setting
/// at entry, and at whose end the kernel had this old setting to give.
pub fn event_with(
    record: &Operation,
    halves: [bool; 2],
    old: Option<OldItimerspec32>,
    entry_ns: u64,
    exit_ns: u64,
    cpu: u32,
) -> CallEvent<'static> {
    let pointer = |address: u32| (address != 0).then_some(address);
    let read =
        |bytes: &[u8; ITIMERSPEC32_SIZE]| bytemuck::pod_read_unaligned::<OldItimerspec32>(bytes);
    let new = read(&record.utmr_before());
    let utmr = pointer(record.utmr());
    let [interval, value] = halves.map(|half| half && utmr.is_some());
    let at_entry = Halves {
        it_interval: interval.then_some(new.it_interval),
        it_value: value.then_some(new.it_value),
    };
    let path = if record.entry == ENTRY_VDSO { EntryPath::Fast } else { EntryPath::Int80 };
    CallEvent {
        event: CALL_EVENT.into(),
        entry_ns,
        exit_ns: Some(exit_ns),
        pid: record.pid,
        tid: record.tid,
        comm: COMM.into(),
        cpu,
        abi: Abi::I386,
        entry_path: record.step.is_multiple_of(2).then_some(path),
        ufd: record.ufd(),
        flags: record.flags(),
        utmr,
        utmr_entry: (interval || value).then_some(at_entry),
        utmr_entry_errno: (utmr.is_some() && !(interval && value)).then(|| "EFAULT".into()),
        utmr_used: utmr.filter(|_| record.new_there == u16::MAX).map(|_| new),
        toctou: false,
        otmr: pointer(record.otmr()),
        old: old.map(Into::into),
        old_truncated: false,
        otmr_written: pointer(record.otmr())
            .filter(|_| record.ret == 0)
            .map(|_| read(&record.otmr_after())),
        timer: None,
        clockid: None,
        ret: Some(i64::from(record.ret)),
        errno: (record.ret < 0).then(|| errno::name(-record.ret).unwrap().into()),
        unfinished: false,
        result_lost: false,
        host_pid: None,
        host_tid: None,
    }
}

/// The last line of a tracer that printed these events and lost `buffer` others.
pub fn summary_of<'a>(
    events: impl IntoIterator<Item = &'a CallEvent<'static>>,
    buffer: u64,
) -> Summary {
    let lost = Lost { buffer, ..Lost::default() };
    let mut summary = Summary {
        event: SUMMARY_EVENT.to_owned(),
        reported: 0,
        lost,
        unknown: 0,
        unfinished: 0,
        blind: Vec::new(),
    };
    for event in events {
        summary.reported += 1;
        summary.lost.result += u64::from(event.result_lost);
        summary.unfinished += u64::from(event.unfinished);
    }
    summary
}
