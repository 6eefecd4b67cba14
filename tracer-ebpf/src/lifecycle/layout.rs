//! Where members of the kernel's structures lie, as user space reads it from the kernel's own
//! description of its types.

use aya_ebpf::Global;
use aya_ebpf::helpers::bpf_probe_read_kernel;

macro_rules! offsets {
    ($($name:ident: $member:literal,)*) => {
        $(
            #[doc = concat!("Bytes from the begin of the structure to `", $member, "`.")]
            #[unsafe(no_mangle)]
            static $name: Global<u32> = Global::new(0);
        )*

        /// A member that is looked up by name.
        #[derive(Clone, Copy)]
        #[expect(non_camel_case_types, reason = "the names of the variables that user space sets")]
        pub(crate) enum Member {
            $($name,)*
        }

        impl Member {
            /// Its offset.
            #[inline(always)]
            pub(crate) fn at(self) -> usize {
                (match self {
                    $(Self::$name => $name.load(),)*
                }) as usize
            }
        }
    };
}

offsets! {
    FILES_AT: "task_struct.files",
    STACK_AT: "task_struct.stack",
    FLAGS_AT: "task_struct.flags",
    STATUS_AT: "task_struct.thread_info.status",
    FDT_AT: "files_struct.fdt",
    MAX_FDS_AT: "fdtable.max_fds",
    FD_AT: "fdtable.fd",
    PRIVATE_DATA_AT: "file.private_data",
    F_OP_AT: "file.f_op",
    TIMER_AT: "timerfd_ctx.t",
    WQH_AT: "timerfd_ctx.wqh",
    CLOCKID_AT: "timerfd_ctx.clockid",
    SOFTEXPIRES_AT: "hrtimer._softexpires",
    BASE_AT: "hrtimer.base",
    ALARM_EXPIRES_AT: "alarm.node.expires",
    ALARM_TIMER_AT: "alarm.timer",
    INDEX_AT: "hrtimer_clock_base.index",
    OFFSET_AT: "hrtimer_clock_base.offset",
    BASE_SIZE: "the end of hrtimer_clock_base",
    POLL_KEY_AT: "poll_table_struct._key",
    POLL_QPROC_AT: "poll_table_struct._qproc",
    POLL_TABLE_SIZE: "the end of poll_table_struct",
    EPITEM_FILE_AT: "epitem.ffd.file",
    IO_URING_AT: "task_struct.io_uring",
    KI_COMPLETE_AT: "kiocb.ki_complete",
    ITER_TYPE_AT: "iov_iter.iter_type",
    UBUF_AT: "iov_iter.ubuf",
    IOV_OFFSET_AT: "iov_iter.iov_offset",
}

/// A member's value, of a structure of the kernel; `None` when it cannot be read.
#[inline(always)]
pub(crate) fn member<T>(structure: usize, member: Member) -> Option<T> {
    at(structure.wrapping_add(member.at()))
}

/// What lies at an address of the kernel.
#[inline(always)]
pub(crate) fn at<T>(address: usize) -> Option<T> {
    // SAFETY: a source that cannot be read gives an error.
    unsafe { bpf_probe_read_kernel(address as *const T) }.ok()
}
