//! Reads the failure of a guest kernel off its console: pure text in, symptom out.
//!
//! It knows only what kernels print by themselves; a guest that stops without a word is told by the
//! deadline.

/// A failure as the console shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symptom {
    /// Its name.
    pub name: &'static str,
    /// The line that shows it.
    pub line: String,
}

impl Symptom {
    /// As the end of a message.
    pub fn told(&self) -> String {
        format!(": {}: {}", self.name, self.line)
    }
}

/// What kernels print, and what it is called here. Of all lines that match, the first in the log
/// counts, since the rest follows from it.
const SYMPTOMS: [(&str, &str); 13] = [
    ("Kernel panic - not syncing", "kernel panic"),
    ("watchdog: BUG: soft lockup", "soft lockup"),
    ("watchdog: Watchdog detected hard LOCKUP", "hard lockup"),
    ("BUG: KASAN", "memory error"),
    ("BUG: unable to handle", "oops"),
    ("BUG: kernel NULL pointer dereference", "oops"),
    ("kernel BUG at", "kernel bug"),
    ("Oops:", "oops"),
    ("general protection fault", "general protection fault"),
    ("rcu: INFO: rcu", "rcu stall"),
    ("blocked for more than", "hung task"),
    ("Out of memory: Killed process", "out of memory"),
    ("settime32-agent: ", "agent failure"),
];

/// The first failure that the console shows.
pub fn triage(console: &str) -> Option<Symptom> {
    console.lines().find_map(|line| {
        let (_, name) = SYMPTOMS.iter().find(|(text, _)| line.contains(text))?;
        Some(Symptom { name, line: without_colours(line) })
    })
}

/// A terminal's control sequences, which firmware and kernels write, do not belong into a message.
fn without_colours(line: &str) -> String {
    let printable: String = line.chars().filter(|character| !character.is_control()).collect();
    printable.trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Consoles of real failures, kept in files named for the symptom.
    #[test]
    fn recorded_failures_are_recognised() {
        let recorded = [
            (
                include_str!("../../testdata/console/kernel-panic.log"),
                "kernel panic",
                "Unable to mount root fs",
            ),
            (
                include_str!("../../testdata/console/sysrq-crash.log"),
                "kernel panic",
                "sysrq triggered crash",
            ),
        ];
        for (log, name, part) in recorded {
            let symptom = triage(log).expect(name);
            assert_eq!(symptom.name, name);
            assert!(symptom.line.contains(part), "{}", symptom.line);
        }
    }

    #[test]
    fn the_first_failure_counts() {
        let log =
            "fine\n[1.0] Oops: 0002 [#1]\n[1.1] Kernel panic - not syncing: Fatal exception\n";
        assert_eq!(triage(log).unwrap().name, "oops");
    }

    #[test]
    fn a_quiet_console_shows_nothing() {
        assert_eq!(
            triage("\u{1b}c\u{1b}[?7l\u{1b}[2JSeaBIOS (version 1.16.2)\r\nBooting from ROM..\r\n"),
            None
        );
    }
}
