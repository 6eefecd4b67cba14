//! What the event of a call must be, given the journal's record of it. Pure; timestamps are judged
//! elsewhere, and what the kernel had to answer is the model's.

use settime32_abi::errno;
use settime32_abi::journal::{ALL_THERE, CPU_UNKNOWN, ENTRY_VDSO, Operation};
use settime32_abi::output::{Abi, EntryPath, Halves};
use settime32_abi::plan::{Call, Process};
use settime32_abi::timespec::{Itimerspec64, OldItimerspec32};

use super::field::Fields;
use super::seen::{Name, Names, Seen, TellingId, WHOLE};
use super::workload;
use crate::model::{Bounds, memory};

/// Who made the call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caller {
    pub process: Process,
    pub pid: u32,
    pub tid: u32,
    /// Name of the thread.
    pub comm: Name,
    /// See [`super::Config::entry_path_needed`].
    pub entry_path_needed: bool,
    /// See [`super::Config::of_others`].
    pub of_others: bool,
    /// The tracer may have gone before the call returned.
    pub may_be_unfinished: bool,
}

/// What the event of a call must be; its times are those within which the call was made.
pub(super) fn event(
    caller: Caller,
    asked: &Call,
    record: &Operation,
    made: Bounds,
    cpus: u32,
) -> Seen {
    let pointer = |address: u32| (address != 0).then_some(address);
    let utmr = pointer(record.utmr());
    let there = utmr.is_some() && record.new_there == ALL_THERE;
    let written = record.ret == 0 && record.otmr() != 0;
    // The old setting was handed over before the write failed; as much of it is known as was
    // written.
    let cut_short = record.ret == -errno::EFAULT && there && record.otmr() != 0;
    let old: OldItimerspec32 = workload::from_bytes(&record.otmr_after());
    let before: OldItimerspec32 = workload::from_bytes(&record.utmr_before());
    let halves = utmr.map_or([true; 2], |_| memory::halves_resident(asked));
    let utmr_entry = utmr.and_then(|_| resident(&before, halves));
    // The kernel copies it before it looks at anything else, so it is there whatever the result is.
    let utmr_used = there
        .then(|| if asked.meanwhile.is_some() { memory::new_setting(asked) } else { Some(before) })
        .flatten();
    Seen {
        event: Names::CALL,
        entry_ns: made.low.unsigned_abs(),
        exit_ns: Some(made.high.unsigned_abs()),
        pid: caller.pid,
        tid: caller.tid,
        comm: caller.comm,
        cpu: if record.cpu == CPU_UNKNOWN { cpus } else { record.cpu.into() },
        cpu_known: record.cpu != CPU_UNKNOWN,
        abi: match caller.process {
            Process::I386 => Abi::I386,
            Process::Amd64 => Abi::X86_64,
        },
        ufd: record.ufd(),
        flags: record.flags(),
        entry_path: Some(if record.entry == ENTRY_VDSO {
            EntryPath::Fast
        } else {
            EntryPath::Int80
        }),
        entry_path_needed: caller.entry_path_needed,
        utmr,
        utmr_entry,
        utmr_entry_errno: (halves != [true; 2]).then(|| Names::of_errno(Some("EFAULT"))),
        utmr_used,
        toctou: utmr_entry.zip(utmr_used).is_some_and(|(entry, used)| entry.differs_from(&used)),
        raced: asked.meanwhile.filter(|_| asked.is_raced()).map(|other| [asked.new, other]),
        otmr: pointer(record.otmr()),
        // What does not fit the journal's 32 bits no plan can make.
        old: (written || cut_short).then(|| Itimerspec64::from(old)),
        old_known: if cut_short { memory::bytes_written(asked) as u8 } else { WHOLE },
        old_truncated: false,
        otmr_written: written.then_some(old),
        ret: Some(i64::from(record.ret)),
        errno: errno_name(record.ret),
        unfinished: false,
        may_be_unfinished: caller.may_be_unfinished,
        result_lost: false,
        reported: Fields::ALL,
        unfit: Fields::NONE,
        telling: TellingId::NONE,
        of_others: caller.of_others,
    }
}

/// The halves of a setting that a probe can read.
fn resident(setting: &OldItimerspec32, [interval, value]: [bool; 2]) -> Option<Halves> {
    let halves = Halves {
        it_interval: interval.then_some(setting.it_interval),
        it_value: value.then_some(setting.it_value),
    };
    (interval || value).then_some(halves)
}

/// The number of the errno's name.
fn errno_name(ret: i32) -> Option<Name> {
    (ret < 0).then(|| Names::of_errno(ret.checked_neg().and_then(errno::name)))
}
