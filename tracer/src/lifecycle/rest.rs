//! What threads were still doing when tracing ended.

use std::collections::HashSet;

use settime32_abi::moment::{Call, Function, Inside, RawCall, call_flag};

use crate::inside::Threads;

/// What is left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Calls that were not seen to return; the others have [`call_flag::RESULT_LOST`].
    pub calls: Vec<RawCall>,
    /// Of the kernel's functions, those that returned unseen.
    pub returns_lost: u64,
}

/// Numbers of the calls that come to a function, in both tables
/// (`arch/x86/entry/syscalls/syscall_{32,64}.tbl`).
const fn callers(function: u32) -> &'static [u32] {
    const SETTIME: u32 = Function::Settime as u32;
    const GETTIME: u32 = Function::Gettime as u32;
    const READ: u32 = Function::Read as u32;
    const POLL: u32 = Function::Poll as u32;
    match function {
        SETTIME => &[286, 325, 411],
        GETTIME => &[287, 326, 410],
        // `read`, `readv`, `preadv`, `preadv2`, `splice`, and of rings `io_uring_enter`, and
        // `io_uring_setup` in their own threads.
        READ => &[0, 3, 19, 145, 275, 295, 313, 327, 333, 378, 425, 426],
        // The families of `poll`, `select` and `epoll_wait`, `epoll_ctl` and `io_uring_enter`.
        POLL => &[
            7, 23, 82, 142, 168, 232, 233, 255, 256, 270, 271, 281, 308, 309, 319, 413, 414, 426,
            441,
        ],
        _ => &[],
    }
}

/// What has ended already though it was not seen to: when it began, and the thread's ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unseen(HashSet<(u64, u64)>);

impl Unseen {
    /// Looks what the threads are doing now. What is unknown may be going on. What ends right now
    /// is here, too: it is seen to end, and so not left.
    pub fn look(threads: Threads<'_>, calls: &[RawCall], inside: &[Inside]) -> Self {
        let is_over = |ids: u64, numbers: &[u32]| {
            !threads.may_be_inside_any((ids >> 32) as u32, ids as u32, numbers)
        };
        let nr =
            |call: &RawCall| Call::ALL.get(call.call as usize).map_or(u32::MAX, |call| call.nr());
        let calls =
            calls.iter().filter(|call| is_over(call.who.own_ids, &[nr(call)])).map(key_of_call);
        // Of the clock's being set nothing is told but what happens meanwhile.
        let told = inside.iter().filter(|inside| inside.function != Function::ClockWasSet as u32);
        let inside = told
            .filter(|inside| is_over(inside.own_ids, callers(inside.function)))
            .map(key_of_inside);
        Self(calls.chain(inside).collect())
    }
}

const fn key_of_call(call: &RawCall) -> (u64, u64) {
    (call.entry_ns, call.who.own_ids)
}

const fn key_of_inside(inside: &Inside) -> (u64, u64) {
    (inside.entry_ns, inside.own_ids)
}

/// Tells what is left when the programs are off. What returned while they came off was not lost,
/// and is told as going on.
pub fn rest(unseen: &Unseen, mut calls: Vec<RawCall>, inside: &[Inside]) -> Rest {
    calls.sort_by_key(|call| call.entry_ns);
    for call in calls.iter_mut().filter(|call| unseen.0.contains(&key_of_call(call))) {
        call.flags |= call_flag::RESULT_LOST;
    }
    let lost = inside.iter().filter(|inside| unseen.0.contains(&key_of_inside(inside)));
    Rest { calls, returns_lost: lost.count() as u64 }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use bytemuck::Zeroable;
    use settime32_abi::moment::Who;

    use super::*;

    #[test]
    fn what_a_thread_does_now_tells_whether_its_return_was_missed() {
        let root = tempfile::tempdir().unwrap();
        for (tid, state) in [(7, "286 0x3"), (8, "230 0x1"), (9, "0 0x3"), (10, "230 0x1")] {
            let folder = root.path().join(format!("proc/{tid}/task/{tid}"));
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("syscall"), format!("{state} 0x0\n")).unwrap();
        }
        let call = |tid: u64, entry_ns| {
            let who = Who { own_ids: tid << 32 | tid, ..Who::zeroed() };
            RawCall { who, entry_ns, call: Call::SettimeX64 as u32, ..RawCall::zeroed() }
        };
        let inside = |tid: u64, function| Inside {
            own_ids: tid << 32 | tid,
            function: function as u32,
            ..Inside::zeroed()
        };
        let threads = [
            (9, Function::Read),
            (10, Function::Read),
            (11, Function::Read),
            (12, Function::Read),
            (10, Function::Poll),
            (8, Function::ClockWasSet),
            (0, Function::Read),
        ];
        let inside = threads.map(|(tid, function)| inside(tid, function));
        let threads = Threads::fake(root.path(), |tid| [0, 12].contains(&tid));
        let calls = vec![call(8, 2), call(7, 1), call(12, 3)];
        let unseen = Unseen::look(threads, &calls, &inside);
        assert_eq!(
            rest(&unseen, Vec::new(), &[]),
            Rest::default(),
            "what was seen to end since then"
        );
        assert_eq!(
            rest(&Unseen::default(), calls.clone(), &inside).returns_lost,
            0,
            "what ended since then unseen"
        );
        let rest = rest(&unseen, calls, &inside);
        let lost = rest
            .calls
            .iter()
            .map(|call| (call.who.own_ids as u32, call.flags & call_flag::RESULT_LOST != 0))
            .collect::<Vec<_>>();
        assert_eq!(
            lost,
            [(7, false), (8, true), (12, false)],
            "what cannot be looked at is unknown"
        );
        assert_eq!(rest.returns_lost, 3, "two reads, and a poll");
    }
}
