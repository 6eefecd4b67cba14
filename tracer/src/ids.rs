//! Which ids are reported: those of the tracer's own pid namespace, which in the initial one are
//! the kernel's helper's. What the programs must know to look up others.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::kernel_types::{Of, look_up};
use crate::preflight::Refusal;

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const INITIAL_INODE: u32 = 0xEFFF_FFFC;

/// Which ids a call is reported with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// Those of the tracer's namespace.
    OfTracer,
    /// Those of the namespace that the thread itself is in.
    Innermost,
}

/// What the programs are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ids {
    /// Variables of the object, and what they are to be; none when the helper's ids are reported.
    pub variables: Vec<(&'static str, u32)>,
    /// The tracer is in another pid namespace than the initial one.
    pub elsewhere: bool,
}

/// Members by variable.
const MEMBERS: [(&str, &str, &str); 4] = [
    ("THREAD_PID_AT", "task_struct", "thread_pid"),
    ("GROUP_LEADER_AT", "task_struct", "group_leader"),
    ("PID_LEVEL_AT", "pid", "level"),
    ("PID_NUMBERS_AT", "pid", "numbers"),
];
/// A member of a member.
const INUM: (&str, [(&str, &str); 2]) =
    ("NS_INUM_AT", [("pid_namespace", "ns"), ("ns_common", "inum")]);
/// What the programs take for granted of `struct upid`.
const UPID: [(Of, u32); 3] = [(Of::Member("nr"), 0), (Of::Member("ns"), 8), (Of::Size, 16)];

impl Ids {
    /// Looks up what it takes here. `root` is `/` but in tests.
    pub fn prepare(root: &Path, reported: Reported) -> Result<Self, Refusal> {
        let path = root.join("proc/self/ns/pid");
        // Kernels without namespaces have no such file, and one set of ids.
        let inode = fs::metadata(path).map_or(INITIAL_INODE, |file| file.ino() as u32);
        let elsewhere = inode != INITIAL_INODE;
        if !elsewhere && reported == Reported::OfTracer {
            return Ok(Self::default());
        }
        let btf = fs::read(root.join("sys/kernel/btf/vmlinux")).map_err(|_| Refusal::IdsNeedBtf)?;
        let mut variables = offsets(&btf)?;
        variables.push(("PID_NS_INODE", if elsewhere { inode } else { 0 }));
        variables.push(("IDS_INNERMOST", u32::from(reported == Reported::Innermost)));
        Ok(Self { variables, elsewhere })
    }
}

fn offsets(btf: &[u8]) -> Result<Vec<(&'static str, u32)>, Refusal> {
    let mut questions: Vec<(&str, Of)> =
        MEMBERS.iter().map(|(_, structure, member)| (*structure, Of::Member(member))).collect();
    questions.extend(INUM.1.map(|(structure, member)| (structure, Of::Member(member))));
    questions.extend(UPID.map(|(of, _)| ("upid", of)));
    let answers = look_up(btf, &questions);
    let unknown = |at: usize| {
        let (structure, of) = questions[at];
        Refusal::NoIds {
            member: match of {
                Of::Member(member) => format!("{structure}.{member}"),
                Of::Size => structure.to_owned(),
            },
        }
    };
    let answer = |at: usize| answers[at].ok_or_else(|| unknown(at));
    let mut variables = Vec::new();
    for (at, (variable, ..)) in MEMBERS.into_iter().enumerate() {
        variables.push((variable, answer(at)?));
    }
    variables.push((INUM.0, answer(MEMBERS.len())? + answer(MEMBERS.len() + 1)?));
    for (at, (_, expected)) in UPID.into_iter().enumerate() {
        let at = MEMBERS.len() + INUM.1.len() + at;
        if answer(at)? != expected {
            return Err(unknown(at));
        }
    }
    Ok(variables)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn elsewhere_the_kernels_types_are_needed() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(Ids::prepare(root.path(), Reported::OfTracer).unwrap(), Ids::default());
        assert!(matches!(Ids::prepare(root.path(), Reported::Innermost), Err(Refusal::IdsNeedBtf)));
        // Any file's inode is not that of the initial namespace.
        fs::create_dir_all(root.path().join("proc/self/ns")).unwrap();
        symlink("/etc/hostname", root.path().join("proc/self/ns/pid")).unwrap();
        assert!(matches!(Ids::prepare(root.path(), Reported::OfTracer), Err(Refusal::IdsNeedBtf)));
        // Those of the machine that runs the test.
        if let Ok(btf) = fs::read("/sys/kernel/btf/vmlinux") {
            let variables = offsets(&btf).unwrap();
            assert!(
                variables.iter().all(|(name, at)| *at > 0 || *name == "PID_NUMBERS_AT"),
                "{variables:?}"
            );
        }
    }
}
