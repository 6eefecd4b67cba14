//! An event in the shape in which it waits and is compared: fixed size, strings as numbers. It says
//! in which fields two events differ; what that means is decided elsewhere.

use settime32_abi::output::{Abi, CALL_EVENT, CallEvent, EntryPath, Halves};
use settime32_abi::timespec::{ITIMERSPEC32_SIZE, Itimerspec64, OldItimerspec32, Timespec64};

use super::field::{Field, Fields};
use super::finding::Difference;
use super::reading::{Reading, Telling};

/// A string that was seen before, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name(u32);

/// How another tracer told of a call, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TellingId(u32);

impl TellingId {
    /// Of no tracer's.
    pub(super) const NONE: Self = Self(u32::MAX);
}

/// The strings of events: few different ones, each stored once; and what other tracers said, each
/// as often as it was.
#[derive(Debug)]
pub(super) struct Names(Vec<String>, Vec<Telling>);

impl Names {
    /// `event` of a call.
    pub(super) const CALL: Name = Name(0);
    /// More different strings than this come only from a tracer that writes garbage; they are then
    /// all one, which is equal to no string that is expected.
    const MOST: usize = 1024;
    /// What was said of calls beyond these is not kept: it is for the first examples.
    const TELLINGS_MOST: usize = 1 << 17;

    /// The errnos that `timerfd_settime32` gives, in the order of their numbers here.
    const ERRNOS: [&'static str; 5] = ["EBADF", "EFAULT", "EINVAL", "ECANCELED", "EPERM"];

    pub(super) fn new() -> Self {
        let known =
            [CALL_EVENT].into_iter().chain(Self::ERRNOS).chain(["(an errno without a name)"]);
        Self(known.map(str::to_owned).collect(), Vec::new())
    }

    /// The number of an errno's name, fixed so that it need not be looked up for every call.
    pub(super) fn of_errno(name: Option<&'static str>) -> Name {
        let at = Self::ERRNOS.iter().position(|known| Some(*known) == name);
        Name(at.unwrap_or(Self::ERRNOS.len()) as u32 + 1)
    }

    pub(super) fn number(&mut self, text: &str) -> Name {
        if let Some(at) = self.0.iter().position(|known| known == text) {
            return Name(at as u32);
        }
        if self.0.len() == Self::MOST {
            self.0.push("(one of too many different strings)".to_owned());
        }
        if self.0.len() < Self::MOST {
            self.0.push(text.to_owned());
        }
        Name(self.0.len() as u32 - 1)
    }

    fn text(&self, name: Name) -> &str {
        &self.0[name.0 as usize]
    }

    fn keep(&mut self, telling: &Telling) -> TellingId {
        if self.1.len() == Self::TELLINGS_MOST {
            return TellingId::NONE;
        }
        self.1.push(telling.clone());
        TellingId(self.1.len() as u32 - 1)
    }

    /// The lines that told an event, where they were kept.
    pub(super) fn lines(&self, seen: &Seen) -> &str {
        self.telling(seen.telling).map_or("", |telling| &telling.lines)
    }

    fn telling(&self, id: TellingId) -> Option<&Telling> {
        self.1.get(id.0 as usize)
    }
}

/// [`Seen::old_known`] of all bytes.
pub(super) const WHOLE: u8 = ITIMERSPEC32_SIZE as u8;

/// A [`CallEvent`], or what one is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub event: Name,
    pub entry_ns: u64,
    pub exit_ns: Option<u64>,
    pub pid: u32,
    pub tid: u32,
    pub comm: Name,
    /// Of what is expected, unless `cpu_known`: how many CPUs there are.
    pub cpu: u32,
    /// Of what is expected: the call's CPU is known.
    pub cpu_known: bool,
    pub abi: Abi,
    pub entry_path: Option<EntryPath>,
    /// Of what is expected: whether an event must name the entry path; one that does must be right
    /// in any case.
    pub entry_path_needed: bool,
    pub ufd: i32,
    pub flags: i32,
    pub utmr: Option<u32>,
    pub utmr_entry: Option<Halves>,
    pub utmr_entry_errno: Option<Name>,
    pub utmr_used: Option<OldItimerspec32>,
    pub toctou: bool,
    /// Of what is expected of a raced call: the two settings that are written in turns at `utmr`.
    pub raced: Option<[OldItimerspec32; 2]>,
    pub otmr: Option<u32>,
    pub old: Option<Itimerspec64>,
    /// Of what is expected: how many bytes of `old`, as they go to `otmr`, are known; [`WHOLE`] in
    /// an event.
    pub old_known: u8,
    pub old_truncated: bool,
    pub otmr_written: Option<OldItimerspec32>,
    pub ret: Option<i64>,
    pub errno: Option<Name>,
    pub unfinished: bool,
    /// Of what is expected: the tracer may have gone before the call returned.
    pub may_be_unfinished: bool,
    pub result_lost: bool,
    /// Of an event: what it tells at all; nothing else is compared.
    pub reported: Fields,
    /// Those among them that have no value of the field's type.
    pub unfit: Fields,
    /// The words in which it was told.
    pub telling: TellingId,
    /// Whether another tracer told it; of what is expected, see [`super::Config::of_others`].
    pub of_others: bool,
}

impl Seen {
    /// What another tracer told of a call. Times that it does not tell are those of its place in
    /// the output.
    pub(super) fn of_reading(reading: &Reading, names: &mut Names) -> Self {
        let seen = Self::new(&reading.event, names);
        Self {
            reported: reading.reported,
            unfit: reading.unfit,
            telling: names.keep(&reading.telling),
            of_others: true,
            ..seen
        }
    }

    /// Whether it is the same event once more.
    pub(super) fn is_copy_of(&self, other: &Self) -> bool {
        Self { telling: other.telling, ..*self } == *other
    }

    /// What does not speak against its being of a call: values of no field's type, and what another
    /// tracer did not read, which are wrong beside most calls.
    pub(super) fn no_evidence(&self) -> Fields {
        if !self.of_others {
            return self.unfit;
        }
        let unread = [
            (self.utmr_entry.is_none(), Fields::UTMR_ENTRY),
            (self.utmr_used.is_none(), Fields::UTMR_USED),
            (self.old.is_none(), Fields::OLD),
            (self.otmr_written.is_none(), Fields::OTMR_WRITTEN),
        ];
        unread
            .into_iter()
            .filter(|(is_unread, _)| *is_unread)
            .fold(self.unfit, |fields, (_, field)| fields.with(field))
    }

    /// Whether it says when the call entered.
    pub(super) const fn is_timed(&self) -> bool {
        Fields::ENTRY_TIME.within(self.reported) && !self.unfit.has(Field::EntryNs)
    }

    pub(super) fn new(event: &CallEvent<'_>, names: &mut Names) -> Self {
        Self {
            event: names.number(&event.event),
            entry_ns: event.entry_ns,
            exit_ns: event.exit_ns,
            pid: event.pid,
            tid: event.tid,
            comm: names.number(&event.comm),
            cpu: event.cpu,
            cpu_known: false,
            abi: event.abi,
            entry_path: event.entry_path,
            entry_path_needed: false,
            ufd: event.ufd,
            flags: event.flags,
            utmr: event.utmr,
            utmr_entry: event.utmr_entry,
            utmr_entry_errno: event.utmr_entry_errno.as_deref().map(|errno| names.number(errno)),
            utmr_used: event.utmr_used,
            toctou: event.toctou,
            raced: None,
            otmr: event.otmr,
            old: event.old,
            old_known: WHOLE,
            old_truncated: event.old_truncated,
            otmr_written: event.otmr_written,
            ret: event.ret,
            errno: event.errno.as_deref().map(|errno| names.number(errno)),
            unfinished: event.unfinished,
            may_be_unfinished: false,
            result_lost: event.result_lost,
            reported: Fields::ALL,
            unfit: Fields::NONE,
            telling: TellingId::NONE,
            of_others: false,
        }
    }
}

impl Seen {
    /// Whether it says of itself that the return was lost, and tells nothing that only the return
    /// can tell.
    const fn lost_its_result_honestly(&self) -> bool {
        self.result_lost && self.tells_no_return()
    }

    const fn tells_no_return(&self) -> bool {
        self.exit_ns.is_none()
            && self.ret.is_none()
            && self.errno.is_none()
            && self.otmr_written.is_none()
    }

    /// What it tells.
    pub(super) const fn told(&self) -> Fields {
        if self.lost_its_result_honestly() {
            self.reported.without(Fields::OF_RETURN)
        } else {
            self.reported
        }
    }
}

/// The fields in which `found` is not what is `expected`. An event that says that its result was
/// lost is not held against it.
pub(super) fn differences(expected: &Seen, found: &Seen) -> Fields {
    let different = [
        (Field::Event, expected.event != found.event),
        (Field::ExitNs, expected.exit_ns.is_some() != found.exit_ns.is_some()),
        (Field::Pid, expected.pid != found.pid),
        (Field::Tid, expected.tid != found.tid),
        (Field::Comm, expected.comm != found.comm),
        (Field::Cpu, !cpu_fits(expected, found)),
        (Field::Abi, expected.abi != found.abi),
        (
            Field::EntryPath,
            (expected.entry_path_needed || found.entry_path.is_some())
                && expected.entry_path != found.entry_path,
        ),
        (Field::Ufd, expected.ufd != found.ufd),
        (Field::Flags, expected.flags != found.flags),
        (Field::Utmr, expected.utmr != found.utmr),
        (Field::UtmrEntry, !entry_fits(expected, found)),
        (Field::UtmrEntryErrno, expected.utmr_entry_errno != found.utmr_entry_errno),
        (Field::UtmrUsed, !used_fits(expected, found)),
        (Field::Toctou, found.toctou != toctou(expected, found)),
        (Field::Otmr, expected.otmr != found.otmr),
        (Field::Old, !old_fits(expected, found)),
        (Field::OldTruncated, expected.old_truncated != found.old_truncated),
        (Field::OtmrWritten, expected.otmr_written != found.otmr_written),
        (Field::Ret, expected.ret != found.ret),
        (Field::Errno, expected.errno != found.errno),
        (Field::Unfinished, expected.unfinished != found.unfinished),
        (Field::ResultLost, expected.result_lost != found.result_lost),
    ];
    let different = different.into_iter().filter(|(_, is_different)| *is_different);
    let fields =
        different.fold(Fields::NONE, |fields, (field, _)| fields.with(Fields::of(&[field])));
    let fields = fields.and(found.reported).with(found.unfit);
    let fields =
        if found.lost_its_result_honestly() { fields.without(Fields::OF_RETURN) } else { fields };
    if expected.may_be_unfinished { fields.without(unknown_if_unfinished(found)) } else { fields }
}

/// What an event cannot say that says of itself that its call had not returned.
fn unknown_if_unfinished(seen: &Seen) -> Fields {
    let is_honest = seen.unfinished && seen.tells_no_return() && !seen.result_lost && !seen.toctou;
    // The later facts may be there already, and then they count.
    let used = if seen.utmr_used.is_some() { Fields::UTMR_USED } else { Fields::NONE };
    let old = if seen.old.is_some() { Fields::OLD } else { Fields::NONE };
    if is_honest { Fields::UNFINISHED.without(used).without(old) } else { Fields::NONE }
}

fn cpu_fits(expected: &Seen, found: &Seen) -> bool {
    if expected.cpu_known { found.cpu == expected.cpu } else { found.cpu < expected.cpu }
}

/// Whether what was read at entry is what was there, or of a raced call made of numbers of either
/// setting.
fn entry_fits(expected: &Seen, found: &Seen) -> bool {
    let Some(raced) = expected.raced else {
        return expected.utmr_entry == found.utmr_entry
            || expected.of_others && entry_fits_another_way(expected, found);
    };
    let Some(Halves { it_interval: Some(it_interval), it_value: Some(it_value) }) =
        found.utmr_entry
    else {
        return false;
    };
    made_of(raced, OldItimerspec32 { it_interval, it_value })
}

/// Who reads while the call is held may have pages made resident, and then sees what is there; who
/// reads both halves at once has nothing when one cannot be read.
fn entry_fits_another_way(expected: &Seen, found: &Seen) -> bool {
    match found.utmr_entry {
        None => expected.utmr_entry_errno.is_some(),
        whole => whole == expected.utmr_used.map(Halves::from),
    }
}

fn used_fits(expected: &Seen, found: &Seen) -> bool {
    let Some(raced) = expected.raced else { return expected.utmr_used == found.utmr_used };
    found.utmr_used.is_some_and(|used| made_of(raced, used))
}

/// What `toctou` must be: of a raced call what the event itself says of the two readings.
fn toctou(expected: &Seen, found: &Seen) -> bool {
    match (expected.raced, found.utmr_entry, found.utmr_used) {
        (None, ..) => expected.toctou,
        (Some(_), Some(entry), Some(used)) => entry.differs_from(&used),
        (Some(_), ..) => false,
    }
}

pub(super) fn made_of(settings: [OldItimerspec32; 2], read: OldItimerspec32) -> bool {
    let numbers = |setting: OldItimerspec32| bytemuck::cast::<_, [i32; 4]>(setting);
    let [one, other, read] = [settings[0], settings[1], read].map(numbers);
    (0..read.len()).all(|at| [one[at], other[at]].contains(&read[at]))
}

/// Whether `old` is the expected one, as far as that is known.
fn old_fits(expected: &Seen, found: &Seen) -> bool {
    if expected.old_known == WHOLE {
        return expected.old == found.old;
    }
    let known = usize::from(expected.old_known);
    let bytes = |old: Itimerspec64| bytemuck::cast::<_, [u8; ITIMERSPEC32_SIZE]>(old.cut());
    let (Some(expected), Some(found)) = (expected.old, found.old) else { return false };
    bytes(expected)[..known] == bytes(found)[..known]
}

/// The differing fields with both values, in words.
pub(super) fn describe(
    fields: Fields,
    expected: &Seen,
    found: &Seen,
    names: &Names,
) -> Vec<Difference> {
    let of = |field: Field| Difference {
        field: field.name(),
        expected: if field == Field::Cpu && !expected.cpu_known {
            format!("below {}", expected.cpu)
        } else {
            text(field, expected, names)
        },
        found: text(field, found, names),
    };
    fields.iter().map(of).collect()
}

fn text(field: Field, seen: &Seen, names: &Names) -> String {
    if seen.unfit.has(field) {
        let words = names
            .telling(seen.telling)
            .and_then(|telling| telling.unfit.iter().find(|(name, _)| *name == field.name()));
        return words.map_or("no value of its type".to_owned(), |(_, words)| format!("{words:?}"));
    }
    let address =
        |pointer: Option<u32>| pointer.map_or("null".to_owned(), |pointer| format!("{pointer:#x}"));
    let errno =
        |name: Option<Name>| name.map_or("none".to_owned(), |name| names.text(name).to_owned());
    match field {
        Field::Event => names.text(seen.event).to_owned(),
        Field::ExitNs => seen.exit_ns.map_or("null".to_owned(), |_| "a time".to_owned()),
        Field::Pid => seen.pid.to_string(),
        Field::Tid => seen.tid.to_string(),
        Field::Comm => format!("{:?}", names.text(seen.comm)),
        Field::Cpu => seen.cpu.to_string(),
        Field::Abi => format!("{:?}", seen.abi),
        Field::EntryPath => seen.entry_path.map_or("null".to_owned(), |path| format!("{path:?}")),
        Field::Ufd => seen.ufd.to_string(),
        Field::Flags => format!("{:#x}", seen.flags),
        Field::Utmr => address(seen.utmr),
        Field::UtmrEntry => {
            seen.utmr_entry.map_or("null".to_owned(), |Halves { it_interval, it_value }| {
                halves(it_interval, it_value)
            })
        }
        Field::UtmrEntryErrno => errno(seen.utmr_entry_errno),
        Field::UtmrUsed => setting(seen.utmr_used),
        Field::Toctou => seen.toctou.to_string(),
        Field::Otmr => address(seen.otmr),
        Field::Old => {
            seen.old.map_or("null".to_owned(), |Itimerspec64 { it_interval, it_value }| {
                halves(Some(it_interval), Some(it_value))
            })
        }
        Field::OldTruncated => seen.old_truncated.to_string(),
        Field::OtmrWritten => setting(seen.otmr_written),
        Field::Ret => seen.ret.map_or("null".to_owned(), |ret| ret.to_string()),
        Field::Errno => errno(seen.errno),
        Field::Unfinished => seen.unfinished.to_string(),
        Field::EntryNs => seen.entry_ns.to_string(),
        Field::ResultLost => seen.result_lost.to_string(),
    }
}

/// A setting as people write it: interval, then value, each seconds and nanoseconds as they are.
pub(super) fn setting(setting: Option<OldItimerspec32>) -> String {
    let Some(OldItimerspec32 { it_interval, it_value }) = setting else { return "null".to_owned() };
    halves(Some(it_interval), Some(it_value))
}

fn halves(interval: Option<impl Into<Timespec64>>, value: Option<impl Into<Timespec64>>) -> String {
    format!("interval {}, value {}", time(interval.map(Into::into)), time(value.map(Into::into)))
}

fn time(time: Option<Timespec64>) -> String {
    time.map_or("unread".to_owned(), |time| format!("{}s {}ns", time.tv_sec, time.tv_nsec))
}
