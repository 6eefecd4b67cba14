//! The examples of `ci/examples` are YAML, and the commands in them are ones that the harness
//! takes. Nothing is run.

use std::fs;
use std::path::Path;

use clap::Parser;
use rstest::rstest;
use settime32_harness::cli::Cli;
use yaml_rust2::{Yaml, YamlLoader};

/// All strings in it.
fn strings(node: &Yaml) -> Vec<String> {
    match node {
        Yaml::String(text) => vec![text.clone()],
        Yaml::Array(items) => items.iter().flat_map(strings).collect(),
        Yaml::Hash(map) => map.iter().flat_map(|(_, value)| strings(value)).collect(),
        _ => Vec::new(),
    }
}

/// The text with 1 for each `${{ … }}`, `${…}`, `$((…))` and `$NAME`.
fn with_numbers(text: &str) -> String {
    let mut rest = text;
    let mut plain = String::new();
    while let Some(at) = rest.find('$') {
        plain += &rest[..at];
        rest = &rest[at + 1..];
        let end = ["{{", "((", "{"]
            .into_iter()
            .zip(["}}", "))", "}"])
            .find(|(open, _)| rest.starts_with(open));
        let len = match end {
            Some((_, close)) => rest.find(close).expect("a bracket is closed") + close.len(),
            None => rest
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(rest.len()),
        };
        plain.push('1');
        rest = &rest[len..];
    }
    plain + rest
}

#[rstest]
#[case("github-actions.yml", 2)]
#[case("gitlab-ci.yml", 2)]
#[case("kubernetes-job.yml", 1)]
fn each_command_is_one_that_the_harness_takes(#[case] name: &str, #[case] commands: usize) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ci/examples").join(name);
    let documents = YamlLoader::load_from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let found: Vec<String> =
        documents.iter().flat_map(strings).filter(|text| text.contains("cargo harness ")).collect();
    assert_eq!(found.len(), commands, "{found:?}");
    for text in &found {
        let words = with_numbers(text).replace("cargo harness", "settime32-harness");
        let parsed = Cli::try_parse_from(words.split_whitespace());
        assert!(parsed.is_ok(), "{text}: {}", parsed.unwrap_err());
    }
    let sharded = found.iter().filter(|text| text.contains("--shard")).count();
    assert_eq!(sharded, 1, "{found:?}");
}
