//! The documents: the commands in them are ones that the two programs take, their links lead to
//! files, and they are as short as they promise. Nothing is run.

use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use settime32_harness::cli::Cli as Harness;
use settime32_tracer::cli::Cli as Tracer;

/// Lines of the README at most: it is for a stranger.
const README_LINES_MAX: usize = 150;
/// Columns of a line at most.
const COLUMNS_MAX: usize = 100;
/// Commands that are found at least: fewer would mean that this test no longer finds them.
const COMMANDS_MIN: usize = 60;

/// Words of a shell at which one command ends.
const ENDS_OF_COMMANDS: [&str; 6] = ["|", "||", "&&", ";", ">", "<"];

struct Document {
    path: PathBuf,
    text: String,
}

impl Document {
    fn read(path: PathBuf) -> Self {
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()));
        Self { path, text }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// README.md, ARCHITECTURE.md, CONTRIBUTING.md, and what is in docs/.
fn documents() -> Vec<Document> {
    let top = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].map(|name| root().join(name));
    top.into_iter().chain(documents_in(&root().join("docs"))).map(Document::read).collect()
}

fn documents_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(documents_in(&path));
        } else if path.extension().is_some_and(|extension| extension == "md") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What is between two fences, with the word behind the first.
struct Block<'a> {
    language: &'a str,
    lines: Vec<&'a str>,
}

fn blocks(document: &Document) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block<'_>> = None;
    for line in document.text.lines() {
        match (line.strip_prefix("```"), open.take()) {
            (Some(language), None) => open = Some(Block { language, lines: Vec::new() }),
            (Some(_), Some(block)) => blocks.push(block),
            (None, Some(mut block)) => {
                block.lines.push(line);
                open = Some(block);
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{}: a fence is not closed", document.path.display());
    blocks
}

/// The lines of a block that are commands: all of a script, those behind a prompt of a session.
fn command_lines<'a>(block: &Block<'a>) -> Vec<&'a str> {
    let behind_prompt = |line: &'a str| line.strip_prefix("$ ").or_else(|| line.strip_prefix("# "));
    match block.language {
        "sh" => block.lines.clone(),
        "console" => block.lines.iter().copied().filter_map(behind_prompt).collect(),
        _ => Vec::new(),
    }
}

/// The commands of a line, each as words.
fn commands(line: &str) -> Vec<Vec<String>> {
    let words = shlex::split(line).unwrap_or_else(|| panic!("a quote is not closed: {line}"));
    let is_end = |word: &String| ENDS_OF_COMMANDS.contains(&word.as_str());
    words.split(is_end).map(<[String]>::to_vec).collect()
}

/// A program of this project.
enum Program {
    Harness,
    Tracer,
}

fn file_name(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

/// Which of the programs a command starts, and the words that it gets, its own name among them.
fn arguments<'a>(words: &[&'a str]) -> Option<(Program, Vec<&'a str>)> {
    let (program, first, others) = match words {
        ["cargo", "harness", others @ ..] => (Program::Harness, vec!["harness"], others),
        ["cargo", "verify", others @ ..] | ["ci/verify", others @ ..] => {
            (Program::Harness, vec!["harness", "verify"], others)
        }
        [path, others @ ..] if file_name(path) == Some("settime32-harness") => {
            (Program::Harness, vec!["harness"], others)
        }
        [path, others @ ..] if file_name(path) == Some("settime32-tracer") => {
            (Program::Tracer, vec!["tracer"], others)
        }
        _ => return None,
    };
    Some((program, [first.as_slice(), others].concat()))
}

/// Why the program would refuse these words; `None` when it takes them.
fn refusal(program: &Program, words: &[&str]) -> Option<String> {
    let parsed = match program {
        Program::Harness => Harness::try_parse_from(words).and_then(Harness::checked).map(drop),
        Program::Tracer => Tracer::try_parse_from(words).and_then(Tracer::checked).map(drop),
    };
    parsed.err().filter(|error| error.use_stderr()).map(|error| error.to_string())
}

/// Writes the definitions of tracers that a document shows, each in a block of TOML that begins
/// with a comment that names its file, since `compare` reads the file as it reads its options.
fn write_definitions(blocks: &[Block<'_>], folder: &Path) {
    for block in blocks.iter().filter(|block| block.language == "toml") {
        if let Some(name) = block.lines.first().and_then(|line| line.strip_prefix("# ")) {
            fs::write(folder.join(name), block.lines.join("\n")).unwrap();
        }
    }
}

/// A word of a command, or the path of the definition that it names.
fn with_definition(word: String, folder: &Path) -> String {
    let path = folder.join(&word);
    if word.ends_with(".toml") && path.exists() {
        return path.to_str().expect("folders of tests have plain names").to_owned();
    }
    word
}

#[test]
fn each_command_is_one_that_the_programs_take() {
    let (mut found, mut refused) = (0, Vec::new());
    for document in documents() {
        let folder = tempfile::tempdir().unwrap();
        let blocks = blocks(&document);
        write_definitions(&blocks, folder.path());
        for line in blocks.iter().flat_map(command_lines) {
            for command in commands(line) {
                let words: Vec<String> =
                    command.into_iter().map(|word| with_definition(word, folder.path())).collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                let Some((program, words)) = arguments(&words) else { continue };
                found += 1;
                if let Some(reason) = refusal(&program, &words) {
                    refused.push(format!("{}: {line}\n{reason}", document.path.display()));
                }
            }
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
    assert!(found >= COMMANDS_MIN, "only {found} commands were found");
}

/// What the test above rests on.
#[test]
fn a_wrong_option_is_refused() {
    for (line, is_taken) in [
        ("cargo verify --calls 7   # a comment --frobnicate", true),
        ("cargo verify --frobnicate", false),
        ("echo 'uname -r' | cargo harness shell --kernel 6.1", true),
        ("echo 'uname -r' | cargo harness shell --colonel 6.1", false),
        ("cargo harness run --trace -- ./program --frobnicate > file", true),
        ("cargo harness run --output tracee --events expiry --trace -- ./program", false),
        ("target/release/settime32-tracer --events expiry -- ./program --frobnicate", true),
        ("settime32-tracer --output tracee --events expiry", false),
        ("settime32-tracer lateness --per descriptor", false),
    ] {
        let commands = commands(line);
        let ours = commands
            .iter()
            .find_map(|command| arguments(&command.iter().map(String::as_str).collect::<Vec<_>>()));
        let (program, words) = ours.expect("each line has a command");
        assert_eq!(refusal(&program, &words).is_none(), is_taken, "{line}");
    }
}

#[test]
fn the_readme_is_for_a_stranger() {
    let readme = Document::read(root().join("README.md"));
    let lines = readme.text.lines().count();
    assert!(lines <= README_LINES_MAX, "README.md has {lines} lines");
    for command in ["$ ci/verify", "$ ci/test"] {
        assert!(readme.text.contains(command), "README.md lacks `{command}`");
    }
}

/// But for rows of tables and for URLs, which cannot be broken.
#[test]
fn lines_are_short() {
    let mut long = Vec::new();
    for Document { path, text } in documents() {
        for (at, line) in text.lines().enumerate() {
            let may_be_long = line.starts_with('|') || line.contains("://");
            if !may_be_long && line.chars().count() > COLUMNS_MAX {
                long.push(format!("{}:{}", path.display(), at + 1));
            }
        }
    }
    assert!(long.is_empty(), "longer than {COLUMNS_MAX} columns: {}", long.join(", "));
}

/// The targets of links, outside of blocks.
fn links(text: &str) -> Vec<&str> {
    let (mut links, mut is_block) = (Vec::new(), false);
    for line in text.lines() {
        is_block ^= line.starts_with("```");
        if !is_block {
            let targets = line.split("](").skip(1).filter_map(|behind| behind.split_once(')'));
            links.extend(targets.map(|(target, _)| target));
        }
    }
    links
}

#[test]
fn each_relative_link_leads_to_a_file() {
    let (mut found, mut dead) = (0, Vec::new());
    for Document { path, text } in documents() {
        let folder = path.parent().expect("a file is in a folder");
        for link in links(&text).into_iter().filter(|link| !link.contains("://")) {
            found += 1;
            let file = link.split_once('#').map_or(link, |(file, _)| file);
            // A link to a heading of the document itself has no file; a folder is one, too.
            if !file.is_empty() && !folder.join(file).exists() {
                dead.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(dead.is_empty(), "links to nothing: {}", dead.join(", "));
    assert!(found > 0, "no link was found");
}

#[test]
fn each_decision_says_why_and_what_it_costs() {
    let index = Document::read(root().join("ARCHITECTURE.md"));
    for Document { path, text } in
        documents_in(&root().join("docs/decisions")).into_iter().map(Document::read)
    {
        assert!(text.starts_with("# "), "{} begins with no title", path.display());
        for part in ["**Decision.**", "**Why.**", "**Cost.**"] {
            assert!(text.contains(part), "{} lacks {part}", path.display());
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("it has a plain name");
        let link = format!("docs/decisions/{name})");
        assert!(index.text.contains(&link), "ARCHITECTURE.md has no link to {name}");
    }
}
