//! A failure in a file: what failed, on what, in words, and the plan, which every later run of its
//! command does first.
//!
//! JSON, a line a step, so that people can read and versions can compare it. The plan's steps are
//! those of `settime32_abi::plan`; a file that a later version cannot read is an error that names
//! it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use settime32_abi::plan::{Plan, Process, Step};

use crate::cache;
use crate::failure::InfraError;
use crate::oracle::Finding;
use crate::reproducer;
use crate::shrink::{Outcome, Signature};
use crate::words;

/// Of this file's layout.
const FORMAT: u32 = 1;

/// Steps up to which a plan is told in words.
const STEPS_IN_WORDS: usize = 200;

/// Where a plan came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// A command that makes the plan from its seed, or what else is known of it.
    pub plan: String,
    /// The kernel.
    pub kernel: String,
    /// How the tracer attached.
    pub attach: String,
    /// The tracer.
    pub tracer: String,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    format: u32,
    /// Version of the harness that wrote it.
    pub harness: String,
    /// Where it was found.
    pub found: Origin,
    /// What it is known by; `None` of a guest that failed.
    pub signature: Option<Signature>,
    /// What was made of the plan.
    pub note: String,
    /// What the oracle says, field by field.
    pub finding: Vec<String>,
    /// The plan in words; empty of a long one.
    pub words: Vec<String>,
    process: Process,
    steps: Vec<Step>,
}

impl Regression {
    /// Of a plan and what it failed with.
    pub fn new(
        found: Origin,
        signature: Option<Signature>,
        note: String,
        finding: &str,
        plan: &Plan,
    ) -> Self {
        let short = plan.steps.len() <= STEPS_IN_WORDS;
        Self {
            format: FORMAT,
            harness: env!("CARGO_PKG_VERSION").into(),
            found,
            signature,
            note,
            finding: finding.lines().map(str::to_owned).collect(),
            words: if short { words::of(plan) } else { Vec::new() },
            process: plan.process,
            steps: plan.steps.clone(),
        }
    }

    /// The plan.
    pub fn plan(&self) -> Plan {
        Plan { process: self.process, steps: self.steps.clone() }
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// In words, when it is none, or its plan is not valid.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read: Self = serde_json::from_str(text)
            .map_err(|error| format!("it is no regression file: {error}"))?;
        if read.format != FORMAT {
            return Err(format!(
                "it is of format {}, and this harness reads format {FORMAT}",
                read.format
            ));
        }
        read.plan().validate().map_err(|error| error.to_string())?;
        Ok(read)
    }

    /// The text of the file.
    pub fn text(&self) -> String {
        let head = Self { steps: Vec::new(), ..self.clone() };
        let head = serde_json::to_string_pretty(&head).expect("a regression is plain data");
        let step = |step: &Step| {
            format!("    {}", serde_json::to_string(step).expect("a step is plain data"))
        };
        let steps = self.steps.iter().map(step).collect::<Vec<_>>().join(",\n");
        head.strip_suffix("[]\n}").expect("the steps are last").to_owned()
            + &format!("[\n{steps}\n  ]\n}}\n")
    }

    /// Name of its file without the extension: what failed, and a few digits of the plan's digest.
    pub fn name(&self) -> String {
        let words =
            self.signature.as_ref().map_or_else(|| "guest failure".into(), ToString::to_string);
        let plain: String = words
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '-' })
            .collect();
        let short: Vec<&str> = plain.split('-').filter(|word| !word.is_empty()).take(10).collect();
        let digest = cache::sha256(&self.plan().encode());
        format!("{}-{}", short.join("-"), &digest[..8])
    }

    /// Writes the file into the folder, whole or not at all, and gives its path.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn keep(&self, folder: &Path) -> Result<PathBuf, InfraError> {
        let path = folder.join(self.name() + ".json");
        cache::write_whole(&path, self.text().as_bytes())?;
        Ok(path)
    }

    /// Writes the plan as a C program beside its file, and gives the path; or why there is none.
    ///
    /// # Errors
    ///
    /// Those of the file system.
    pub fn keep_c(
        &self,
        path: &Path,
        finding: &Finding,
        replay: &str,
    ) -> Result<Result<PathBuf, reproducer::NotInC>, InfraError> {
        let Origin { kernel, attach, tracer, .. } = &self.found;
        let about = [
            format!("found with {tracer} on Linux {kernel}, attached by {attach}"),
            format!("replay it: {replay}"),
        ];
        let source = match reproducer::source(&self.plan(), finding, &about) {
            Ok(source) => source,
            Err(not) => return Ok(Err(not)),
        };
        let path = path.with_extension("c");
        cache::write_whole(&path, source.as_bytes())?;
        Ok(Ok(path))
    }
}

/// The regressions in a folder, in the order of their names; none where there is no folder.
///
/// # Errors
///
/// When a file cannot be read, or is none.
pub fn all(folder: &Path) -> Result<Vec<(PathBuf, Regression)>, InfraError> {
    let listed = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        listed => listed.map_err(InfraError::file("list", folder))?,
    };
    let mut paths: Vec<PathBuf> = listed.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).map_err(InfraError::file("read", &path))?;
        let regression = Regression::parse(&text)
            .map_err(|reason| InfraError::Regression { path: path.clone(), reason })?;
        Ok((path, regression))
    };
    paths.into_iter().map(read).collect()
}

/// What was made of a plan, in a line.
pub fn note(outcome: &Outcome, calls: usize) -> String {
    let runs = |count: u32| if count == 1 { "1 run".to_owned() } else { format!("{count} runs") };
    match outcome {
        Outcome::DidNotRepeat { runs: count } => {
            format!("did not repeat in {}; kept as it was", runs(*count))
        }
        Outcome::Shrunk(shrunk) => {
            let mut note = format!(
                "shrunk from {calls} calls to {} in {}",
                shrunk.plan.calls(),
                runs(shrunk.runs)
            );
            if shrunk.cut_off {
                note += ", which are as many as there may be";
            }
            if shrunk.confirmed < shrunk.confirmed_of {
                note += &format!(
                    "; chance has a part in it: run again, it failed {} of {} times",
                    shrunk.confirmed, shrunk.confirmed_of
                );
            }
            note
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate;
    use crate::generate::catalogue::CASES;
    use crate::oracle::Kind;

    fn of(plan: &Plan) -> Regression {
        let found = Origin {
            plan: "seed 7".into(),
            kernel: "6.12".into(),
            attach: "kprobe".into(),
            tracer: "settime32-tracer".into(),
        };
        let signature = Signature { kind: Kind::Field, fields: vec!["ret".into(), "errno".into()] };
        Regression::new(
            found,
            Some(signature),
            "a note".into(),
            "plan 0: event differs\n  ret must be 0, is 1",
            plan,
        )
    }

    #[test]
    fn every_plan_survives_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let cases = CASES
            .iter()
            .filter_map(|case| case.plans(1, 0).next())
            .filter(|plan| plan.steps.len() < 3000);
        let written: Vec<Regression> =
            cases.chain([generate::plan(1, 0, 500)]).map(|plan| of(&plan)).collect();
        for regression in &written {
            let path = regression.keep(folder.path()).unwrap();
            assert_eq!(
                Regression::parse(&std::fs::read_to_string(path).unwrap()).as_ref(),
                Ok(regression)
            );
        }
        std::fs::write(folder.path().join("notes.txt"), "of no concern").unwrap();
        assert_eq!(all(folder.path()).unwrap().len(), written.len());
        assert_eq!(all(&folder.path().join("missing")).unwrap(), []);
    }

    #[test]
    fn a_step_is_a_line_and_the_words_are_there() {
        let plan = generate::plan(1, 0, 3);
        let text = of(&plan).text();
        assert_eq!(
            text.lines().filter(|line| line.starts_with("    {\"")).count(),
            plan.steps.len(),
            "{text}"
        );
        assert!(
            text.contains("timerfd_settime32(slot") && text.contains("ret must be 0, is 1"),
            "{text}"
        );
        assert!(of(&generate::plan(1, 0, 500)).words.is_empty());
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let good = of(&generate::plan(1, 0, 3)).text();
        let bad = [
            ("cut.json", good[..good.len() / 2].to_owned(), "no regression file"),
            ("other.json", good.replace("\"format\": 1", "\"format\": 9"), "format 9"),
            (
                "invalid.json",
                good.replacen(
                    "{\"Open\"",
                    "{\"Wait\":{\"slot\":31,\"timeout_ms\":1}},\n    {\"Open\"",
                    1,
                ),
                "empty slot",
            ),
        ];
        for (name, text, why) in bad {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = all(folder.path()).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains(why), "{error}");
            std::fs::remove_file(path).unwrap();
        }
    }
}
