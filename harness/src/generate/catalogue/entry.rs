//! Situations of the way into the kernel: the calls of a bulk run, and odd pointers, by that way.

use settime32_abi::plan::{Call, Entry, Page, Plan, Pointer, Step};

use super::script::{Script, plain};
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
    for page in Page::ALL {
        for (utmr, otmr) in [(Pointer::On(page), Pointer::Valid), (Pointer::Valid, Pointer::On(page))] {
            let call = Call { utmr, otmr, entry, ..plain(0, script.valid()) };
            script.call_and_look(call);
        }
    }
}
