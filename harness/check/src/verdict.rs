//! What a run comes to, its exit code, and the rule by which findings and counts make a verdict.
//! How a guest or a boot failed is decided by those who watch it.

use serde::{Deserialize, Serialize};

use crate::oracle::Findings;

/// The outcome of a run; each has its own exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything that was asked for was checked, and all of it was right.
    Pass,
    /// The tracer, or the kernel, or the workload did not do what it must.
    Violation,
    /// The command line asked for something that cannot be done.
    Usage,
    /// Events were lost and counted, or less was checked than asked for, and what was checked was
    /// right.
    Inconclusive,
    /// The guest's kernel panicked or locked up, or the workload or the tracer was killed.
    GuestFailure,
    /// The guest did not come up, or stopped answering.
    BootFailure,
    /// Something that the harness itself needs is missing: QEMU, a kernel image, a toolchain.
    Infrastructure,
}

impl Verdict {
    /// All of them, in the order of their exit codes.
    pub const ALL: [Self; 7] = [
        Self::Pass,
        Self::Violation,
        Self::Usage,
        Self::Inconclusive,
        Self::GuestFailure,
        Self::BootFailure,
        Self::Infrastructure,
    ];

    /// The exit code of a program that ends with this verdict.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Violation => 1,
            Self::Usage => 2,
            Self::Inconclusive => 3,
            Self::GuestFailure => 4,
            Self::BootFailure => 5,
            Self::Infrastructure => 6,
        }
    }

    /// Which of two verdicts speaks for both: something that was seen to be wrong outweighs what
    /// could not be seen.
    pub const fn severity(self) -> u8 {
        match self {
            Self::Pass => 0,
            Self::Inconclusive => 1,
            Self::Infrastructure => 2,
            Self::BootFailure => 3,
            Self::GuestFailure => 4,
            Self::Usage => 5,
            Self::Violation => 6,
        }
    }

    /// The name that people read.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Violation => "violation",
            Self::Usage => "usage",
            Self::Inconclusive => "inconclusive",
            Self::GuestFailure => "guest failure",
            Self::BootFailure => "boot failure",
            Self::Infrastructure => "infrastructure",
        }
    }

    /// The verdict on a guest that ran to its end, of which `asked` calls were wanted. A mismatch
    /// outweighs a loss, since what was seen was wrong already; a run that checked nothing, or less
    /// than asked, is never a pass, and neither is one whose tracer was to come in the midst of
    /// lives and did not. `provoked` are the calls and results that were lost, and counted, where
    /// the situation under test is one that loses them.
    pub fn of(findings: &Findings, asked: u64, provoked: Provoked) -> Self {
        let excused = provoked.calls + provoked.results;
        if findings.mismatches() > 0 {
            Self::Violation
        } else if findings.lost > excused
            || findings.missing > provoked.calls
            || findings.checked == 0
            || findings.across == Some(0)
            || findings.checked + findings.outside + excused < asked
        {
            Self::Inconclusive
        } else {
            Self::Pass
        }
    }
}

/// Losses that a situation is there to provoke.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provoked {
    /// Calls without an event.
    pub calls: u64,
    /// Events without a result.
    pub results: u64,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::Kind;

    #[test]
    fn exit_codes_are_the_documented_ones() {
        assert_eq!(Verdict::ALL.map(Verdict::exit_code), [0, 1, 2, 3, 4, 5, 6]);
        let names = [
            "pass",
            "violation",
            "usage",
            "inconclusive",
            "guest failure",
            "boot failure",
            "infrastructure",
        ];
        assert_eq!(Verdict::ALL.map(|verdict| verdict.to_string()), names);
    }

    #[test]
    fn a_verdict_survives_json() {
        for verdict in Verdict::ALL {
            let text = serde_json::to_string(&verdict).unwrap();
            assert_eq!(text, format!("\"{}\"", verdict.as_str().replace(' ', "-")));
            assert_eq!(serde_json::from_str::<Verdict>(&text).unwrap(), verdict);
        }
    }

    #[test]
    fn only_a_whole_and_clean_run_passes() {
        let clean = Findings { checked: 10, ..Findings::default() };
        assert_eq!(Verdict::of(&clean, 10, Provoked::default()), Verdict::Pass);
        assert_eq!(Verdict::of(&clean, 11, Provoked::default()), Verdict::Inconclusive);
        assert_eq!(
            Verdict::of(&Findings::default(), 0, Provoked::default()),
            Verdict::Inconclusive
        );
        assert_eq!(
            Verdict::of(&Findings { lost: 1, ..clean.clone() }, 10, Provoked::default()),
            Verdict::Inconclusive
        );
        assert_eq!(
            Verdict::of(&Findings { missing: 1, ..clean.clone() }, 10, Provoked::default()),
            Verdict::Inconclusive
        );
        let lossy = Findings { lost: 3, missing: 1, checked: 7, ..clean.clone() };
        let of = |calls, results| Verdict::of(&lossy, 10, Provoked { calls, results });
        assert_eq!(
            [of(1, 2), of(1, 1), of(0, 3)],
            [Verdict::Pass, Verdict::Inconclusive, Verdict::Inconclusive]
        );
        let mut wrong = Findings { lost: 1, ..clean };
        wrong.counts.insert(Kind::Doubled, 1);
        assert_eq!(Verdict::of(&wrong, 10, Provoked::default()), Verdict::Violation);
    }
}
