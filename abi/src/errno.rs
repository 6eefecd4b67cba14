//! Names of the errnos that `timerfd_settime32` and the probes' reads can give, after
//! `include/uapi/asm-generic/errno-base.h`.

/// The name of a positive errno, or `None` where this project has no use for it.
pub const fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        1 => "EPERM",
        2 => "ENOENT",
        3 => "ESRCH",
        4 => "EINTR",
        5 => "EIO",
        9 => "EBADF",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        14 => "EFAULT",
        16 => "EBUSY",
        22 => "EINVAL",
        24 => "EMFILE",
        38 => "ENOSYS",
        125 => "ECANCELED",
        _ => return None,
    })
}

/// `EPERM`.
pub const EPERM: i32 = 1;
/// `EBADF`.
pub const EBADF: i32 = 9;
/// `EFAULT`.
pub const EFAULT: i32 = 14;
/// `EINVAL`.
pub const EINVAL: i32 = 22;
/// `ECANCELED`.
pub const ECANCELED: i32 = 125;
