//! Checks a journal against its plan and against the model: that the workload did what it was told,
//! and that the kernel answered as its sources say. Pure comparisons; no events here.

use settime32_abi::journal::{
    CPU_UNKNOWN, Clocks, ENTRY_INT80, ENTRY_REWRITTEN, ENTRY_VDSO, Header, Journal, NEVER,
    Operation, what,
};
use settime32_abi::number::i386::TIMERFD_SETTIME32;
use settime32_abi::plan::{Call, Entry, FdKind, Plan, Pointer, SLOTS, Step};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, OldItimerspec32};

use super::finding::Difference;
use super::seen::{made_of, setting};
use crate::model::{Bounds, Old, Outcome, Timeline, memory};

/// How far the header's clock readings may contradict each other before it is the workload's fault,
/// nanoseconds.
const SLACK_NS: i64 = 1_000;

const PAGE_SIZE: u32 = 4096;

fn difference(field: &'static str, expected: impl ToString, found: impl ToString) -> Difference {
    Difference { field, expected: expected.to_string(), found: found.to_string() }
}

/// The process that makes each call: the one in the header, or one child a fork. A record that says
/// otherwise is outvoted by the others of its process.
pub(super) fn processes(plan: &Plan, journal: &Journal) -> Vec<u32> {
    let mut pids: Vec<u32> = journal.operations.iter().map(|record| record.pid).collect();
    let mut outside = Vec::new();
    let mut call = 0;
    let mut fork: Option<(usize, usize)> = None;
    for (index, step) in plan.steps.iter().enumerate() {
        if let Some((_, first)) = fork.take_if(|(end, _)| *end == index) {
            agree(&mut pids[first..call]);
        }
        match step {
            Step::Fork { .. } => fork = Some((index + 1 + step.inner(), call)),
            Step::Call(_) => {
                if fork.is_none() {
                    outside.push(call);
                }
                call += 1;
            }
            Step::Open { .. }
            | Step::SetClock
            | Step::Wait { .. }
            | Step::WakeAlarm { .. }
            | Step::Silent(_)
            | Step::Pin { .. }
            | Step::Threads { .. }
            | Step::Lifecycle(_) => {}
        }
    }
    if let Some((_, first)) = fork {
        agree(&mut pids[first..call]);
    }
    let parent = majority(outside.iter().map(|call| pids[*call])).unwrap_or(journal.header.pid);
    outside.into_iter().for_each(|call| pids[call] = parent);
    pids
}

/// The thread that makes each call: the process's first, whose id is the process's, or one of those
/// that the plan starts, by the vote of its records.
pub(super) fn threads(plan: &Plan, journal: &Journal, pids: &[u32]) -> Vec<u32> {
    let mut tids = pids.to_vec();
    let mut call = 0;
    for (index, step) in plan.steps.iter().enumerate() {
        if let Step::Threads { threads, calls } = *step {
            for thread in 0..usize::from(threads) {
                let first = call + thread * usize::from(calls);
                let range = first..first + usize::from(calls);
                for (tid, record) in
                    tids[range.clone()].iter_mut().zip(&journal.operations[range.clone()])
                {
                    *tid = record.tid;
                }
                agree(&mut tids[range]);
            }
        }
        call += usize::from(matches!(plan.steps[index], Step::Call(_)));
    }
    tids
}

fn agree(pids: &mut [u32]) {
    if let Some(pid) = majority(pids.iter().copied()) {
        pids.fill(pid);
    }
}

/// The vote of Boyer and Moore: the element that makes up more than half.
fn majority(votes: impl Iterator<Item = u32>) -> Option<u32> {
    let mut leader = None;
    let mut lead = 0;
    for vote in votes {
        match leader {
            Some(leading) if leading == vote => lead += 1,
            Some(_) if lead > 0 => lead -= 1,
            _ => (leader, lead) = (Some(vote), 1),
        }
    }
    leader
}

/// What is wrong with the header; `parent` is the process of the calls outside forks.
pub(super) fn header_lies(header: &Header, parent: u32, comm: Option<&str>) -> Vec<Difference> {
    let mut lies = Vec::new();
    if parent != header.pid {
        lies.push(difference("pid of the header", parent, header.pid));
    }
    let found = comm_of(header);
    if let Some(comm) = comm.filter(|comm| *comm != found) {
        lies.push(difference("comm of the header", comm, &found));
    }
    if !clocks_are_sane(header) {
        lies.push(difference(
            "clocks of the header",
            "in order",
            format!("{:?}, then {:?}", header.start, header.end),
        ));
    }
    lies
}

/// The name of the process, up to the first NUL.
pub(super) fn comm_of(header: &Header) -> String {
    let len = header.comm.iter().position(|byte| *byte == 0).unwrap_or(header.comm.len());
    String::from_utf8_lossy(&header.comm[..len]).into_owned()
}

/// Whether the readings are in order, and `CLOCK_REALTIME` was set back at most, as the plan's way
/// of setting it does.
pub(super) fn clocks_are_sane(header: &Header) -> bool {
    let (start, end) = (&header.start, &header.end);
    let order = [
        start.monotonic_before_ns,
        start.monotonic_after_ns,
        end.monotonic_before_ns,
        end.monotonic_after_ns,
    ];
    // No machine was up for centuries, and the sums below must not overflow.
    let plausible = |time: i64| (0..1 << 62).contains(&time);
    let readings = order.into_iter().chain([start.realtime_ns, end.realtime_ns]);
    readings.into_iter().all(plausible)
        && order.is_sorted()
        && offset(end).low <= offset(start).high + SLACK_NS
}

/// `CLOCK_REALTIME` minus `CLOCK_MONOTONIC` when the three readings were taken.
fn offset(clocks: &Clocks) -> Bounds {
    Bounds::new(
        clocks.realtime_ns - clocks.monotonic_after_ns,
        clocks.realtime_ns - clocks.monotonic_before_ns,
    )
}

/// How the clocks relate while the plan is done: each setting of `CLOCK_REALTIME` puts it back by
/// the time that the setting takes, so the offset falls from what it is at the start to what it is
/// at the end.
pub(super) fn timeline(header: &Header) -> Timeline {
    let realtime_offset = if clocks_are_sane(header) {
        Bounds::new(offset(&header.end).low, offset(&header.start).high)
    } else {
        Bounds::new(i64::MIN / 2, i64::MAX / 2)
    };
    Timeline { realtime_offset }
}

/// The numbers of the descriptors in a process's table, as far as calls have shown them.
#[derive(Clone, Debug)]
pub(super) struct Descriptors {
    slots: [Descriptor; SLOTS],
    /// Whether the thread is kept on one CPU.
    pinned: bool,
    /// Where a child's steps end, and what its parent goes on with.
    parent: Option<(usize, Box<[Descriptor; SLOTS]>, bool)>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Descriptor {
    kind: Option<FdKind>,
    open: bool,
    number: Option<i32>,
}

impl Descriptors {
    pub(super) fn new() -> Self {
        Self { slots: [Descriptor::default(); SLOTS], pinned: false, parent: None }
    }

    /// To be told of every step before it is done; a fork's end is noticed here.
    pub(super) fn begin_step(&mut self, index: usize) {
        if let Some((_, table, pinned)) = self.parent.take_if(|(end, ..)| *end == index) {
            (self.slots, self.pinned) = (*table, pinned);
        }
    }

    /// To be told of every step that is not a call.
    pub(super) fn follow(&mut self, index: usize, step: &Step) {
        match *step {
            Step::Fork { .. } => {
                self.parent = Some((index + 1 + step.inner(), Box::new(self.slots), self.pinned))
            }
            Step::Pin { cpu } => self.pinned = cpu.is_some(),
            Step::Open { slot, kind } => {
                let open = match kind {
                    FdKind::Timer(_) | FdKind::Path | FdKind::NotATimer(_) => true,
                    FdKind::Dup(of) | FdKind::Passed(of) => self.slots[usize::from(of)].open,
                    FdKind::Closed | FdKind::Number(_) => false,
                };
                self.slots[usize::from(slot)] = Descriptor { kind: Some(kind), open, number: None };
            }
            Step::Call(_)
            | Step::SetClock
            | Step::Wait { .. }
            | Step::WakeAlarm { .. }
            | Step::Silent(_)
            | Step::Threads { .. }
            | Step::Lifecycle(_) => {}
        }
    }

    /// What is wrong with the number that a call used: another than the slot's, or one that is
    /// another slot's.
    fn lie(&mut self, slot: u8, found: i32) -> Option<Difference> {
        let this = self.slots[usize::from(slot)];
        let others = self.slots.iter().enumerate().filter(|(other, _)| *other != usize::from(slot));
        let taken = others.into_iter().any(|(_, other)| other.open && other.number == Some(found));
        if !taken {
            self.slots[usize::from(slot)].number = Some(found);
        }
        match (this.kind, this.number) {
            (Some(FdKind::Number(number)), _) if number != found => {
                Some(difference("ufd", number, found))
            }
            (_, Some(number)) if number != found => {
                Some(difference("ufd", format!("{number} as before"), found))
            }
            _ if this.open && found < 0 => Some(difference("ufd", "an open descriptor", found)),
            _ if taken => Some(difference(
                "ufd",
                "a number of its own",
                format!("{found}, which another slot has"),
            )),
            _ => None,
        }
    }
}

/// Where a call is made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    /// Index of the step in the plan.
    pub step: usize,
    /// The process, by the vote of its records.
    pub pid: u32,
    /// The thread, by the same.
    pub tid: u32,
    /// A thread that the plan starts, and not the process's first, makes the call.
    pub started: bool,
    /// The process that must not make this call, since a forked child does.
    pub not: Option<u32>,
    /// When it must have begun.
    pub begin: Bounds,
    /// When the plan ended.
    pub end: i64,
}

/// What a record says that the plan does not ask for.
pub(super) fn lies(
    caller: Caller,
    call: &Call,
    record: &Operation,
    descriptors: &mut Descriptors,
) -> Vec<Difference> {
    let Caller { step, pid, tid, started, not, begin, end } = caller;
    let mut lies = Vec::new();
    if !is_of_the_call(record) {
        lies.push(difference(
            "operation",
            "a timerfd_settime32 and no more",
            format!("{record:?}"),
        ));
    }
    let mut must = |field, right: bool, expected: String, found: String| {
        if !right {
            lies.push(difference(field, expected, found));
        }
    };
    must("step", record.step as usize == step, step.to_string(), record.step.to_string());
    must(
        "before_ns",
        begin.low <= record.before_ns && record.before_ns <= begin.high,
        format!("{begin:?}"),
        record.before_ns.to_string(),
    );
    must(
        "after_ns",
        (record.before_ns..=end).contains(&record.after_ns) || record.after_ns == NEVER,
        format!("{} to {end}", record.before_ns),
        record.after_ns.to_string(),
    );
    must("pid", record.pid == pid, pid.to_string(), record.pid.to_string());
    must("pid", not != Some(pid) && pid != 0, "that of a forked child".to_owned(), pid.to_string());
    must("tid", record.tid == tid, tid.to_string(), record.tid.to_string());
    must(
        "tid",
        started == (tid != pid),
        (if started { "another than the pid" } else { "the pid" }).to_owned(),
        tid.to_string(),
    );
    must(
        "flags",
        record.flags() == call.flags,
        format!("{:#x}", call.flags),
        format!("{:#x}", record.flags()),
    );
    let entry = match call.entry {
        Entry::Int80 => ENTRY_INT80,
        Entry::Vdso => ENTRY_VDSO,
        Entry::Rewritten => ENTRY_REWRITTEN,
    };
    let (pinned, known) = (descriptors.pinned, record.cpu != CPU_UNKNOWN);
    must(
        "cpu",
        pinned == known,
        (if pinned { "that which the thread is kept on" } else { "unknown" }).to_owned(),
        record.cpu.to_string(),
    );
    must("entry", record.entry == entry, format!("{:?}", call.entry), record.entry.to_string());
    memory_lies(call, record, &mut must);
    lies.extend(descriptors.lie(call.slot, record.ufd()));
    lies
}

/// Whether an operation says that it is the call under test, and nothing that such a call has not.
fn is_of_the_call(record: &Operation) -> bool {
    let Operation { what, nr, extra, padding, args, new, out_before, out_after, .. } = record;
    let unused = [new, out_before, out_after].map(|memory| &memory[ITIMERSPEC32_SIZE..]);
    (*what, *nr, *extra, *padding) == (what::SETTIME32, TIMERFD_SETTIME32, 0, 0)
        && args.iter().all(|argument| u32::try_from(*argument).is_ok())
        && unused.into_iter().flatten().all(|byte| *byte == 0)
}

/// The part of [`lies`] that is about pointers and what they point to.
fn memory_lies(
    call: &Call,
    record: &Operation,
    must: &mut impl FnMut(&'static str, bool, String, String),
) {
    must(
        "utmr",
        fits(call.utmr, record.utmr(), record.utmr()),
        format!("{:?}", call.utmr),
        format!("{:#x}", record.utmr()),
    );
    must(
        "otmr",
        fits(call.otmr, record.otmr(), record.utmr()),
        format!("{:?}", call.otmr),
        format!("{:#x}", record.otmr()),
    );
    let near = record.utmr() != 0
        && record.otmr() != 0
        && (record.utmr().abs_diff(record.otmr()) as usize) < ITIMERSPEC32_SIZE;
    let apart = !near
        || [call.utmr, call.otmr].iter().any(|pointer| {
            matches!(pointer, Pointer::OverUtmr(_) | Pointer::Literal(_) | Pointer::StackLowHalf)
        });
    must(
        "otmr",
        apart,
        "memory of its own".to_owned(),
        format!("{:#x} with utmr {:#x}", record.otmr(), record.utmr()),
    );
    for (field, there, found) in [
        ("utmr_there", memory::utmr_there(call), record.new_there),
        ("otmr_there", memory::otmr_there(call), record.out_there),
    ] {
        must(field, there == found, format!("{there:#06x}"), format!("{found:#06x}"));
    }
    let (new, found) = (memory::at_utmr(call), from_bytes(&record.utmr_before()));
    match call.meanwhile.filter(|_| call.is_raced()) {
        None => must("utmr_before", found == new, text(&new), text(&found)),
        Some(other) => must(
            "utmr_before",
            made_of([new, other], found),
            format!("{} or {}", text(&new), text(&other)),
            text(&found),
        ),
    }
    // What lies over the new setting is known too; of the rest only that there is nothing where
    // nothing can be read.
    for (field, bytes) in
        [("otmr_before", &record.otmr_before()), ("otmr_after", &record.otmr_after())]
    {
        let zero = (0..ITIMERSPEC32_SIZE)
            .all(|byte| record.out_there >> byte & 1 == 1 || bytes[byte] == 0);
        must(field, zero, "zeros".to_owned(), text(&from_bytes(bytes)));
    }
    if let Pointer::OverUtmr(by) = call.otmr {
        let common =
            |byte: &usize| (0..ITIMERSPEC32_SIZE as i32).contains(&(*byte as i32 + i32::from(by)));
        let same = |byte: usize| {
            record.otmr_before()[byte]
                == record.utmr_before()[(byte as i32 + i32::from(by)) as usize]
        };
        let found = format!(
            "{} with {}",
            text(&from_bytes(&record.otmr_before())),
            text(&from_bytes(&record.utmr_before()))
        );
        must(
            "otmr_before",
            (0..ITIMERSPEC32_SIZE).filter(common).all(same),
            "the bytes that utmr has, too".to_owned(),
            found,
        );
    }
}

/// Whether an address may be what the plan asks for.
fn fits(pointer: Pointer, address: u32, utmr: u32) -> bool {
    match pointer {
        Pointer::Null => address == 0,
        Pointer::Valid => address != 0,
        Pointer::Literal(literal) => address == literal,
        Pointer::LastUserBytes => address == 0xffff_dff0,
        Pointer::Across4Gib => address == 0xffff_fff8,
        Pointer::StackLowHalf => address != 0,
        Pointer::Unaligned(by) => address % 16 == u32::from(by),
        Pointer::On(_) => {
            address != 0 && address % PAGE_SIZE <= PAGE_SIZE - ITIMERSPEC32_SIZE as u32
        }
        Pointer::Edge { before, .. } => {
            address != 0 && address % PAGE_SIZE == PAGE_SIZE - u32::from(before)
        }
        Pointer::OverUtmr(by) => address == utmr.wrapping_add_signed(by.into()),
    }
}

/// What the kernel answered that the model does not allow.
pub(super) fn contradictions(
    call: &Call,
    outcome: &Outcome,
    record: &Operation,
) -> Vec<Difference> {
    if record.ret != outcome.rule.ret() {
        return vec![difference(
            "ret",
            format!("{}, since {}", outcome.rule.ret(), outcome.rule.as_str()),
            record.ret,
        )];
    }
    if call.otmr == Pointer::Null {
        return Vec::new();
    }
    let mut wrong = Vec::new();
    let behind = outcome.written..ITIMERSPEC32_SIZE;
    if record.otmr_after()[behind.clone()] != record.otmr_before()[behind] {
        let (before, after) =
            (text(&from_bytes(&record.otmr_before())), text(&from_bytes(&record.otmr_after())));
        wrong.push(difference(
            "otmr_after",
            format!("untouched from byte {} on, {before}", outcome.written),
            after,
        ));
    }
    if let Some(old) = &outcome.old {
        compare_written(old, outcome.written, &record.otmr_after(), &mut wrong);
    }
    wrong
}

/// Compares the first `written` bytes with the old setting, as far as they make up numbers: of a
/// number that was cut short only the event's own account of the old setting tells.
fn compare_written(
    old: &Old,
    written: usize,
    bytes: &[u8; ITIMERSPEC32_SIZE],
    wrong: &mut Vec<Difference>,
) {
    const HALF: usize = ITIMERSPEC32_SIZE / 2;
    let after = from_bytes(bytes);
    let interval: [u8; HALF] = bytemuck::cast(old.interval);
    let of_interval = written.min(HALF);
    if bytes[..of_interval] != interval[..of_interval] {
        wrong.push(difference(
            "otmr_after.it_interval",
            format!("{:?}", old.interval),
            format!("{:?}", after.it_interval),
        ));
    }
    let value_fits = match written {
        ITIMERSPEC32_SIZE => old.remaining.allows(after.it_value),
        12.. => old.remaining.allows_seconds(after.it_value.tv_sec),
        _ => true,
    };
    if !value_fits {
        let expected = format!("{} s of a timer that was {:?}", old.remaining, old.setting);
        wrong.push(difference("otmr_after.it_value", expected, format!("{:?}", after.it_value)));
    }
}

pub(super) fn from_bytes(bytes: &[u8; ITIMERSPEC32_SIZE]) -> OldItimerspec32 {
    bytemuck::pod_read_unaligned(bytes)
}

fn text(value: &OldItimerspec32) -> String {
    setting(Some(*value))
}

/// A call outside of all forks.
pub(super) fn outside_forks(plan: &Plan) -> Option<usize> {
    let (mut call, mut child_until) = (0, 0);
    for (index, step) in plan.steps.iter().enumerate() {
        match step {
            Step::Fork { .. } => child_until = index + 1 + step.inner(),
            Step::Call(_) if index >= child_until => return Some(call),
            Step::Call(_) => call += 1,
            Step::Open { .. }
            | Step::SetClock
            | Step::Wait { .. }
            | Step::WakeAlarm { .. }
            | Step::Silent(_)
            | Step::Pin { .. }
            | Step::Threads { .. }
            | Step::Lifecycle(_) => {}
        }
    }
    None
}
