//! Imports go one way: no circle among the modules of a crate.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use rstest::rstest;

/// The files of a folder and of those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect()
}

/// Names that the code of a file has behind `crate::`, tests and comments apart.
fn imports(text: &str) -> BTreeSet<String> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut names = BTreeSet::new();
    for behind in code.split("crate::").skip(1) {
        let list = behind.strip_prefix('{').map_or("", |list| list.split('}').next().unwrap_or(""));
        let words = if list.is_empty() { behind } else { list };
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let count = if list.is_empty() { 1 } else { usize::MAX };
        let words = words.split(|letter| !is_name(letter)).filter(|word| !word.is_empty());
        names.extend(words.take(count).map(str::to_owned));
    }
    names
}

/// The modules of a crate, each with those that it imports.
fn modules(sources: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files(sources) {
        let below = file.strip_prefix(sources).unwrap();
        let first = below.iter().next().unwrap().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_owned();
        let is_test = below.file_name().is_some_and(|name| name == "tests.rs");
        if !["lib", "main"].contains(&module.as_str()) && !is_test {
            graph.entry(module).or_default().extend(imports(&fs::read_to_string(&file).unwrap()));
        }
    }
    let names: BTreeSet<String> = graph.keys().cloned().collect();
    for (module, imported) in &mut graph {
        imported.retain(|name| name != module && names.contains(name));
    }
    graph
}

/// Modules of circles, and those that import them, directly or not.
fn tangled(mut graph: BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    loop {
        let left = graph.len();
        let names: BTreeSet<String> = graph.keys().cloned().collect();
        graph.retain(|_, imported| imported.iter().any(|name| names.contains(name)));
        if graph.len() == left {
            return graph.into_keys().collect();
        }
    }
}

#[rstest]
#[case("abi")]
#[case("ci/toolchain")]
#[case("harness")]
#[case("harness/agent")]
#[case("harness/check")]
#[case("harness/rootfs")]
#[case("harness/vm")]
fn modules_import_one_another_in_no_circle(#[case] package: &str) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(package).join("src");
    let graph = modules(&sources);
    assert!(graph.values().any(|imported| !imported.is_empty()) || graph.len() < 4);
    assert_eq!(tangled(graph), [""; 0], "{package}");
}

#[test]
fn a_circle_is_found() {
    let of = |name: &str, imports: &[&str]| {
        (name.to_owned(), imports.iter().map(ToString::to_string).collect::<BTreeSet<_>>())
    };
    let line = BTreeMap::from([of("a", &["b"]), of("b", &["c"]), of("c", &[])]);
    assert!(tangled(line).is_empty());
    let round = BTreeMap::from([of("a", &["b"]), of("b", &["c"]), of("c", &["b"])]);
    assert_eq!(tangled(round), ["a", "b", "c"]);
    assert_eq!(imports("use crate::{one, two::Three};\nuse crate::four::Five;").len(), 4);
}
