//! That plans survive their encoding, that what is damaged is noticed, and that what cannot be done
//! is refused.

use alloc::vec;

use super::*;
use crate::timespec::{Itimerspec64, OldTimespec32};

fn example() -> Plan {
    let call = Call { flags: 1, otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) };
    let steps = vec![
        Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) },
        Step::Fork { steps: 1, ending: Ending::Exit },
        Step::Call(call),
    ];
    Plan { process: Process::Amd64, steps }
}

#[test]
fn encoding_round_trips() {
    assert_eq!(Plan::decode(&example().encode()), Ok(example()));
}

#[test]
fn every_altered_bit_is_noticed() {
    let good = example().encode();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Plan::decode(&bad).is_err(), "bit {bit} altered and not noticed");
    }
}

#[test]
fn every_truncation_is_noticed() {
    let good = example().encode();
    for len in 0..good.len() {
        assert!(Plan::decode(&good[..len]).is_err(), "{len} bytes taken as a plan");
    }
}

#[test]
fn steps_that_cannot_be_done_are_refused() {
    let refused = |steps: Vec<Step>| Plan { steps, ..Plan::default() }.validate().is_err();
    let call = Call { otmr: Pointer::Null, ..Call::plain(0, OldItimerspec32::default()) };
    assert!(refused(vec![Step::Call(call)]));
    assert!(refused(vec![Step::Open { slot: 200, kind: FdKind::Closed }]));
    assert!(refused(vec![Step::Open { slot: 1, kind: FdKind::Dup(0) }]));
    assert!(refused(vec![Step::Fork { steps: 1, ending: Ending::Exit }]));
    assert!(refused(vec![
        Step::Fork { steps: 2, ending: Ending::Exit },
        Step::Fork { steps: 1, ending: Ending::Exit },
        Step::SetClock
    ]));
    let with = |utmr, otmr| {
        vec![Step::Open { slot: 0, kind: FdKind::Closed }, Step::Call(Call { utmr, otmr, ..call })]
    };
    let edge = |before| Pointer::Edge { before, first: Page::Resident, next: Page::Unmapped };
    for (utmr, otmr) in [
        (Pointer::OverUtmr(0), Pointer::Null),
        (Pointer::Null, Pointer::OverUtmr(0)),
        (Pointer::Literal(1), Pointer::OverUtmr(0)),
        (Pointer::Valid, Pointer::OverUtmr(16)),
        (Pointer::Unaligned(0), Pointer::Null),
        (Pointer::Valid, Pointer::Unaligned(16)),
        (edge(0), Pointer::Null),
        (Pointer::Valid, edge(16)),
        (Pointer::LastUserBytes, Pointer::LastUserBytes),
    ] {
        assert!(refused(with(utmr, otmr)), "{utmr:?} {otmr:?}");
    }
    assert!(!refused(with(edge(15), Pointer::OverUtmr(-15))));
    // What only one kind of process can do.
    assert!(
        refused(with(Pointer::Across4Gib, Pointer::Null))
            && refused(with(Pointer::Null, Pointer::StackLowHalf))
    );
    assert!(
        refused(vec![Step::Silent(Silent::Mlock2)])
            && !refused(vec![Step::Silent(Silent::TimerSettime32)])
    );
    let amd64 = |steps| Plan { process: Process::Amd64, steps }.validate();
    assert!(amd64(with(Pointer::Across4Gib, Pointer::StackLowHalf)).is_ok());
    assert!(amd64(with(Pointer::LastUserBytes, Pointer::Null)).is_err());
    assert!(amd64(vec![Step::Silent(Silent::TimerSettime32)]).is_err());
    // Threads and forks are whole, threads are several and do nothing but plain calls.
    let child = |ending, call| {
        vec![
            Step::Open { slot: 0, kind: FdKind::Closed },
            Step::Fork { steps: 1, ending },
            Step::Call(call),
        ]
    };
    let crowd = |threads, calls, call: Call| {
        let head = [Step::Open { slot: 0, kind: FdKind::Closed }, Step::Threads { threads, calls }];
        head.into_iter()
            .chain(core::iter::repeat_n(Step::Call(call), usize::from(threads * calls)))
            .collect::<Vec<_>>()
    };
    assert!(
        !refused(crowd(2, 3, call)) && refused(crowd(1, 3, call)) && refused(crowd(2, 0, call))
    );
    assert!(refused(crowd(2, 3, call)[..7].to_vec()));
    assert!(refused(crowd(2, 1, Call { utmr: Pointer::Unaligned(1), ..call })));
    assert!(refused(crowd(2, 1, Call { entry: Entry::Rewritten, ..call })));
    let held = Call { utmr: Pointer::On(Page::Held), ..call };
    assert!(!refused(crowd(2, 1, held)) && refused(child(Ending::Exit, held)));
    let withheld = Call { utmr: Pointer::On(Page::Withheld), ..call };
    assert!(
        !refused(child(Ending::Kill, withheld))
            && refused(child(Ending::Exit, withheld))
            && refused(crowd(2, 1, withheld))
    );
    // What another thread writes is whole halves of memory that decides no result.
    let later = OldItimerspec32 {
        it_value: OldTimespec32 { tv_sec: 5, tv_nsec: 0 },
        ..OldItimerspec32::default()
    };
    let raced = |new, utmr| Call { utmr, new, meanwhile: Some(later), ..call };
    let one = |call| vec![Step::Open { slot: 0, kind: FdKind::Closed }, Step::Call(call)];
    assert!(
        !refused(one(raced(later, Pointer::Valid)))
            && refused(one(raced(call.new, Pointer::Valid)))
    );
    assert!(
        refused(one(raced(later, Pointer::Unaligned(4))))
            && refused(crowd(2, 1, raced(later, Pointer::Valid)))
    );
    let held = |before| Pointer::Edge { before, first: Page::Held, next: Page::Resident };
    assert!(!refused(one(raced(call.new, held(8)))) && refused(one(raced(call.new, held(4)))));
    // What a child opens is not open in its parent.
    assert!(refused(vec![
        Step::Fork { steps: 1, ending: Ending::Exit },
        Step::Open { slot: 0, kind: FdKind::Closed },
        Step::Call(call)
    ]));
}

#[test]
fn steps_of_lifecycles_that_cannot_be_done_are_refused() {
    let refused = |process, steps: Vec<Step>| Plan { process, steps }.validate().is_err();
    let timer = Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) };
    let with = |step: Step| vec![timer.clone(), step];
    let get = |api| Step::Lifecycle(Act::Gettime { slot: 0, api });
    assert!(
        refused(Process::I386, with(get(Api::Native)))
            && !refused(Process::Amd64, with(get(Api::Native)))
    );
    assert!(
        !refused(Process::I386, with(get(Api::Time32)))
            && refused(Process::I386, vec![get(Api::Time32)])
    );
    let close = Step::Lifecycle(Act::Close { slot: 0 });
    assert!(refused(Process::I386, vec![timer.clone(), close.clone(), get(Api::Time64)]));
    // What a child closes is open in its parent.
    assert!(!refused(
        Process::I386,
        vec![timer.clone(), Step::Fork { steps: 1, ending: Ending::Exit }, close, get(Api::Time64)]
    ));
    let set = Act::Settime64 {
        slot: 0,
        flags: 0,
        new: Itimerspec64::default(),
        old: true,
        api: Api::Time32,
    };
    assert!(refused(Process::I386, with(Step::Lifecycle(set))));
    for slots in [0, 2, 3] {
        assert!(
            refused(
                Process::I386,
                with(Step::Lifecycle(Act::Wait { slots, by: Means::Poll, timeout_ms: 0 }))
            ),
            "{slots}"
        );
    }
    let posix = |act| Step::Lifecycle(Act::Posix { timer: 1, act });
    let create = posix(PosixAct::Create { clock: Clock::Monotonic });
    assert!(
        refused(Process::I386, vec![posix(PosixAct::Get)])
            && !refused(Process::I386, vec![create.clone(), posix(PosixAct::Get)])
    );
    let child = Step::Fork { steps: 1, ending: Ending::Exit };
    assert!(refused(Process::I386, vec![create, child, posix(PosixAct::Get)]));
    assert!(refused(Process::I386, vec![get(Api::Time32), Step::Silent(Silent::TimerSettime32)]));
    let odd = Call { utmr: Pointer::Unaligned(3), ..Call::plain(0, OldItimerspec32::default()) };
    assert!(refused(Process::I386, vec![timer.clone(), get(Api::Time32), Step::Call(odd)]));
    assert!(!refused(Process::I386, vec![timer, Step::Call(odd)]), "only in a plan of lifecycles");
}
