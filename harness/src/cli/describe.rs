//! What the program says about itself to shells and to man(1), made of the definitions that
//! `--help` is made of.

use std::io;
use std::path::PathBuf;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::Cli;

/// Arguments of `completions`.
#[derive(Args, Clone, Copy, Debug)]
pub struct CompletionsArgs {
    /// The shell.
    shell: Shell,
}

impl CompletionsArgs {
    /// What the shell is to execute.
    pub fn text(self) -> Vec<u8> {
        let mut command = Cli::command();
        let name = command.get_name().to_owned();
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut command, name, &mut text);
        text
    }
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub struct ManArgs {
    /// Write the program's page, and one for each job, to this folder, which is there.
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
}

/// What became of the pages.
#[derive(Debug)]
pub enum Manual {
    /// The page of the program, to be printed.
    Page(Vec<u8>),
    /// They are in the folder, or not.
    Written(PathBuf, io::Result<()>),
}

impl ManArgs {
    /// Makes the pages.
    pub fn pages(self) -> Manual {
        let command = Cli::command();
        match self.to {
            Some(folder) => {
                let written = clap_mangen::generate_to(command, &folder);
                Manual::Written(folder, written)
            }
            None => Manual::Page(page(command)),
        }
    }
}

fn page(command: Command) -> Vec<u8> {
    let mut text = Vec::new();
    // Writing to a vector cannot fail.
    _ = Man::new(command.disable_help_subcommand(true)).render(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::fs;

    use clap::ValueEnum;

    use super::*;

    /// Every job, with those inside of jobs, by the words that lead to it.
    fn jobs() -> Vec<(String, Command)> {
        fn all(command: &Command, path: &str) -> Vec<(String, Command)> {
            let below = command
                .get_subcommands()
                .flat_map(|job| all(job, &format!("{path}-{}", job.get_name())));
            [(path.to_owned(), command.clone())].into_iter().chain(below).collect()
        }
        let mut command = Cli::command().disable_help_subcommand(true);
        command.build();
        all(&command, "settime32-harness")
    }

    fn longs(command: &Command) -> impl Iterator<Item = &str> {
        command.get_arguments().filter_map(|argument| argument.get_long())
    }

    /// By clap's own list, so that none can be forgotten.
    #[test]
    fn completions_name_every_job_and_option() {
        let jobs = jobs();
        assert!(jobs.iter().any(|(path, job)| path == "settime32-harness-bench-warm"
            && longs(job).any(|long| long == "rounds")));
        for shell in Shell::value_variants() {
            let text = String::from_utf8(CompletionsArgs { shell: *shell }.text()).unwrap();
            let dashes = if *shell == Shell::Fish { "-l " } else { "--" };
            for (path, job) in &jobs {
                assert!(text.contains(job.get_name()), "{path} for {shell}");
                for long in longs(job) {
                    assert!(
                        text.contains(&format!("{dashes}{long}")),
                        "--{long} of {path} for {shell}"
                    );
                }
            }
        }
    }

    #[test]
    fn every_job_has_a_manual_page_with_its_options() {
        let folder = tempfile::tempdir().unwrap();
        let Manual::Written(_, written) = ManArgs { to: Some(folder.path().into()) }.pages() else {
            panic!("a page")
        };
        written.unwrap();
        for (path, job) in jobs() {
            let text = fs::read_to_string(folder.path().join(format!("{path}.1")))
                .unwrap_or_else(|error| panic!("{path}: {error}"));
            let text = text.replace("\\-", "-");
            for long in longs(&job) {
                assert!(text.contains(&format!("--{long}")), "--{long} in {path}.1");
            }
        }
        let Manual::Page(page) = ManArgs { to: None }.pages() else { panic!("no page") };
        assert!(
            page == fs::read(folder.path().join("settime32-harness.1")).unwrap(),
            "the one that is printed is another"
        );
    }
}
