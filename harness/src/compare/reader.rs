//! Reads a tracer's output line by line, in the format that its definition names. A line of which
//! nothing can be made is an error with its reason; what a value means is `conversion`'s.

use std::collections::HashMap;

use regex::Captures;
use serde_json::Value;
use settime32_abi::output::{CALL_EVENT, CallEvent, Lost, SUMMARY_EVENT, Summary};

use super::conversion::Told;
use super::definition::{Format, Part, Reader};
use crate::oracle::{Fields, Reading, Telling};

/// What a line says.
#[derive(Debug)]
pub enum Line {
    /// A call.
    Call(Box<Reading>),
    /// So much was lost.
    Lost(Lost),
    /// Nothing of interest.
    Nothing,
}

/// A reader in the middle of some output.
#[derive(Debug)]
pub struct Lines<'a> {
    reader: &'a Reader,
    /// What is known of calls that were not seen to return, by thread.
    entered: HashMap<u32, Told>,
    /// Of strace: the beginnings of lines that another thread interrupted, by the number that leads
    /// each.
    unfinished: HashMap<String, String>,
}

/// Of strace: how such a beginning ends, and how its continuation goes on.
const UNFINISHED: &str = " <unfinished ...>";
const RESUMED: (&str, &str) = ("<... ", " resumed>");

impl<'a> Lines<'a> {
    /// At the begin.
    pub fn new(reader: &'a Reader) -> Self {
        Self { reader, entered: HashMap::new(), unfinished: HashMap::new() }
    }

    /// Takes a line, without its end.
    ///
    /// # Errors
    ///
    /// Why nothing can be made of it.
    pub fn line(&mut self, line: &str) -> Result<Line, String> {
        if let Some(lost) = lost(self.reader, line) {
            return lost.map(|events| Line::Lost(Lost { buffer: events, ..Lost::default() }));
        }
        if line.trim().is_empty() || self.reader.ignore.iter().any(|pattern| pattern.is_match(line))
        {
            return Ok(Line::Nothing);
        }
        match self.reader.format {
            Format::Settime32 => own(line, self.reader.claims),
            Format::Regex => self.by_patterns(line),
            Format::Strace => match self.put_together(line) {
                Some(whole) => self.by_patterns(&whole),
                None => Ok(Line::Nothing),
            },
            Format::Json => json(self.reader, line),
            Format::Tracee => super::tracee::line(line, self.reader.claims),
        }
    }

    /// Calls of which only the entry was seen.
    pub fn rest(self) -> Vec<Result<Reading, String>> {
        self.entered.into_values().map(|told| told.reading(self.reader.claims)).collect()
    }

    fn by_patterns(&mut self, line: &str) -> Result<Line, String> {
        let found = self
            .reader
            .lines
            .iter()
            .find_map(|of| of.pattern.captures(line).map(|captures| (of, captures)));
        let Some((of, captures)) = found else {
            return Err("no pattern of the definition is of this line".into());
        };
        let told = told(line, of.pattern.capture_names().flatten(), &captures);
        let thread = told.thread()?;
        let whole = match of.part {
            Part::Call => told,
            Part::Entry => {
                // A thread is in one call at a time, so that of an earlier one the return was not
                // seen.
                let earlier = self.entered.insert(thread, told);
                return earlier
                    .map_or(Ok(Line::Nothing), |earlier| call(&earlier, self.reader.claims));
            }
            Part::More => {
                if let Some(entered) = self.entered.get_mut(&thread) {
                    entered.merge(told);
                }
                return Ok(Line::Nothing);
            }
            Part::Return => {
                let Some(mut whole) = self.entered.remove(&thread) else {
                    return Ok(Line::Nothing);
                };
                whole.merge(told);
                whole
            }
        };
        call(&whole, self.reader.claims)
    }

    /// Of a line that is one of two parts the second with the first before it, and nothing of the
    /// first.
    fn put_together(&mut self, line: &str) -> Option<String> {
        let (thread, rest) = line.split_once(' ').unwrap_or(("", line));
        if let Some(begin) = line.strip_suffix(UNFINISHED) {
            self.unfinished.insert(thread.to_owned(), begin.to_owned());
            return None;
        }
        let resumed =
            rest.trim_start().strip_prefix(RESUMED.0).and_then(|rest| rest.split_once(RESUMED.1));
        let Some((_, end)) = resumed else { return Some(line.to_owned()) };
        let begin = self.unfinished.remove(thread).unwrap_or_default();
        Some(format!("{begin}{end}"))
    }
}

/// The number of lost events, where the line is about them.
pub fn lost(reader: &Reader, line: &str) -> Option<Result<u64, String>> {
    let captures = reader.lost.as_ref()?.captures(line)?;
    let digits = captures.name("lost").map_or("", |digits| digits.as_str());
    Some(digits.parse().map_err(|_| format!("{digits:?} is no number of lost events")))
}

fn call(told: &Told, claims: Fields) -> Result<Line, String> {
    told.reading(claims).map(|reading| Line::Call(Box::new(reading)))
}

fn told<'n>(line: &str, names: impl Iterator<Item = &'n str>, captures: &Captures<'_>) -> Told {
    let mut told = Told::by(line);
    for name in names {
        if let Some(value) = captures.name(name) {
            told.say(name, value.as_str());
        }
    }
    told
}

/// A line of this project's tracer.
fn own(line: &str, claims: Fields) -> Result<Line, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    match value.get("event").and_then(Value::as_str) {
        Some(CALL_EVENT) => {
            let event: CallEvent<'_> =
                serde_json::from_str(line).map_err(|error| error.to_string())?;
            let reading = Reading::whole(event.into_owned());
            let reported =
                reading.reported.without(Fields::ALL.without(claims).without(Fields::OF_ANY_EVENT));
            let telling = Telling { lines: line.to_owned(), ..Telling::default() };
            Ok(Line::Call(Box::new(Reading { reported, telling, ..reading })))
        }
        Some(SUMMARY_EVENT) => {
            let summary: Summary =
                serde_json::from_value(value).map_err(|error| error.to_string())?;
            Ok(Line::Lost(summary.lost))
        }
        _ => Err("it is neither an event nor a summary".into()),
    }
}

fn json(reader: &Reader, line: &str) -> Result<Line, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| error.to_string())?;
    let mut told = Told::by(line);
    for (key, pointer) in &reader.fields {
        match value.pointer(pointer) {
            None => {}
            Some(Value::String(text)) => told.say(key, text),
            Some(other) => told.say(key, &other.to_string()),
        }
    }
    call(&told, reader.claims)
}

#[cfg(test)]
mod tests {
    use super::super::definition::Definition;
    use super::*;

    /// What came of a recorded sample of a tool's output, read as the tool's definition says:
    /// calls, losses, errors.
    fn read(reader: &Reader, sample: &str) -> (Vec<Reading>, u64, Vec<String>) {
        let (mut calls, mut lost, mut errors) = (Vec::new(), 0, Vec::new());
        let mut lines = Lines::new(reader);
        for line in sample.lines() {
            match lines.line(line) {
                Ok(Line::Call(reading)) => calls.push(*reading),
                Ok(Line::Lost(part)) => lost += part.total(),
                Ok(Line::Nothing) => {}
                Err(reason) => errors.push(reason),
            }
        }
        for rest in lines.rest() {
            match rest {
                Ok(reading) => calls.push(reading),
                Err(reason) => errors.push(reason),
            }
        }
        (calls, lost, errors)
    }

    fn of(tracer: &str, sample: &str) -> (Vec<Reading>, u64) {
        let definition = Definition::load(tracer).unwrap();
        let (calls, lost, errors) = read(&definition.reader, sample);
        assert!(errors.is_empty(), "{tracer}: {errors:?}");
        (calls, lost)
    }

    const STRACE: &str = include_str!("../../tracers/samples/strace.txt");

    #[test]
    fn strace_is_read_with_calls_that_others_interrupted() {
        for tracer in ["strace", "strace-seccomp-bpf"] {
            let (calls, _) = of(tracer, STRACE);
            let told: Vec<(u32, i32, i32)> = calls
                .iter()
                .map(|call| (call.event.tid, call.event.ufd, call.event.flags))
                .collect();
            assert_eq!(told[..3], [(144, 3, 0), (144, 3, 0), (148, 3, 4)]);
            assert!(
                [(212, 18, 0), (211, 17, 0), (210, 16, 3)].iter().all(|whole| told.contains(whole)),
                "{told:?}"
            );
            assert_eq!(
                (calls[2].event.ret, calls[2].event.errno.as_deref()),
                (Some(-22), Some("EINVAL"))
            );
            assert_eq!(calls[1].event.otmr_written.unwrap().it_value.tv_nsec, 384_317_294);
            assert!(
                !Fields::named("utmr").unwrap().within(calls[0].reported),
                "it is decoded, and so not told"
            );
            assert_eq!(calls.last().unwrap().unfit.names().collect::<Vec<_>>(), ["utmr", "otmr"]);
        }
    }

    #[test]
    fn bpftrace_is_read_with_its_losses() {
        let (calls, lost) =
            of("bpftrace-obvious", include_str!("../../tracers/samples/bpftrace-obvious.txt"));
        assert_eq!((calls.len(), lost), (2, 148));
        assert_eq!(calls[0].event.utmr_entry.unwrap().it_value.unwrap().tv_sec, 0);
        assert!(calls[0].order < calls[1].order);
        let (calls, _) =
            of("bpftrace-right", include_str!("../../tracers/samples/bpftrace-right.txt"));
        assert_eq!(calls[0].event.utmr_used.unwrap().it_value.tv_nsec, 385_618_775);
        let null = &calls[2].event;
        assert_eq!((null.utmr, null.utmr_used, null.ret), (None, None, Some(-14)));
        assert!(
            Fields::named("utmr_used").unwrap().within(calls[2].reported),
            "null is what it tells"
        );
    }

    #[test]
    fn ftrace_and_perf_are_read_from_two_lines_a_call() {
        let (calls, lost) = of("ftrace", include_str!("../../tracers/samples/ftrace.txt"));
        assert_eq!((calls.len(), lost), (2, 0));
        let (of_perf, lost) = of("perf", include_str!("../../tracers/samples/perf.txt"));
        assert_eq!((of_perf.len(), lost), (2, 12));
        for call in [&calls[0], &of_perf[0]] {
            let event = &call.event;
            assert_eq!(
                (event.ufd, event.flags, event.ret, event.comm.as_ref()),
                (3, 0, Some(0), "settime32-workl")
            );
            assert_eq!(event.utmr_entry.unwrap().it_interval.unwrap().tv_sec, 77_834_142);
            assert_eq!(call.telling.lines.lines().count(), 2);
        }
    }

    const TRACEE: &str = r#"
name = "tracee"
about = "a test"
start = { command = ["tracee"], ready = "ready" }
output = { from = "stdout" }
reader = { format = "tracee", claims = ["pid", "tid", "comm", "cpu", "ufd", "flags", "utmr", "otmr", "ret"] }
"#;

    #[test]
    fn tracee_is_read_of_two_versions() {
        let definition = Definition::parse(TRACEE, std::path::Path::new("tracee.toml")).unwrap();
        let (calls, _, errors) =
            read(&definition.reader, include_str!("../../tracers/samples/tracee.txt"));
        assert!(errors.is_empty(), "{errors:?}");
        let told: Vec<_> = calls
            .iter()
            .map(|call| (call.event.tid, call.event.ufd, call.event.flags, call.event.ret))
            .collect();
        assert_eq!(told, [(813, 3, 1, Some(0)), (813, -1, 64, Some(-22))]);
        assert_eq!((calls[0].event.utmr, calls[0].event.otmr), (Some(0xffb1_c2d0), None));
        assert_eq!(calls[1].unfit.names().collect::<Vec<_>>(), ["utmr"]);
    }

    /// The tracer's own tests hold this sample against what it prints.
    #[test]
    fn what_this_tracer_prints_in_tracees_form_is_read_as_tracees() {
        let definition = Definition::parse(TRACEE, std::path::Path::new("tracee.toml")).unwrap();
        let (calls, _, errors) =
            read(&definition.reader, include_str!("../../tracers/samples/settime32-tracee.txt"));
        assert!(errors.is_empty() && calls.iter().all(|call| call.unfit.is_empty()), "{errors:?}");
        let [usual, edge] = [&calls[0].event, &calls[1].event];
        assert_eq!(
            (usual.pid, usual.tid, usual.cpu, usual.comm.as_ref(), usual.ret),
            (123, 124, 1, "prog", Some(0))
        );
        assert_eq!(
            (usual.ufd, usual.flags, usual.utmr, usual.otmr),
            (3, 1, Some(0xffd0_0010), Some(0xffd0_0020))
        );
        assert_eq!(
            (edge.pid, edge.tid, edge.cpu, edge.comm.as_ref(), edge.ret),
            (4_194_302, 4_194_303, 8191, "a\"\u{1b}\u{fffd}€", Some(-22))
        );
        assert_eq!(
            (edge.ufd, edge.flags, edge.utmr, edge.otmr),
            (i32::MIN, -1, Some(u32::MAX), None)
        );
    }

    /// As a guest printed it, of a program with two threads.
    #[test]
    fn what_this_tracer_prints_for_people_is_read() {
        let definition = Definition::of_form(crate::setup::Format::Pretty);
        let sample = include_str!("../../tracers/samples/settime32-pretty.txt");
        let (calls, _, errors) = read(&definition.reader, sample);
        assert!(errors.is_empty() && calls.iter().all(|call| call.unfit.is_empty()), "{errors:?}");
        let told: Vec<_> = calls
            .iter()
            .map(|call| (call.event.tid, call.event.ufd, call.event.flags, call.event.ret))
            .collect();
        let expected = [
            (144, 3, 0, 0),
            (144, 3, 67, -22),
            (144, -1, 64, -14),
            (144, 3, 3, -14),
            (144, 3, 0, -14),
            (146, 3, 1, 0),
        ];
        assert_eq!(told, expected.map(|(tid, ufd, flags, ret)| (tid, ufd, flags, Some(ret))));
        assert!(calls.iter().all(|call| call.event.pid == 144 && call.event.comm == "program"));
        assert_eq!(
            (calls[2].event.utmr, calls[2].event.otmr, calls[3].event.utmr),
            (None, Some(0xffb6_2590), Some(1))
        );
        assert_eq!(
            (calls[2].event.utmr_used, calls[4].event.utmr_used),
            (None, calls[0].event.utmr_used)
        );
        let [used, written] =
            [calls[5].event.utmr_used, calls[5].event.otmr_written].map(Option::unwrap);
        assert_eq!(
            (used.it_interval.tv_nsec, written.it_interval.tv_sec, written.it_value.tv_nsec),
            (5, 1, 991_903_844)
        );
        let unread = sample.replacen("it_value={tv_sec=-5, tv_nsec=6}", "it_value=???", 1);
        assert_eq!(read(&definition.reader, &unread).0[1].event.utmr_used, None);
        for damage in ["= ? <result lost>", "= 0 <unfinished ...>", ""] {
            assert_eq!(
                read(
                    &definition.reader,
                    &sample.replacen("= -1 EINVAL (Invalid argument)", damage, 1)
                )
                .2
                .len(),
                1,
                "{damage}"
            );
        }
    }

    #[test]
    fn a_line_of_which_nothing_can_be_made_is_told() {
        let definition = Definition::load("strace").unwrap();
        let damaged = STRACE.replacen("tv_nsec=650142348", "tv_nsec=6501...", 1);
        let (calls, _, errors) = read(&definition.reader, &damaged);
        assert_eq!(errors.len(), 1);
        assert_eq!(calls.len() + 1, read(&definition.reader, STRACE).0.len());
        assert!(read(&definition.reader, "something else\n").2[0].contains("no pattern"));
    }
}
