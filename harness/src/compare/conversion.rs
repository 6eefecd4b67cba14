//! From a tracer's words to the fields of an event. A word that is no value of its field's type is
//! kept as what it is and told to the oracle, which calls it wrong; only what belongs to no field
//! is the reader's fault.

use std::borrow::Cow;
use std::collections::BTreeMap;

use settime32_abi::errno;
use settime32_abi::output::{Abi, EntryPath, Halves};
use settime32_abi::timespec::{Itimerspec64, OldTimespec32, Timespec64};

use crate::oracle::{Fields, Reading};

/// Structures, and the numbers in each.
const STRUCTURES: [&str; 4] = ["utmr_entry", "utmr_used", "old", "otmr_written"];
const MEMBERS: [&str; 4] =
    ["it_interval.tv_sec", "it_interval.tv_nsec", "it_value.tv_sec", "it_value.tv_nsec"];
const SCALARS: [&str; 14] = [
    "entry_ns",
    "exit_ns",
    "pid",
    "tid",
    "comm",
    "cpu",
    "abi",
    "entry_path",
    "ufd",
    "flags",
    "utmr",
    "otmr",
    "ret",
    "errno",
];

/// A time, or another number, by which lines are put in order; it is not compared.
const ORDER: &str = "order";

/// The flags that have names (`include/uapi/linux/timerfd.h`).
/// The last two are of `timerfd_create`; strace says of any bit of this call what it is there.
const FLAG_NAMES: [(&str, i128); 4] = [
    ("TFD_TIMER_ABSTIME", 1),
    ("TFD_TIMER_CANCEL_ON_SET", 2),
    ("TFD_NONBLOCK", 0o4000),
    ("TFD_CLOEXEC", 0o2_000_000),
];

/// How null is written.
const NULLS: [&str; 4] = ["NULL", "null", "(nil)", "(null)"];

/// Says whether a value can be named so.
pub fn check_name(name: &str) -> Result<(), String> {
    let member = STRUCTURES.iter().any(|structure| {
        let rest = name.strip_prefix(structure).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|rest| MEMBERS.contains(&rest))
    });
    let known =
        member || SCALARS.contains(&name) || ["toctou", "old_truncated", ORDER].contains(&name);
    if known {
        Ok(())
    } else {
        Err(format!("`{name}` is no key of an event that a tracer can tell"))
    }
}

/// What one call's lines say, by key.
#[derive(Clone, Debug, Default)]
pub struct Told {
    values: BTreeMap<String, String>,
    lines: String,
}

impl Told {
    /// Of a line that says nothing yet.
    pub fn by(line: &str) -> Self {
        Self { values: BTreeMap::new(), lines: line.to_owned() }
    }

    /// Takes a value.
    pub fn say(&mut self, key: &str, value: &str) {
        self.values.insert(key.to_owned(), value.trim().to_owned());
    }

    /// Takes all that another line of the same call says.
    pub fn merge(&mut self, other: Self) {
        self.values.extend(other.values);
        self.lines = format!("{}\n{}", self.lines, other.lines);
    }

    /// The thread: whose events belong together.
    pub fn thread(&self) -> Result<u32, String> {
        let id = self
            .values
            .get("tid")
            .or_else(|| self.values.get("pid"))
            .ok_or("it names neither thread nor process")?;
        id.parse().map_err(|_| format!("{id:?} is no thread id"))
    }

    /// What the oracle compares. A structure that the tracer claims to tell and that is not there
    /// is null.
    pub fn reading(&self, claims: Fields) -> Result<Reading, String> {
        let mut building = Building { reading: Reading::of_thread(self.thread()?) };
        for (key, value) in &self.values {
            building.scalar(key, value);
        }
        for structure in STRUCTURES {
            let words = MEMBERS.map(|member| {
                self.values.get(&format!("{structure}.{member}")).map(String::as_str)
            });
            building.structure(structure, words, claims);
        }
        let mut reading = building.reading;
        name_the_errno(&mut reading);
        reading.reported =
            reading.reported.without(Fields::ALL.without(claims).without(Fields::OF_ANY_EVENT));
        reading.unfit = reading.unfit.without(Fields::ALL.without(claims));
        reading.telling.lines.clone_from(&self.lines);
        if let Some(order) = self.values.get(ORDER) {
            reading.order = Some(
                nanoseconds(order)
                    .ok_or_else(|| format!("{order:?} is no number to put lines in order by"))?,
            );
        }
        Ok(reading)
    }
}

/// As programs in C see it: -1, and the number in errno.
fn name_the_errno(reading: &mut Reading) {
    let number = reading
        .event
        .errno
        .as_deref()
        .and_then(|name| (1..4096).find(|number| errno::name(*number) == Some(name)));
    if let (Some(number), Some(-1)) = (number, reading.event.ret) {
        reading.event.ret = Some(-i64::from(number));
    }
    // Who tells the result and names an errno whenever there is one says that there is none.
    if reading.event.ret.is_some_and(|ret| ret >= 0) && reading.event.errno.is_none() {
        reading.reported = reading.reported.with(field("errno"));
    }
}

fn field(name: &str) -> Fields {
    Fields::named(name).expect("the names here are those of fields")
}

/// Whether there is a value to put there.
fn put<T>(place: &mut T, value: Option<T>) -> bool {
    let fits = value.is_some();
    if let Some(value) = value {
        *place = value;
    }
    fits
}

struct Building {
    reading: Reading,
}

impl Building {
    fn scalar(&mut self, key: &str, value: &str) {
        let Some(fact) = Fields::named(key) else { return };
        let event = &mut self.reading.event;
        let fits = match key {
            "entry_ns" => put(&mut event.entry_ns, nanoseconds(value)),
            "exit_ns" => put(&mut event.exit_ns, nanoseconds(value).map(Some)),
            "pid" => put(&mut event.pid, value.parse().ok()),
            // It is there already, as the thread.
            "tid" => true,
            "comm" => put(&mut event.comm, Some(Cow::Owned(value.to_owned()))),
            "cpu" => put(&mut event.cpu, value.parse().ok()),
            "abi" => put(&mut event.abi, abi(value)),
            "entry_path" => put(&mut event.entry_path, entry_path(value).map(Some)),
            "ufd" => put(&mut event.ufd, int(value)),
            "flags" => put(&mut event.flags, flags(value)),
            "utmr" => put(&mut event.utmr, pointer(value)),
            "otmr" => put(&mut event.otmr, pointer(value)),
            "ret" => put(&mut event.ret, long(value).map(Some)),
            "errno" => put(
                &mut event.errno,
                Some((!value.is_empty()).then(|| Cow::Owned(value.to_owned()))),
            ),
            "toctou" => put(&mut event.toctou, value.parse().ok()),
            "old_truncated" => put(&mut event.old_truncated, value.parse().ok()),
            _ => return,
        };
        self.tell(fact, fits, value);
    }

    fn tell(&mut self, fact: Fields, fits: bool, words: &str) {
        self.reading.reported = self.reading.reported.with(fact);
        if !fits {
            self.reading.unfit = self.reading.unfit.with(fact);
            self.reading.telling.unfit.extend(fact.names().map(|name| (name, words.to_owned())));
        }
    }

    /// Takes a structure of which one half is told and nothing of the other, as of memory that ends
    /// between them.
    fn halves(&mut self, words: [Option<&str>; 4]) -> bool {
        let half = |sec: Option<&str>, nsec: Option<&str>| {
            Some(OldTimespec32 { tv_sec: int(sec?)?, tv_nsec: int(nsec?)? })
        };
        let halves = match words {
            [sec, nsec, None, None] => Halves { it_interval: half(sec, nsec), it_value: None },
            [None, None, sec, nsec] => Halves { it_interval: None, it_value: half(sec, nsec) },
            _ => return false,
        };
        let is_told = halves.it_interval.is_some() || halves.it_value.is_some();
        if is_told {
            self.reading.event.utmr_entry = Some(halves);
            self.tell(field("utmr_entry"), true, "");
        }
        is_told
    }

    fn structure(&mut self, name: &str, words: [Option<&str>; 4], claims: Fields) {
        let fact = field(name);
        if name == "utmr_entry" && self.halves(words) {
            return;
        }
        let [Some(a), Some(b), Some(c), Some(d)] = words else {
            let half_told = words.iter().any(Option::is_some);
            if half_told || fact.within(claims) {
                self.tell(fact, !half_told, "only a part of the structure");
            }
            return;
        };
        let all = format!("interval {a}s {b}ns, value {c}s {d}ns");
        let event = &mut self.reading.event;
        let [of_32, of_64] =
            [[a, b, c, d].map(int).map(|n| n.map(i64::from)), [a, b, c, d].map(long)];
        let whole = |numbers: [Option<i64>; 4]| {
            let [Some(a), Some(b), Some(c), Some(d)] = numbers else { return None };
            let [it_interval, it_value] =
                [(a, b), (c, d)].map(|(tv_sec, tv_nsec)| Timespec64 { tv_sec, tv_nsec });
            Some(Itimerspec64 { it_interval, it_value })
        };
        let of_32 = whole(of_32).map(|setting| setting.cut());
        let fits = match name {
            "utmr_entry" => {
                put(&mut event.utmr_entry, of_32.map(|setting| Some(Halves::from(setting))))
            }
            "utmr_used" => put(&mut event.utmr_used, of_32.map(Some)),
            "otmr_written" => put(&mut event.otmr_written, of_32.map(Some)),
            _ => put(&mut event.old, whole(of_64).map(Some)),
        };
        self.tell(fact, fits, &all);
    }
}

/// A number: decimal, or the bits in hexadecimal.
fn number(text: &str) -> Option<(i128, bool)> {
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => i128::from_str_radix(digits, 16).ok().map(|value| (value, true)),
        None => text.parse().ok().map(|value| (value, false)),
    }
}

/// An `int`. Hexadecimal digits are its 32 bits; more of them are another number.
fn int(text: &str) -> Option<i32> {
    match number(text)? {
        (bits, true) => u32::try_from(bits).ok().map(u32::cast_signed),
        (value, false) => i32::try_from(value).ok(),
    }
}

fn long(text: &str) -> Option<i64> {
    match number(text)? {
        (bits, true) => u64::try_from(bits).ok().map(u64::cast_signed),
        (value, false) => i64::try_from(value).ok(),
    }
}

/// Names joined by `|`, numbers among them; what stands between `/*` and `*/` is a comment.
fn flags(text: &str) -> Option<i32> {
    let words = text.split_once("/*").map_or(text, |(words, _)| words);
    let of_word = |word: &str| {
        let named = FLAG_NAMES.iter().find(|(name, _)| *name == word).map(|(_, bit)| *bit);
        named.or_else(|| int(word).map(|bits| i128::from(bits.cast_unsigned())))
    };
    let mut bits = words.split('|').map(|word| of_word(word.trim()));
    let bits = bits.try_fold(0, |all, bit| Some(all | bit?))?;
    u32::try_from(bits).ok().map(u32::cast_signed)
}

/// An address of 32 bits, or null. `None` is neither.
fn pointer(text: &str) -> Option<Option<u32>> {
    if NULLS.contains(&text) {
        return Some(None);
    }
    // Many tools print addresses without the prefix.
    let (value, _) =
        number(text).or_else(|| i128::from_str_radix(text, 16).ok().map(|value| (value, true)))?;
    u32::try_from(value).ok().map(|address| (address != 0).then_some(address))
}

/// Nanoseconds, or seconds with a fraction.
fn nanoseconds(text: &str) -> Option<u64> {
    let Some((seconds, fraction)) = text.split_once('.') else { return text.parse().ok() };
    let digits = fraction.get(..fraction.len().min(9)).filter(|digits| !digits.is_empty())?;
    let scale = 10_u64.pow(9 - digits.len() as u32);
    seconds
        .parse::<u64>()
        .ok()?
        .checked_mul(1_000_000_000)?
        .checked_add(digits.parse::<u64>().ok()? * scale)
}

fn abi(text: &str) -> Option<Abi> {
    match text {
        "i386" => Some(Abi::I386),
        "x86_64" => Some(Abi::X86_64),
        _ => None,
    }
}

fn entry_path(text: &str) -> Option<EntryPath> {
    match text {
        "int80" => Some(EntryPath::Int80),
        "fast" => Some(EntryPath::Fast),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(pairs: &[(&str, &str)]) -> Told {
        let mut told = Told::default();
        pairs.iter().for_each(|(key, value)| told.say(key, value));
        told
    }

    fn reading(pairs: &[(&str, &str)]) -> Reading {
        told(&[&[("tid", "7")], pairs].concat()).reading(Fields::ALL).unwrap()
    }

    #[test]
    fn numbers_are_read_in_either_base_and_kept_in_range() {
        assert_eq!(
            [int("-1"), int("0xffffffff"), int("4294967295"), int("0x1ffffffff"), int("five")],
            [Some(-1), Some(-1), None, None, None]
        );
        assert_eq!(
            [long("-22"), long("0xffffffffffffffea"), long("4294967274")],
            [Some(-22), Some(-22), Some(4_294_967_274)]
        );
        assert_eq!(
            [flags("TFD_TIMER_ABSTIME|0xfc"), flags("0x80 /* TFD_??? */"), flags("0"), flags("X")],
            [Some(0xfd), Some(0x80), Some(0), None]
        );
        assert_eq!(flags("TFD_TIMER_CANCEL_ON_SET|0x80000000"), Some(i32::MIN | 2));
        assert_eq!(flags("TFD_CLOEXEC|TFD_NONBLOCK"), Some(0x8_0800));
        assert_eq!(
            [pointer("NULL"), pointer("0x0"), pointer("f7f01000")],
            [Some(None), Some(None), Some(Some(0xf7f0_1000))]
        );
        assert_eq!([pointer("0xcafe000010000000"), pointer("{")], [None, None]);
        assert_eq!(
            [nanoseconds("12.000345"), nanoseconds("17"), nanoseconds("1.")],
            [Some(12_000_345_000), Some(17), None]
        );
    }

    #[test]
    fn what_is_not_claimed_takes_nothing_from_what_is() {
        let claims = field("utmr").with(field("tid"));
        let reading = told(&[("tid", "7"), ("utmr", "?"), ("ufd", "?")]).reading(claims).unwrap();
        assert_eq!(reading.unfit.names().collect::<Vec<_>>(), ["utmr"]);
    }

    #[test]
    fn what_does_not_fit_is_told_as_wrong_in_its_own_words() {
        let reading = reading(&[("ufd", "3"), ("utmr", "0xcafe000010000000")]);
        assert_eq!(reading.unfit.names().collect::<Vec<_>>(), ["utmr"]);
        assert_eq!(reading.telling.unfit, [("utmr", "0xcafe000010000000".to_owned())]);
        assert_eq!(reading.event.ufd, 3);
    }

    #[test]
    fn minus_one_and_an_errno_are_the_kernels_result() {
        let event = reading(&[("ret", "-1"), ("errno", "EINVAL")]).event;
        assert_eq!((event.ret, event.errno.as_deref()), (Some(-22), Some("EINVAL")));
        assert_eq!(reading(&[("ret", "-1"), ("errno", "EPERM")]).event.ret, Some(-1));
    }

    #[test]
    fn a_structure_that_is_claimed_and_not_told_is_null() {
        let claims = ["tid", "utmr_entry"].map(field).into_iter().fold(Fields::NONE, Fields::with);
        let with = |pairs: &[(&str, &str)]| {
            told(&[&[("tid", "7")], pairs].concat()).reading(claims).unwrap()
        };
        assert!(
            field("utmr_entry").within(with(&[]).reported) && with(&[]).event.utmr_entry.is_none()
        );
        assert!(!field("old").within(with(&[]).reported));
        let part = with(&[("utmr_entry.it_value.tv_sec", "1")]);
        assert!(field("utmr_entry").within(part.unfit), "a part of a half is none");
        let half =
            with(&[("utmr_entry.it_value.tv_sec", "1"), ("utmr_entry.it_value.tv_nsec", "-2")])
                .event
                .utmr_entry;
        let it_value = Some(OldTimespec32 { tv_sec: 1, tv_nsec: -2 });
        assert_eq!(half, Some(Halves { it_interval: None, it_value }));
        let other = with(&[("ufd", "9")]);
        assert!(!field("ufd").within(other.reported), "what is not claimed is not compared");
    }

    #[test]
    fn a_call_of_nobody_is_no_call() {
        assert!(
            told(&[("ufd", "3")])
                .reading(Fields::ALL)
                .unwrap_err()
                .contains("neither thread nor process")
        );
        assert!(told(&[("tid", "x")]).reading(Fields::ALL).unwrap_err().contains("no thread id"));
    }

    #[test]
    fn names_are_those_of_an_event() {
        for name in ["ufd", "utmr_entry.it_interval.tv_sec", "old.it_value.tv_nsec"] {
            assert_eq!(check_name(name), Ok(()));
        }
        for name in ["fd", "utmr_entry", "utmr_entry.tv_sec", "ufd.it_value.tv_sec", "result_lost"]
        {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
