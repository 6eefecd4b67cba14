//! Where the kernel's structures have what the programs look at, by the kernel's own description of
//! its types.

use crate::kernel_types::{Of, look_up};
use crate::preflight::Refusal;

/// Variables of the object, and what they are to be.
pub type Offsets = Vec<(&'static str, u32)>;

/// Members by variable.
const MEMBERS: [(&str, &str, &str); 21] = [
    ("FILES_AT", "task_struct", "files"),
    ("STACK_AT", "task_struct", "stack"),
    ("FLAGS_AT", "task_struct", "flags"),
    ("FDT_AT", "files_struct", "fdt"),
    ("MAX_FDS_AT", "fdtable", "max_fds"),
    ("FD_AT", "fdtable", "fd"),
    ("PRIVATE_DATA_AT", "file", "private_data"),
    ("F_OP_AT", "file", "f_op"),
    ("TIMER_AT", "timerfd_ctx", "t"),
    ("WQH_AT", "timerfd_ctx", "wqh"),
    ("CLOCKID_AT", "timerfd_ctx", "clockid"),
    ("SOFTEXPIRES_AT", "hrtimer", "_softexpires"),
    ("BASE_AT", "hrtimer", "base"),
    ("ALARM_TIMER_AT", "alarm", "timer"),
    ("INDEX_AT", "hrtimer_clock_base", "index"),
    ("OFFSET_AT", "hrtimer_clock_base", "offset"),
    ("POLL_KEY_AT", "poll_table_struct", "_key"),
    ("POLL_QPROC_AT", "poll_table_struct", "_qproc"),
    // It begins with the file, whatever its type is called.
    ("EPITEM_FILE_AT", "epitem", "ffd"),
    ("KI_COMPLETE_AT", "kiocb", "ki_complete"),
    // The union of pointers, which has no name, and is looked at only on kernels that have it (6.10
    // reads by iterator).
    ("UBUF_AT", "iov_iter", ""),
];

/// Members that are 0 where there are none.
const OPTIONAL: [(&str, &str, &str); 3] = [
    // Older kernels call the one `type`, or have the other in a union without a name; they read
    // timers without.
    ("ITER_TYPE_AT", "iov_iter", "iter_type"),
    ("IOV_OFFSET_AT", "iov_iter", "iov_offset"),
    // Kernels may be built without rings.
    ("IO_URING_AT", "task_struct", "io_uring"),
];

/// What is found in two steps: a member of a member.
const SUMS: [(&str, [(&str, &str); 2]); 2] = [
    ("ALARM_EXPIRES_AT", [("alarm", "node"), ("timerqueue_node", "expires")]),
    ("STATUS_AT", [("task_struct", "thread_info"), ("thread_info", "status")]),
];

/// All of them, or the first that the kernel does not describe.
pub fn offsets(btf: &[u8]) -> Result<Offsets, Refusal> {
    let mut questions: Vec<(&str, Of)> =
        MEMBERS.iter().map(|(_, structure, member)| (*structure, Of::Member(member))).collect();
    questions.extend(SUMS.iter().flat_map(|(_, members)| {
        members.map(|(structure, member)| (structure, Of::Member(member)))
    }));
    questions.extend([("hrtimer_clock_base", Of::Size), ("poll_table_struct", Of::Size)]);
    let answers = look_up(btf, &questions);
    let mut known = questions.iter().zip(answers).map(|((structure, of), answer)| {
        answer.ok_or_else(|| Refusal::NoMember {
            member: match of {
                Of::Member(member) => format!("{structure}.{member}"),
                Of::Size => (*structure).to_owned(),
            },
        })
    });
    let mut next = || known.next().expect("there are as many answers as questions");
    let mut offsets = Offsets::new();
    for (variable, ..) in MEMBERS {
        offsets.push((variable, next()?));
    }
    for (variable, _) in SUMS {
        offsets.push((variable, next()? + next()?));
    }
    offsets.push(("BASE_SIZE", next()?));
    offsets.push(("POLL_TABLE_SIZE", next()?));
    for (variable, structure, member) in OPTIONAL {
        let offset = look_up(btf, &[(structure, Of::Member(member))])[0];
        offsets.push((variable, offset.unwrap_or(0)));
    }
    Ok(offsets)
}
