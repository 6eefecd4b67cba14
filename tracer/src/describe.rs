//! What the program says about itself to other programs: the schema of its JSON, completions for
//! shells, and a manual page. The last two are made of the definitions that `--help` is made of.

use clap::{Command, CommandFactory, Subcommand};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::cli::Cli;

/// JSON Schema of the lines of `--output json`.
pub const SCHEMA: &str = include_str!("../schema/event.schema.json");

/// A description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Description {
    /// Print the JSON Schema (draft 2020-12) of what --output json prints.
    Schema,
    /// Print completions for a shell, such as for bash: source <(settime32-tracer completions
    /// bash).
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page, in roff: settime32-tracer man | man -l -
    Man,
}

impl Description {
    /// Its text.
    pub fn text(self) -> Vec<u8> {
        match self {
            Self::Schema => SCHEMA.into(),
            Self::Completions { shell } => completions(Cli::command(), shell),
            Self::Man => manual(Cli::command()),
        }
    }
}

fn completions(mut command: Command, shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut text);
    text
}

fn manual(command: Command) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to a vector cannot fail.
    _ = Man::new(command).render(&mut text);
    text
}

#[cfg(test)]
pub mod schema {
    //! The schema, to hold lines against.

    use std::sync::LazyLock;

    use jsonschema::Validator;
    use serde_json::Value;

    use super::SCHEMA;

    static VALIDATOR: LazyLock<Validator> =
        LazyLock::new(|| jsonschema::draft202012::new(&value()).unwrap());

    /// The schema itself.
    pub fn value() -> Value {
        serde_json::from_str(SCHEMA).unwrap()
    }

    /// What it has against an object; nothing when it is valid.
    pub fn complaints(object: &Value) -> Vec<String> {
        VALIDATOR.iter_errors(object).map(|error| error.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::ValueEnum;
    use rstest::rstest;
    use serde_json::{Value, json};
    use settime32_abi::event::{RawEvent, flag};
    use settime32_abi::output::{Blind, Lost, SUMMARY_EVENT, Summary};

    use super::schema::{complaints, value};
    use super::*;
    use crate::call_event::{Seen, examples};
    use crate::json;

    fn parsed(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut line = Vec::new();
        write(&mut line);
        serde_json::from_slice(&line).unwrap()
    }

    fn call(raw: &RawEvent, seen: Seen) -> Value {
        parsed(|line| json::write_line(line, raw, seen))
    }

    fn summary() -> Value {
        let lost = Lost { buffer: u64::MAX, ..Lost::default() };
        let blind = vec![Blind { from_ns: 1, to_ns: 2, reason: "kprobes are switched off".into() }];
        parsed(|line| {
            json::write_summary(
                line,
                &Summary {
                    event: SUMMARY_EVENT.into(),
                    reported: 7,
                    lost,
                    unknown: 1,
                    unfinished: 1,
                    blind,
                },
            )
        })
    }

    /// Calls that have every key between them.
    fn calls() -> Vec<Value> {
        let mut cut = examples::success();
        cut.old.it_value.tv_sec = 1 << 31;
        let failed = RawEvent {
            ret: -14,
            utmr_entry_err: -14,
            flags: flag::RETURNED | flag::VALUE_READ,
            ..examples::success()
        };
        let unseen =
            RawEvent { flags: examples::UTMR_READ | flag::RESULT_LOST, ..examples::success() };
        let elsewhere = RawEvent { pid: 0, tid: 0, ..examples::success() };
        vec![
            call(&examples::success(), Seen::Whole),
            call(&elsewhere, Seen::Whole),
            call(&cut, Seen::Whole),
            call(&failed, Seen::Whole),
            call(&unseen, Seen::Whole),
            call(&RawEvent { flags: examples::UTMR_READ, ..unseen }, Seen::Entry),
            parsed(|line| {
                json::write_line(line, &examples::success(), Seen::Whole);
                json::add_timer(line, (7, 1));
            }),
        ]
    }

    fn keys(object: &Value) -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_is_one() {
        assert!(jsonschema::draft202012::meta::is_valid(&value()));
    }

    /// In both directions: what is printed is allowed, and what is allowed is printed.
    #[test]
    fn the_schema_has_the_keys_that_are_printed() {
        let calls = calls();
        for line in calls.iter().chain([&summary()]) {
            assert_eq!(complaints(line), [""; 0], "{line}");
        }
        let of = |kind: &str| keys(&value()["$defs"][kind]["properties"]);
        assert_eq!(calls.iter().flat_map(keys).collect::<BTreeSet<_>>(), of("timerfd_settime32"));
        assert_eq!(keys(&summary()), of("summary"));
        assert_eq!(
            keys(&summary()["lost"]),
            keys(&value()["$defs"]["summary"]["properties"]["lost"]["properties"])
        );
    }

    #[test]
    fn a_key_that_is_missing_added_or_of_another_type_is_refused() {
        for line in calls().into_iter().chain([summary()]) {
            let kind = line["event"].as_str().unwrap().to_owned();
            let required = &value()["$defs"][&kind]["required"];
            for key in keys(&line) {
                let mut wrong = line.clone();
                wrong[&key] = json!({ "wrong": true });
                assert!(!complaints(&wrong).is_empty(), "{key} of another type in {line}");
                let mut without = line.clone();
                without.as_object_mut().unwrap().remove(&key);
                if required.as_array().unwrap().contains(&json!(key)) {
                    assert!(!complaints(&without).is_empty(), "without {key}: {line}");
                }
            }
            let mut more = line.clone();
            more["more"] = json!(null);
            assert!(!complaints(&more).is_empty(), "a key too many in {line}");
        }
    }

    /// Each is a line that the tracer prints, with one value changed.
    #[rstest]
    #[case("/event", json!("timerfd_settime"))]
    #[case("/timer", json!(7))]
    #[case("/clockid", json!(1))]
    #[case("/entry_ns", json!(-1))]
    #[case("/entry_ns", json!(1.5))]
    #[case("/exit_ns", json!(null))]
    #[case("/comm", json!("seventeen-letters"))]
    #[case("/abi", json!("x32"))]
    #[case("/entry_path", json!("int81"))]
    #[case("/ufd", json!(2_147_483_648_u32))]
    #[case("/flags", json!("1"))]
    #[case("/utmr", json!(0))]
    #[case("/utmr", json!(4_294_967_296_u64))]
    #[case("/utmr_entry", json!({ "it_interval": null, "it_value": null }))]
    #[case("/utmr_used/it_value", json!(null))]
    #[case("/utmr_used/it_value/tv_sec", json!(2_147_483_648_u32))]
    #[case("/utmr_used/it_value", json!({ "tv_sec": 1, "tv_nsec": 2, "tv_usec": 3 }))]
    #[case("/utmr_entry_errno", json!("EFAULT"))]
    #[case("/old", json!(null))]
    #[case("/old/it_value/tv_sec", json!("3"))]
    #[case("/old_truncated", json!(false))]
    #[case("/otmr", json!(null))]
    #[case("/otmr_written", json!(null))]
    #[case("/ret", json!(-22))]
    #[case("/ret", json!(null))]
    #[case("/errno", json!("EINVAL"))]
    #[case("/unfinished", json!(false))]
    fn a_wrong_value_is_refused(#[case] place: &str, #[case] wrong: Value) {
        let mut line = call(&examples::success(), Seen::Whole);
        match line.pointer_mut(place) {
            Some(value) => *value = wrong,
            None => line[&place[1..]] = wrong,
        }
        assert!(!complaints(&line).is_empty(), "{line}");
    }

    #[test]
    fn an_error_without_its_name_is_refused() {
        let mut line = call(&RawEvent { ret: -22, ..examples::success() }, Seen::Whole);
        assert_eq!(complaints(&line), [""; 0]);
        line.as_object_mut().unwrap().remove("errno");
        assert!(!complaints(&line).is_empty(), "{line}");
    }

    #[test]
    fn an_unchanged_half_is_no_change() {
        let mut line =
            call(&RawEvent { flags: flag::RETURNED, ..examples::success() }, Seen::Whole);
        assert_eq!(complaints(&line), [""; 0]);
        line["toctou"] = json!(true);
        assert!(!complaints(&line).is_empty(), "{line}");
    }

    /// By clap's own list, so that none can be forgotten.
    #[test]
    fn completions_and_manual_name_every_option() {
        let command = Cli::command();
        let longs: Vec<_> =
            command.get_arguments().filter_map(|argument| argument.get_long()).collect();
        assert!(longs.contains(&"armed-longer") && longs.contains(&"output"), "{longs:?}");
        let jobs: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
        for shell in Shell::value_variants() {
            let text =
                String::from_utf8(Description::Completions { shell: *shell }.text()).unwrap();
            let dashes = if *shell == Shell::Fish { "-l " } else { "--" };
            for long in &longs {
                assert!(text.contains(&format!("{dashes}{long}")), "--{long} for {shell}");
            }
            assert!(jobs.iter().all(|job| text.contains(job)), "{jobs:?} for {shell}");
        }
        let manual = String::from_utf8(Description::Man.text()).unwrap().replace("\\-", "-");
        for name in longs
            .iter()
            .map(|long| format!("--{long}"))
            .chain(jobs.iter().map(|job| format!("settime32-tracer-{job}")))
        {
            assert!(manual.contains(&name), "{name}");
        }
        assert!(manual.contains("Exit codes:"), "{manual}");
    }
}
