//! Situations of the way into the kernel: the calls of a bulk run, and odd pointers, by that way.

use settime32_abi::plan::{Call, Clock, Entry, Page, Plan, Pointer, Step};

use super::script::Script;
use crate::generate;

const CALLS: usize = 2000;

pub(super) fn int80(script: &mut Script) {
    by(script, Entry::Int80);
}

pub(super) fn vdso(script: &mut Script) {
    by(script, Entry::Vdso);
}

/// A 64-bit process has no `__kernel_vsyscall`, but can use the i386 entry.
pub(super) fn from_64_bits(script: &mut Script) {
    script.in_64_bits();
    by(script, Entry::Int80);
}

fn by(script: &mut Script, entry: Entry) {
    let Plan { steps, .. } = generate::plan(script.word().into(), 0, CALLS);
    for step in steps {
        script.step(match step {
            Step::Call(call) => Step::Call(Call { entry, ..call }),
            other => other,
        });
    }
    for page in Page::UNATTENDED {
        for (utmr, otmr) in
            [(Pointer::On(page), Pointer::Valid), (Pointer::Valid, Pointer::On(page))]
        {
            let call = Call { utmr, otmr, entry, ..Call::plain(0, script.valid()) };
            script.call_and_look(call);
        }
    }
}

/// Calls of all kinds, each with other arguments that a ptracer replaces.
pub(super) fn rewritten(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    for round in 0..100 {
        let (new, flags) =
            if round % 4 == 0 { (script.any(), script.any_flags()) } else { (script.valid(), 0) };
        let (utmr, otmr) = match round % 5 {
            0 => (Pointer::Null, Pointer::Valid),
            1 => (Pointer::On(Page::FileBacked), Pointer::Null),
            _ => (Pointer::Valid, Pointer::Valid),
        };
        script.call_and_look(Call {
            flags,
            utmr,
            otmr,
            entry: Entry::Rewritten,
            ..Call::plain(0, new)
        });
    }
}

pub(super) fn rewritten_from_64_bits(script: &mut Script) {
    script.in_64_bits();
    rewritten(script);
}
