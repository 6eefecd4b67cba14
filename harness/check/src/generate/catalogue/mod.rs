//! The catalogue: situations in which a tracer must be exact, each by a stable name and with a plan
//! of its own that goes through all of it. As everywhere in the generator, nothing here says what
//! ought to happen.
//!
//! A plan is a pure function of the seed: which cases of a situation come up is fixed, the times
//! around them are drawn.

mod clocks;
mod cpus;
mod entry;
mod fds;
mod field;
mod pointers;
mod scenarios;
mod script;
mod silence;
mod threads;
mod values;

use settime32_abi::plan::Plan;

use crate::generate::CALLS_PER_PLAN;
pub use field::Field;
pub use scenarios::plans as scenario_plans;
use script::Script;

/// One situation.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `group/situation`; never changes.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    /// What is done.
    pub does: Does,
    /// The kernel may pass over programs when so many threads call: what is lost does not fail the
    /// case when each loss is counted.
    pub may_lose: bool,
    /// Whether memory changes between the probe's reading and the kernel's.
    pub memory: Memory,
}

/// What becomes of the memory at `utmr` during the calls of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nobody changes it.
    Still,
    /// Somebody may, between the two readings or not. On a machine that is busy, or that runs
    /// several guests side by side, it may come to nothing, which is then said.
    Raced,
    /// It is changed, and a run in which no event says so showed nothing.
    Changed,
}

/// What a case consists of.
#[derive(Clone, Copy, Debug)]
pub enum Does {
    /// One plan.
    Script(fn(&mut Script)),
    /// Generated calls, as in a run without a case.
    Bulk {
        /// How many.
        calls: u64,
    },
    /// Something about the tracer's own coming and going, or its options, which no plan can say.
    Scenario(Scenario),
}

/// Situations of the tracer itself; what each does is up to who runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// Started and stopped while calls are made.
    UnderLoad,
    /// Two at once.
    TwoTracers,
    /// Ended by `SIGTERM`.
    Terminated,
    /// Ended by `SIGKILL` while calls are made.
    Killed,
    /// With a ring buffer that cannot hold what comes.
    SmallBuffer,
    /// With a filter by process, while another calls.
    OtherProcess,
    /// With output for people, which is not the oracle's form.
    Pretty,
    /// With output in Tracee's form.
    Tracee,
    /// Somewhere else than in a root shell of the initial namespaces.
    Field(Field),
}

impl Case {
    /// How many calls it makes, whatever the seed is; `least` calls or more when it can be
    /// repeated.
    pub fn calls(&self, least: u64) -> u64 {
        match self.does {
            Does::Bulk { calls } => calls.max(least),
            Does::Script(_) => self.repetitions(least) * self.once(),
            Does::Scenario(scenario) => {
                scenario_plans(scenario, 0).iter().map(|plan| plan.calls() as u64).sum()
            }
        }
    }

    /// The case's plans with this seed, one after the other; none of a scenario, which makes its
    /// own.
    pub fn plans(&self, seed: u64, least: u64) -> Box<dyn Iterator<Item = Plan> + Send> {
        let case = *self;
        match self.does {
            Does::Scenario(_) => Box::new(std::iter::empty()),
            Does::Script(_) => Box::new(
                (0..self.repetitions(least))
                    .filter_map(move |round| case.script(seed.wrapping_add(round))),
            ),
            Does::Bulk { .. } => {
                let calls = self.calls(least);
                let sizes = (0..calls.div_ceil(CALLS_PER_PLAN))
                    .map(move |index| (index, CALLS_PER_PLAN.min(calls - index * CALLS_PER_PLAN)));
                Box::new(sizes.map(move |(index, calls)| super::plan(seed, index, calls as usize)))
            }
        }
    }

    fn repetitions(&self, least: u64) -> u64 {
        least.div_ceil(self.once().max(1)).max(1)
    }

    fn once(&self) -> u64 {
        self.script(0).map_or(0, |plan| plan.calls() as u64)
    }

    fn script(&self, seed: u64) -> Option<Plan> {
        let Does::Script(write) = self.does else { return None };
        let mut script = Script::new(self.name, seed);
        write(&mut script);
        Some(script.into_plan())
    }
}

const fn case(name: &'static str, about: &'static str, write: fn(&mut Script)) -> Case {
    Case { name, about, does: Does::Script(write), may_lose: false, memory: Memory::Still }
}

/// A case with more threads than a kernel may have return probes for: 5.10 has one for each CPU
/// (`register_kretprobe`), and a thread that is preempted inside the call keeps its own. A kernel
/// that preempts passes programs in trampolines over.
const fn crowd(name: &'static str, about: &'static str, write: fn(&mut Script)) -> Case {
    Case { may_lose: true, ..case(name, about, write) }
}

const fn bulk(name: &'static str, about: &'static str, calls: u64) -> Case {
    Case { name, about, does: Does::Bulk { calls }, may_lose: false, memory: Memory::Still }
}

const fn scenario(name: &'static str, about: &'static str, scenario: Scenario) -> Case {
    Case { name, about, does: Does::Scenario(scenario), may_lose: false, memory: Memory::Still }
}

const fn field(name: &'static str, about: &'static str, field: Field) -> Case {
    scenario(name, about, Scenario::Field(field))
}

/// All cases, in the order in which they are run.
pub const CASES: &[Case] = &[
    case("values/any", "any 32 bits in all four numbers, valid and invalid mixed", values::any),
    case(
        "values/edges",
        "0, 1, -1, 999,999,999, 1,000,000,000 and both ends of the range, all four numbers in all ways",
        values::edges,
    ),
    case(
        "values/bad-interval-of-a-disarm",
        "an invalid interval with a value of zero",
        values::bad_interval,
    ),
    case(
        "values/disarm-with-interval",
        "a value of zero with an interval, which stays and is read back",
        values::disarm,
    ),
    case(
        "values/expired",
        "what is left of timers that have expired, one-shot and periodic",
        values::expired,
    ),
    case("flags/each-bit", "each bit alone, and with the known ones", fds::each_bit),
    case("flags/any", "any 32 bits", fds::any_flags),
    case("fds/each-kind", "timers, copies, and everything that is no timer", fds::each_kind),
    case(
        "fds/order-of-errors",
        "everything that can be wrong with a call, in all combinations, on each kind of descriptor",
        fds::order,
    ),
    case(
        "fds/after-fork",
        "timers that a forked child shares, and a table that it does not",
        fds::after_fork,
    ),
    case(
        "clocks/each",
        "each clock, alarms as well, with relative and absolute times",
        clocks::each,
    ),
    case(
        "clocks/alarm-not-allowed",
        "alarm clocks without CAP_WAKE_ALARM, with whatever else can be wrong",
        clocks::not_allowed,
    ),
    case(
        "clocks/set",
        "CLOCK_REALTIME is set while a cancellation is asked for, and while none is",
        clocks::set,
    ),
    case("pointers/null", "null for either pointer, and for both", pointers::null),
    case(
        "pointers/nowhere",
        "addresses of nothing, small and large, the kernel's among them",
        pointers::nowhere,
    ),
    case("pointers/unaligned", "1 to 15 bytes off, either pointer", pointers::unaligned),
    case(
        "pointers/overlap",
        "the structures over each other by any number of bytes",
        pointers::overlap,
    ),
    case("pointers/page-edge", "across an edge between resident pages", pointers::page_edge),
    case(
        "pointers/utmr-partly-mapped",
        "0 to 15 bytes of the new setting can be read",
        pointers::utmr_partly,
    ),
    case(
        "pointers/otmr-partly-mapped",
        "0 to 15 bytes of the old setting can be written",
        pointers::otmr_partly,
    ),
    case(
        "pointers/protected",
        "pages without access, read-only and write-only",
        pointers::protected,
    ),
    case(
        "pointers/last-user-bytes",
        "the last bytes that a process can have",
        pointers::last_bytes,
    ),
    case(
        "pointers/not-resident",
        "pages that no page table has yet: untouched, of a file, given up",
        pointers::not_resident,
    ),
    case(
        "pointers/any-pages",
        "every two kinds of page on either side of an edge",
        pointers::any_pages,
    ),
    case("entry/int80", "any call, by int 0x80", entry::int80),
    case(
        "entry/vdso",
        "any call, through the vDSO: syscall or sysenter, as the CPU's maker has it (--cpu)",
        entry::vdso,
    ),
    case(
        "entry/int80-from-64bit",
        "any call, by int 0x80 from a 64-bit process with dirty upper halves",
        entry::from_64_bits,
    ),
    case(
        "pointers/64bit-stack",
        "from a 64-bit process: the low half of its stack's address, where nothing is",
        pointers::stack_of_64_bits,
    ),
    case(
        "pointers/across-4-gib",
        "from a 64-bit process: memory that goes on beyond 4 GiB",
        pointers::across_4_gib,
    ),
    case(
        "pointers/held",
        "pages for which the kernel waits in userfaultfd, either pointer, whole and in part",
        threads::held,
    ),
    case(
        "entry/rewritten-by-ptracer",
        "a ptracer replaces the arguments at the entry",
        entry::rewritten,
    ),
    case(
        "entry/rewritten-from-64bit",
        "the same of a 64-bit process",
        entry::rewritten_from_64_bits,
    ),
    Case {
        memory: Memory::Changed,
        ..case(
            "threads/toctou-on-purpose",
            "a half of the new setting is rewritten while the kernel waits for the other",
            threads::toctou_on_purpose,
        )
    },
    Case {
        memory: Memory::Raced,
        ..case(
            "threads/toctou-race",
            "another thread rewrites the new setting all the time",
            threads::toctou_race,
        )
    },
    case("cpus/pinned", "a thread that is kept on one CPU, and then on another", cpus::pinned),
    case("cpus/moved", "calls that return on another CPU than they entered on", cpus::moved),
    case(
        "threads/ends-after-call",
        "a child exits, is killed, or executes another program right after a call",
        threads::ends_after,
    ),
    case(
        "threads/killed-inside-call",
        "a child is killed while the kernel waits for its memory",
        threads::killed_inside,
    ),
    case(
        "silence/refused-by-seccomp",
        "calls that a seccomp filter answers",
        silence::refused_by_seccomp,
    ),
    case(
        "silence/fast-entry-without-stack",
        "fast entries that fail before their number is looked at",
        silence::without_stack,
    ),
    case(
        "silence/timerfd-settime64",
        "the call's 64-bit sibling of i386 between calls",
        silence::timerfd_settime64,
    ),
    case(
        "silence/timer-settime32",
        "POSIX timers, which copy their settings by the same functions",
        silence::timer_settime32,
    ),
    case(
        "silence/timerfd-gettime32",
        "reads of timers, which copy settings out by the same function",
        silence::timerfd_gettime32,
    ),
    case(
        "silence/native-timerfd-settime",
        "the call's sibling of x86-64 between calls by int 0x80",
        silence::native,
    ),
    case(
        "silence/mlock2",
        "the call that has the same number for x86-64, between calls by int 0x80",
        silence::mlock2,
    ),
    bulk("volume/million", "a million calls, none of them lost", 1_000_000),
    // The last of the plans. A result that was lost of a thread's last call is told at its exit;
    // where the kernel passes over that program too, as one that preempts may, it is told when the
    // tracer ends, and must find its plan still open.
    crowd(
        "pointers/held-by-many",
        "more threads inside the call at once than return probes have room for",
        threads::more_than_maxactive,
    ),
    crowd("threads/many", "threads with a timer each, on all CPUs", threads::many),
    crowd("threads/several", "fewer of them", threads::several),
    crowd("threads/one-fd", "threads that set one timer side by side", threads::one_fd),
    scenario(
        "volume/small-buffer",
        "a ring buffer too small for what comes: every loss is counted",
        Scenario::SmallBuffer,
    ),
    scenario(
        "silence/other-process",
        "another process, while only one is asked for",
        Scenario::OtherProcess,
    ),
    scenario("forms/pretty", "the form for people, read back", Scenario::Pretty),
    scenario("forms/tracee", "Tracee's form, read back", Scenario::Tracee),
    scenario(
        "restart/under-load",
        "the tracer starts and stops while calls are made",
        Scenario::UnderLoad,
    ),
    scenario(
        "restart/two-tracers",
        "two tracers at once, either of them exact",
        Scenario::TwoTracers,
    ),
    scenario(
        "restart/terminated",
        "the tracer is told to end, and leaves nothing behind",
        Scenario::Terminated,
    ),
    scenario(
        "restart/killed",
        "the tracer is killed while calls are made, and leaves nothing behind",
        Scenario::Killed,
    ),
    field(
        "field/pid-namespace",
        "the tracer or who calls is in a pid namespace, or in one inside of another; a command, a process, everybody",
        Field::PidNamespace,
    ),
    field(
        "field/own-call",
        "nobody calls: nothing is printed, wherever the tracer is",
        Field::OwnCall,
    ),
    field(
        "field/time-namespace",
        "timers in a time namespace, or the tracer: in time, and neither past nor early",
        Field::TimeNamespace,
    ),
    field("field/readv", "a timer's ticks are read in two pieces", Field::Readv),
    field(
        "field/privileges",
        "two capabilities are enough; what is missing is named before anything is attached",
        Field::Privileges,
    ),
    field(
        "field/blind-from-begin",
        "probes are switched off: the tracer says that it sees nothing, or sees all",
        Field::BlindFromBegin,
    ),
    field(
        "field/switch-thrown",
        "probes are switched off and on under load: no gap that is not told",
        Field::SwitchThrown,
    ),
    field(
        "field/churn",
        "thousands of timers that come and go: memory stays flat, and a creation is a new timer also after losses",
        Field::Churn,
    ),
    field(
        "field/short",
        "timers of a nanosecond, with any events and filters: each fires once, and is its own",
        Field::Short,
    ),
    field(
        "field/clock-set",
        "the clock is set while a timer runs: forward past its time and not, back, periodic",
        Field::ClockSet,
    ),
    field(
        "field/uring",
        "timers that are read or waited for by requests of io_uring and io_submit: a wake-up, or a loss that is counted",
        Field::Uring,
    ),
    field(
        "field/reader-gone",
        "nobody reads what the tracer prints, or it cannot be written",
        Field::ReaderGone,
    ),
    field(
        "field/attach-midst",
        "a periodic timer that ran before the tracer came, for all and for its process",
        Field::AttachMidst,
    ),
    field(
        "field/ids-large",
        "process ids above 400,000, some with the same low bits",
        Field::IdsLarge,
    ),
    field(
        "field/names",
        "names over longer names, of any bytes, and of one thread among others",
        Field::Names,
    ),
    field(
        "field/set-ticks",
        "ticks that TFD_IOC_SET_TICKS gave: told as they are, and no expiries",
        Field::SetTicks,
    ),
    field(
        "field/waits-by-name",
        "each call by which a thread learns of a timer is told by its name",
        Field::WaitsByName,
    ),
    field(
        "field/process-ended",
        "a process that is asked for ends, and another gets its id",
        Field::ProcessEnded,
    ),
    field(
        "field/fork-while-off",
        "a followed process is made while probes are off, and calls once they are on",
        Field::ForkWhileOff,
    ),
    field(
        "field/taken",
        "a process ends with a timer that it took from another and never touched: it is released",
        Field::Taken,
    ),
    field(
        "field/exec",
        "a followed thread that is not its process's first executes a program",
        Field::Exec,
    ),
    field(
        "field/inside-at-end",
        "a call waits in the kernel as tracing ends: told as unfinished, and not lost",
        Field::InsideAtEnd,
    ),
    field(
        "field/container",
        "100,000 calls of processes in namespaces of their own, with large ids and an odd name",
        Field::Container,
    ),
    // The last, since the model takes a guest for one that never slept.
    field(
        "field/suspended",
        "the machine sleeps while timers run: they are told to have slept, and neither past nor early",
        Field::Suspended,
    ),
];

/// The case of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

#[cfg(test)]
mod tests;
