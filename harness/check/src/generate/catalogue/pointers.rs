//! Situations of the two pointers and of the memory behind them.

use settime32_abi::plan::{Call, Clock, Page, Pointer};
use settime32_abi::pointer::FARTHEST;

use super::script::Script;

/// Addresses behind which an i386 process has nothing: near null, at the end of what it may have,
/// near 4 GiB (where a 64-bit kernel goes on counting), and where a 32-bit kernel has its own
/// memory.
const NOWHERE: [u32; 8] =
    [1, 4, 0xffff_e000, 0xffff_e004, 0xffff_f000, 0xffff_fff8, 0xffff_fffc, 0xffff_ffff];

/// A call with these pointers on slot 0, then one that shows what it did.
fn with(script: &mut Script, utmr: Pointer, otmr: Pointer) {
    let call = Call { utmr, otmr, ..Call::plain(0, script.valid()) };
    script.call_and_look(call);
}

/// Each pointer as either argument, and as both.
fn both_ways(script: &mut Script, pointers: impl IntoIterator<Item = Pointer>) {
    for pointer in pointers {
        with(script, pointer, Pointer::Valid);
        with(script, Pointer::Valid, pointer);
        with(script, pointer, Pointer::Null);
        if pointer != Pointer::LastUserBytes {
            with(script, pointer, pointer);
        }
    }
}

fn begin(script: &mut Script) {
    script.timer(0, Clock::Monotonic);
    script.arm(0);
}

fn edge(before: u8, first: Page, next: Page) -> Pointer {
    Pointer::Edge { before, first, next }
}

pub(super) fn null(script: &mut Script) {
    begin(script);
    for _ in 0..50 {
        both_ways(script, [Pointer::Null]);
    }
}

pub(super) fn nowhere(script: &mut Script) {
    begin(script);
    for _ in 0..3 {
        both_ways(script, NOWHERE.map(Pointer::Literal));
        both_ways(script, [Pointer::On(Page::Unmapped)]);
    }
    for (utmr, otmr) in [(Pointer::Null, Pointer::Literal(1)), (Pointer::Literal(1), Pointer::Null)]
    {
        with(script, utmr, otmr);
    }
}

pub(super) fn unaligned(script: &mut Script) {
    begin(script);
    both_ways(script, (1..=FARTHEST).map(Pointer::Unaligned));
}

pub(super) fn overlap(script: &mut Script) {
    begin(script);
    let by = -(FARTHEST as i8)..=FARTHEST as i8;
    for otmr in by.map(Pointer::OverUtmr) {
        let across = edge(6, Page::Resident, Page::Resident);
        let untouched = edge(4, Page::FileBacked, Page::Untouched);
        for utmr in [
            Pointer::Valid,
            Pointer::Unaligned(2),
            across,
            Pointer::On(Page::FileBacked),
            Pointer::On(Page::ReadOnly),
            untouched,
        ] {
            with(script, utmr, otmr);
        }
        with(script, edge(8, Page::Resident, Page::ReadOnly), otmr);
        with(script, edge(8, Page::ReadOnly, Page::Resident), otmr);
    }
}

pub(super) fn page_edge(script: &mut Script) {
    begin(script);
    both_ways(script, (1..=FARTHEST).map(|before| edge(before, Page::Resident, Page::Resident)));
}

pub(super) fn utmr_partly(script: &mut Script) {
    begin(script);
    for beyond in [Page::Unmapped, Page::NoAccess] {
        with(script, Pointer::On(beyond), Pointer::Valid);
        for before in 1..=FARTHEST {
            with(script, edge(before, Page::Resident, beyond), Pointer::Valid);
            with(script, edge(before, beyond, Page::Resident), Pointer::Valid);
            with(script, edge(before, Page::FileBacked, beyond), Pointer::Null);
        }
    }
}

pub(super) fn otmr_partly(script: &mut Script) {
    begin(script);
    for beyond in [Page::Unmapped, Page::NoAccess, Page::ReadOnly] {
        with(script, Pointer::Valid, Pointer::On(beyond));
        for before in 1..=FARTHEST {
            for first in [Page::Resident, Page::Untouched] {
                with(script, Pointer::Valid, edge(before, first, beyond));
            }
            with(script, Pointer::Valid, edge(before, beyond, Page::Resident));
        }
    }
}

pub(super) fn protected(script: &mut Script) {
    begin(script);
    for _ in 0..10 {
        both_ways(script, [Page::NoAccess, Page::ReadOnly, Page::WriteOnly].map(Pointer::On));
    }
}

pub(super) fn last_bytes(script: &mut Script) {
    begin(script);
    for _ in 0..10 {
        both_ways(script, [Pointer::LastUserBytes]);
        for by in [-15, -8, -1, 0, 1, 4, 8, 15] {
            with(script, Pointer::LastUserBytes, Pointer::OverUtmr(by));
        }
    }
}

const NOT_RESIDENT: [Page; 3] = [Page::Untouched, Page::FileBacked, Page::GivenUp];

pub(super) fn not_resident(script: &mut Script) {
    begin(script);
    for _ in 0..20 {
        both_ways(script, NOT_RESIDENT.map(Pointer::On));
    }
    for page in NOT_RESIDENT {
        for before in [1, 4, 7, 8, 9, 12, 15] {
            both_ways(
                script,
                [
                    edge(before, page, Page::Resident),
                    edge(before, Page::Resident, page),
                    edge(before, page, page),
                ],
            );
        }
    }
}

pub(super) fn any_pages(script: &mut Script) {
    begin(script);
    for first in Page::UNATTENDED {
        for next in Page::UNATTENDED {
            for _ in 0..3 {
                let mut any = || edge(1 + script.below(u32::from(FARTHEST)) as u8, first, next);
                let pointer = any();
                both_ways(script, [pointer]);
            }
        }
    }
}

pub(super) fn stack_of_64_bits(script: &mut Script) {
    script.in_64_bits();
    begin(script);
    for _ in 0..20 {
        both_ways(script, [Pointer::StackLowHalf]);
    }
}

pub(super) fn across_4_gib(script: &mut Script) {
    script.in_64_bits();
    begin(script);
    for _ in 0..10 {
        with(script, Pointer::Across4Gib, Pointer::Valid);
        with(script, Pointer::Valid, Pointer::Across4Gib);
        with(script, Pointer::Across4Gib, Pointer::Null);
        for by in [-15, -8, -4, 0, 1, 4, 7] {
            with(script, Pointer::Across4Gib, Pointer::OverUtmr(by));
        }
    }
}
