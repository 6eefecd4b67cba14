//! Where in the kernel the tracer's programs go: for the tracer, which attaches them, and for the
//! harness, which measures what the same places cost with programs that do nothing.

use core::fmt;
use core::str::FromStr;

/// The wrapper that the i386 entry calls (`fs/timerfd.c`).
pub const WRAPPER: &str = "__ia32_sys_timerfd_settime32";
/// `(ufd, flags, new, old)`; static, but a function of its own on every kernel that was looked at
/// (`fs/timerfd.c`).
pub const DO_SETTIME: &str = "do_timerfd_settime";
/// `(its, uits)` (`kernel/time/time.c`).
pub const PUT_OLD: &str = "put_old_itimerspec32";

/// How a function is hooked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A kprobe at offset 0.
    Kprobe,
    /// A return probe.
    Kretprobe,
    /// A BPF trampoline, before the function.
    Fentry,
    /// A BPF trampoline, after it.
    Fexit,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kprobe, Self::Kretprobe, Self::Fentry, Self::Fexit];

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Kprobe => "kprobe",
            Self::Kretprobe => "kretprobe",
            Self::Fentry => "fentry",
            Self::Fexit => "fexit",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is no [`Kind`]'s name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KindError;

impl fmt::Display for KindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hook is a kprobe, a kretprobe, an fentry or an fexit")
    }
}

impl core::error::Error for KindError {}

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(name: &str) -> Result<Self, KindError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name).ok_or(KindError)
    }
}

/// A program of the tracer's eBPF object and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Name of the program.
    pub program: &'static str,
    /// How it is attached.
    pub kind: Kind,
    /// The function.
    pub function: &'static str,
}

const fn hook(program: &'static str, kind: Kind, function: &'static str) -> Hook {
    Hook { program, kind, function }
}

/// What the tracer attaches by kprobes, in this order: what sees the middle of a call before what
/// sees its end, and its begin last, so that a call that is seen at all is seen whole.
pub const BY_KPROBE: &[Hook] = &[
    hook("settime32_used", Kind::Kprobe, DO_SETTIME),
    hook("settime32_old", Kind::Kprobe, PUT_OLD),
    hook("settime32_return", Kind::Kretprobe, WRAPPER),
    hook("settime32_entry", Kind::Kprobe, WRAPPER),
];

/// The same by fentry and fexit.
pub const BY_FENTRY: &[Hook] = &[
    hook("settime32_copies", Kind::Fexit, DO_SETTIME),
    hook("settime32_fexit", Kind::Fexit, WRAPPER),
    hook("settime32_fentry", Kind::Fentry, WRAPPER),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_have_names() {
        assert!(Kind::ALL.into_iter().all(|kind| kind.as_str().parse() == Ok(kind)));
        assert_eq!("uprobe".parse::<Kind>(), Err(KindError));
    }
}
