//! The catalogue: situations in which a tracer must be exact, each by a stable name and with a plan of its own that
//! goes through all of it. As everywhere in the generator, nothing here says what ought to happen.
//!
//! A plan is a pure function of the seed: which cases of a situation come up is fixed, the times around them are drawn.

mod clocks;
mod entry;
mod fds;
mod pointers;
mod script;
mod silence;
mod values;

use settime32_abi::plan::Plan;

use script::Script;

/// One situation.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// `group/situation`; never changes.
    pub name: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
    write: fn(&mut Script),
}

impl Case {
    /// How many calls it makes, whatever the seed is.
    pub fn calls(&self) -> u64 {
        self.plan(0).calls() as u64
    }

    /// The case's plan with this seed.
    pub fn plan(&self, seed: u64) -> Plan {
        let mut script = Script::new(self.name, seed);
        (self.write)(&mut script);
        script.into_plan()
    }
}

const fn case(name: &'static str, about: &'static str, write: fn(&mut Script)) -> Case {
    Case { name, about, write }
}

/// All cases, in the order in which they are run.
pub const CASES: &[Case] = &[
    case("values/any", "any 32 bits in all four numbers, valid and invalid mixed", values::any),
    case("values/edges", "0, 1, -1, 999,999,999, 1,000,000,000 and both ends of the range, all four numbers in all ways", values::edges),
    case("values/bad-interval-of-a-disarm", "an invalid interval with a value of zero", values::bad_interval),
    case("values/disarm-with-interval", "a value of zero with an interval, which stays and is read back", values::disarm),
    case("values/expired", "what is left of timers that have expired, one-shot and periodic", values::expired),
    case("flags/each-bit", "each bit alone, and with the known ones", fds::each_bit),
    case("flags/any", "any 32 bits", fds::any_flags),
    case("fds/each-kind", "timers, copies, and everything that is no timer", fds::each_kind),
    case("fds/order-of-errors", "everything that can be wrong with a call, in all combinations, on each kind of descriptor", fds::order),
    case("fds/after-fork", "timers that a forked child shares, and a table that it does not", fds::after_fork),
    case("clocks/each", "each clock, alarms as well, with relative and absolute times", clocks::each),
    case("clocks/alarm-not-allowed", "alarm clocks without CAP_WAKE_ALARM, with whatever else can be wrong", clocks::not_allowed),
    case("clocks/set", "CLOCK_REALTIME is set while a cancellation is asked for, and while none is", clocks::set),
    case("pointers/null", "null for either pointer, and for both", pointers::null),
    case("pointers/nowhere", "addresses of nothing, small and large, the kernel's among them", pointers::nowhere),
    case("pointers/unaligned", "1 to 15 bytes off, either pointer", pointers::unaligned),
    case("pointers/overlap", "the structures over each other by any number of bytes", pointers::overlap),
    case("pointers/page-edge", "across an edge between resident pages", pointers::page_edge),
    case("pointers/utmr-partly-mapped", "0 to 15 bytes of the new setting can be read", pointers::utmr_partly),
    case("pointers/otmr-partly-mapped", "0 to 15 bytes of the old setting can be written", pointers::otmr_partly),
    case("pointers/protected", "pages without access, read-only and write-only", pointers::protected),
    case("pointers/last-user-bytes", "the last bytes that a process can have", pointers::last_bytes),
    case("pointers/not-resident", "pages that no page table has yet: untouched, of a file, given up", pointers::not_resident),
    case("pointers/any-pages", "every two kinds of page on either side of an edge", pointers::any_pages),
    case("entry/int80", "any call, by int 0x80", entry::int80),
    case("entry/vdso", "any call, through the vDSO: syscall or sysenter, as the CPU's maker has it (--cpu)", entry::vdso),
    case("entry/int80-from-64bit", "any call, by int 0x80 from a 64-bit process with dirty upper halves", entry::from_64_bits),
    case(
        "pointers/64bit-stack",
        "from a 64-bit process: the low half of its stack's address, where nothing is",
        pointers::stack_of_64_bits,
    ),
    case("pointers/across-4-gib", "from a 64-bit process: memory that goes on beyond 4 GiB", pointers::across_4_gib),
    case("silence/timerfd-settime64", "the call's 64-bit sibling of i386 between calls", silence::timerfd_settime64),
    case("silence/timer-settime32", "POSIX timers, which copy their settings by the same functions", silence::timer_settime32),
    case("silence/timerfd-gettime32", "reads of timers, which copy settings out by the same function", silence::timerfd_gettime32),
    case("silence/native-timerfd-settime", "the call's sibling of x86-64 between calls by int 0x80", silence::native),
    case("silence/mlock2", "the call that has the same number for x86-64, between calls by int 0x80", silence::mlock2),
];

/// The case of this name.
pub fn find(name: &str) -> Option<&'static Case> {
    CASES.iter().find(|case| case.name == name)
}

#[cfg(test)]
mod tests;
