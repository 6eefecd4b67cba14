//! A tracer under test, as its TOML file describes it: what it needs, how it starts, how it stops,
//! and how its output is read. Nothing here runs or reads anything but that file.

use std::fs;
use std::path::{Path, PathBuf};

use regex::Regex;
use serde::{Deserialize, Deserializer, de};
use thiserror::Error;

use crate::oracle::Fields;
use crate::setup::Format as Form;

/// Stands in a command for the workload with its arguments.
pub const WORKLOAD: &str = "{workload}";

/// The definitions that come with the harness: name of the file, content.
const SHIPPED: [(&str, &str); 8] = [
    ("settime32-fentry", include_str!("../../tracers/settime32-fentry.toml")),
    ("settime32-kprobe", include_str!("../../tracers/settime32-kprobe.toml")),
    ("strace", include_str!("../../tracers/strace.toml")),
    ("strace-seccomp-bpf", include_str!("../../tracers/strace-seccomp-bpf.toml")),
    ("bpftrace-obvious", include_str!("../../tracers/bpftrace-obvious.toml")),
    ("bpftrace-right", include_str!("../../tracers/bpftrace-right.toml")),
    ("ftrace", include_str!("../../tracers/ftrace.toml")),
    ("perf", include_str!("../../tracers/perf.toml")),
];

/// The same of this project's tracer in its other forms, which are read back only.
const FORMS: [(Form, &str, &str); 2] = [
    (Form::Pretty, "settime32-pretty", include_str!("../../tracers/settime32-pretty.toml")),
    (Form::Tracee, "settime32-tracee", include_str!("../../tracers/settime32-tracee.toml")),
];

/// A tracer under test.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// What it was asked for by: a name, or a path.
    #[serde(skip)]
    pub asked: String,
    /// Its name in the scoreboard.
    pub name: String,
    /// What it is, in a line.
    pub about: String,
    /// What the guest must have.
    #[serde(default)]
    pub needs: Needs,
    /// How it starts.
    pub start: Start,
    /// How it stops.
    #[serde(default)]
    pub stop: Stop,
    /// Where its output is.
    pub output: Output,
    /// How that is read.
    pub reader: Reader,
}

/// Taken from this machine into the guest.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Needs {
    /// Programs beside the one that is started, by path or by name on the PATH, with their
    /// libraries.
    #[serde(default)]
    pub programs: Vec<String>,
    /// Installed packages, with all their files and the libraries that these need, but not what
    /// they depend on.
    #[serde(default)]
    pub packages: Vec<String>,
    /// Files and folders, `PATH` or `PATH:GUEST-PATH`; a relative path is of the folder that the
    /// TOML file is in.
    #[serde(default)]
    pub files: Vec<String>,
    /// Small files by their path in the guest, with their content.
    #[serde(default)]
    pub scripts: Vec<Script>,
    /// How the programs are installed, for the message when one is missing.
    #[serde(default)]
    pub install: Option<String>,
}

/// A file of the guest.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// Where it is.
    pub path: String,
    /// What is in it.
    pub content: String,
}

/// How a tracer is started.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// Program, which is taken along, and arguments. With [`WORKLOAD`] as one of them the tracer
    /// starts the workload itself, once for each plan.
    pub command: Vec<String>,
    /// A line that it says on standard output or standard error once it traces; needed when it does
    /// not start the workload.
    #[serde(default, deserialize_with = "pattern")]
    pub ready: Option<Regex>,
    /// `NAME=value`, beside PATH and HOME.
    #[serde(default)]
    pub env: Vec<String>,
}

impl Start {
    /// Whether the tracer starts the workload.
    pub fn wraps(&self) -> bool {
        self.command.iter().any(|word| word == WORKLOAD)
    }
}

/// How a tracer is stopped that does not end with the workload.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// The signal.
    #[serde(default)]
    pub signal: Signal,
    /// It is sent when nothing was written for so long, milliseconds: some tools drop what they
    /// have not printed yet.
    #[serde(default)]
    pub quiet_ms: u64,
}

/// A signal that asks for an end (signal(7)).
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub enum Signal {
    /// As Ctrl-C.
    #[default]
    #[serde(rename = "SIGINT")]
    Int,
    /// As kill(1).
    #[serde(rename = "SIGTERM")]
    Term,
}

impl Signal {
    /// Its number.
    pub const fn number(self) -> i32 {
        match self {
            Self::Int => 2,
            Self::Term => 15,
        }
    }
}

/// Where a tracer writes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// `stdout`, `stderr`, or a path in the guest.
    pub from: String,
}

/// How lines are read.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reader {
    /// Which reader.
    pub format: Format,
    /// What it claims to tell of each call, by the keys of this project's events.
    #[serde(deserialize_with = "facts")]
    pub claims: Fields,
    /// Of [`Format::Regex`]: a pattern for each kind of line, tried in order. Groups are named as
    /// the event's keys, with dots into structures: `utmr_entry.it_value.tv_sec`. A group `order`
    /// holds a number by which the lines are put in order.
    #[serde(default)]
    pub lines: Vec<LinePattern>,
    /// Of [`Format::Json`]: JSON pointers (RFC 6901) to the values, by the same names.
    #[serde(default)]
    pub fields: std::collections::BTreeMap<String, String>,
    /// Lines that are about something else.
    #[serde(default, deserialize_with = "patterns")]
    pub ignore: Vec<Regex>,
    /// Lines that say how many events were lost, in the group `lost`; on standard output, standard
    /// error, or in the output.
    #[serde(default, deserialize_with = "pattern")]
    pub lost: Option<Regex>,
}

/// The readers.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// This project's events.
    Settime32,
    /// By patterns of the definition.
    Regex,
    /// strace(1)'s: as `regex`, with calls put together that another thread interrupted.
    Strace,
    /// JSON objects, one a line, by pointers of the definition.
    Json,
    /// Tracee's events.
    Tracee,
}

/// What a line tells.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinePattern {
    /// The pattern.
    #[serde(deserialize_with = "needed_pattern")]
    pub pattern: Regex,
    /// Of what it tells.
    #[serde(default)]
    pub part: Part,
}

/// The part of a call that a line is about.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// All of it.
    #[default]
    Call,
    /// Its entry; the thread's next [`Part::Return`] belongs to it.
    Entry,
    /// Something on its way, which adds to the entry.
    More,
    /// Its return.
    Return,
}

/// What is wrong with a definition.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DefinitionError {
    /// Neither a name nor a file.
    #[error("failed to find the tracer {name}; give the path of a TOML file, or one of {}", shipped_names().join(", "))]
    Unknown {
        /// As it was given.
        name: String,
    },
    /// A file that cannot be read.
    #[error("failed to read the tracer's definition {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No definition.
    #[error("failed to understand the tracer's definition {path}: {reason}", path = path.display())]
    Invalid {
        /// The file, or the name of one that comes with the harness.
        path: PathBuf,
        /// What is wrong, with its place.
        reason: String,
    },
}

/// The names of those that come with the harness.
pub fn shipped_names() -> Vec<&'static str> {
    SHIPPED.iter().map(|(name, _)| *name).collect()
}

impl Definition {
    /// One that comes with the harness, by its name, or one of the user's, by its path.
    pub fn load(name: &str) -> Result<Self, DefinitionError> {
        if let Some((_, content)) = SHIPPED.iter().find(|(known, _)| *known == name) {
            return Self::parse(content, Path::new(name));
        }
        let path = Path::new(name);
        if !path.exists() {
            return Err(DefinitionError::Unknown { name: name.into() });
        }
        let content = fs::read_to_string(path)
            .map_err(|source| DefinitionError::Unreadable { path: path.into(), source })?;
        Self::parse(&content, path)
    }

    /// How a form of this project's tracer is read back that is not its own JSON.
    ///
    /// # Panics
    ///
    /// For its own JSON.
    pub(crate) fn of_form(form: Form) -> Self {
        let (_, name, content) =
            FORMS.iter().find(|(known, ..)| *known == form).expect("JSON is read as what it is");
        Self::parse(content, Path::new(name)).expect("a test reads them all")
    }

    pub(super) fn parse(content: &str, path: &Path) -> Result<Self, DefinitionError> {
        let invalid = |reason: String| DefinitionError::Invalid { path: path.into(), reason };
        let mut definition: Self =
            toml::from_str(content).map_err(|error| invalid(error.to_string()))?;
        definition.check().map_err(invalid)?;
        definition.asked = path.to_string_lossy().into_owned();
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in &mut definition.needs.files {
            *file = folder.join(&file).to_string_lossy().into_owned();
        }
        let programs =
            definition.needs.programs.iter_mut().chain(definition.start.command.first_mut());
        for program in programs.filter(|program| program.contains('/')) {
            let path = folder.join(&program);
            *program = std::path::absolute(&path).unwrap_or(path).to_string_lossy().into_owned();
        }
        Ok(definition)
    }

    fn check(&self) -> Result<(), String> {
        let Self { name, start, reader, .. } = self;
        if name.is_empty() || name.contains('/') {
            return Err(format!(
                "name is {name:?}; files are called by it, so that it must be there and hold no `/`"
            ));
        }
        if start.command.is_empty() {
            return Err("start.command is empty".into());
        }
        if start.ready.is_none() && !start.wraps() {
            return Err(format!(
                "start.ready is missing: without {WORKLOAD} in its command a tracer must say when it is ready"
            ));
        }
        let by_patterns = matches!(reader.format, Format::Regex);
        if by_patterns && reader.lines.is_empty() {
            return Err("reader.lines is missing, by which the format `regex` reads".into());
        }
        if reader.format == Format::Json && reader.fields.is_empty() {
            return Err("reader.fields is missing, by which the format `json` reads".into());
        }
        let groups = reader.lines.iter().flat_map(|line| line.pattern.capture_names().flatten());
        let mut names = groups.chain(reader.fields.keys().map(String::as_str));
        names.try_for_each(super::conversion::check_name)?;
        self.check_claims()?;
        match &reader.lost {
            Some(lost) if lost.capture_names().flatten().all(|name| name != "lost") => {
                Err("reader.lost has no group `lost`".into())
            }
            _ => Ok(()),
        }
    }
}

impl Definition {
    /// A fact that no line can tell would look like one that the tracer failed to tell.
    fn check_claims(&self) -> Result<(), String> {
        let reader = &self.reader;
        if matches!(reader.format, Format::Settime32 | Format::Tracee) {
            return Ok(());
        }
        let groups = reader.lines.iter().flat_map(|line| line.pattern.capture_names().flatten());
        let names: Vec<&str> = groups.chain(reader.fields.keys().map(String::as_str)).collect();
        let tells = |fact: &str| names.iter().any(|name| name.split('.').next() == Some(fact));
        match reader.claims.without(Fields::OF_ANY_EVENT).names().find(|fact| !tells(fact)) {
            Some(fact) => Err(format!(
                "reader.claims has `{fact}`, which no pattern or pointer of the reader is for"
            )),
            None => Ok(()),
        }
    }
}

fn pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Regex>, D::Error> {
    needed_pattern(deserializer).map(Some)
}

fn needed_pattern<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Regex, D::Error> {
    let text = String::deserialize(deserializer)?;
    Regex::new(&text).map_err(de::Error::custom)
}

fn patterns<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Regex>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    texts.iter().map(|text| Regex::new(text)).collect::<Result<_, _>>().map_err(de::Error::custom)
}

fn facts<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fields, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    names.iter().try_fold(Fields::NONE, |facts, name| match Fields::named(name) {
        Some(fact) => Ok(facts.with(fact)),
        None => Err(de::Error::custom(format!(
            "`{name}` is no fact; there are {}",
            Fields::ALL.names().collect::<Vec<_>>().join(", ")
        ))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_come_with_the_harness_are_sound() {
        for (name, content) in
            SHIPPED.into_iter().chain(FORMS.map(|(_, name, content)| (name, content)))
        {
            let definition = Definition::parse(content, Path::new(name))
                .unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(definition.name, name);
        }
    }

    const SOUND: &str = r#"
name = "mine"
about = "a test"
start = { command = ["mine"], ready = "ready" }
output = { from = "stdout" }
reader = { format = "regex", claims = ["ufd"], lines = [{ pattern = "(?<tid>[0-9]+) (?<ufd>[0-9]+)" }] }
"#;

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let said = |from: &str, to: &str| match Definition::parse(
            &SOUND.replace(from, to),
            Path::new("mine.toml"),
        ) {
            Ok(_) => String::new(),
            Err(error) => error.to_string(),
        };
        assert_eq!(said("", ""), "");
        for (from, to, words) in [
            (r#", ready = "ready""#, "", "start.ready is missing"),
            (r#"name = "mine""#, r#"name = "a/b""#, "hold no `/`"),
            (r#"["mine"]"#, "[]", "start.command is empty"),
            (r#"["ufd"]"#, r#"["fd"]"#, "`fd` is no fact; there are event"),
            (r#"["ufd"]"#, r#"["ufd", "utmr_used"]"#, "`utmr_used`, which no pattern"),
            ("(?<ufd>", "(?<fd>", "`fd` is no key of an event"),
            ("[0-9]+)\"", "[0-9+)\"", "unclosed character class"),
            ("about", "abuot", "unknown field `abuot`"),
            (r#""regex""#, r#""json""#, "reader.fields is missing"),
            ("format = \"regex\"", "format = \"regex\", lost = \"Lost [0-9]+\"", "no group `lost`"),
        ] {
            let said = said(from, to);
            assert!(said.contains(words) && said.contains("mine.toml"), "{words}: {said}");
        }
    }

    #[test]
    fn one_that_is_not_there_leads_to_those_that_are() {
        let said = Definition::load("no-such-tracer").unwrap_err().to_string();
        assert!(said.contains("no-such-tracer") && said.contains("strace-seccomp-bpf"), "{said}");
    }
}
