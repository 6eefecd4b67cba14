//! What threads were still doing when the programs came off.

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

/// Numbers of the calls that come to a function, in both tables (`arch/x86/entry/syscalls/syscall_{32,64}.tbl`).
const fn callers(function: u32) -> &'static [u32] {
    const SETTIME: u32 = Function::Settime as u32;
    const GETTIME: u32 = Function::Gettime as u32;
    const READ: u32 = Function::Read as u32;
    const POLL: u32 = Function::Poll as u32;
    match function {
        SETTIME => &[286, 325, 411],
        GETTIME => &[287, 326, 410],
        // `read`, `readv`, `preadv`, `preadv2`, `splice`, and of rings `io_uring_enter`, and `io_uring_setup` in their own threads.
        READ => &[0, 3, 19, 145, 275, 295, 313, 327, 333, 378, 425, 426],
        // The families of `poll`, `select` and `epoll_wait`, `epoll_ctl` and `io_uring_enter`.
        POLL => &[7, 23, 82, 142, 168, 232, 233, 255, 256, 270, 271, 281, 308, 309, 319, 413, 414, 426, 441],
        _ => &[],
    }
}

/// Tells what is left, by what the threads are doing now. What is unknown is no loss.
pub fn rest(threads: Threads<'_>, mut calls: Vec<RawCall>, inside: &[Inside]) -> Rest {
    calls.sort_by_key(|call| call.entry_ns);
    for call in &mut calls {
        let nr = Call::ALL.get(call.call as usize).map_or(u32::MAX, |call| call.nr());
        if !threads.may_be_inside_any((call.who.own_ids >> 32) as u32, call.who.own_ids as u32, &[nr]) {
            call.flags |= call_flag::RESULT_LOST;
        }
    }
    // Of the clock's being set nothing is told but what happens meanwhile.
    let told = inside.iter().filter(|inside| inside.function != Function::ClockWasSet as u32);
    let may_be_inside =
        |inside: &Inside| threads.may_be_inside_any((inside.own_ids >> 32) as u32, inside.own_ids as u32, callers(inside.function));
    let lost = told.filter(|inside| !may_be_inside(inside));
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
        let inside = |tid: u64, function| Inside { own_ids: tid << 32 | tid, function: function as u32, ..Inside::zeroed() };
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
        let rest = rest(threads, vec![call(8, 2), call(7, 1), call(12, 3)], &inside);
        let lost = rest.calls.iter().map(|call| (call.who.own_ids as u32, call.flags & call_flag::RESULT_LOST != 0)).collect::<Vec<_>>();
        assert_eq!(lost, [(7, false), (8, true), (12, false)], "what cannot be looked at is unknown");
        assert_eq!(rest.returns_lost, 3, "two reads, and a poll");
    }
}
