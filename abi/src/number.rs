//! Numbers of the system calls about timers, in the two tables of x86.

/// `arch/x86/entry/syscalls/syscall_32.tbl`.
pub mod i386 {
    /// `timer_create`.
    pub const TIMER_CREATE: u32 = 259;
    /// `timer_settime32`.
    pub const TIMER_SETTIME32: u32 = 260;
    /// `timer_gettime32`.
    pub const TIMER_GETTIME32: u32 = 261;
    /// `timer_delete`.
    pub const TIMER_DELETE: u32 = 263;
    /// `timerfd_create`.
    pub const TIMERFD_CREATE: u32 = 322;
    /// `timerfd_settime32`.
    pub const TIMERFD_SETTIME32: u32 = 325;
    /// `timerfd_gettime32`.
    pub const TIMERFD_GETTIME32: u32 = 326;
    /// `timerfd_gettime64`.
    pub const TIMERFD_GETTIME64: u32 = 410;
    /// `timerfd_settime64`.
    pub const TIMERFD_SETTIME64: u32 = 411;
}

/// `arch/x86/entry/syscalls/syscall_64.tbl`.
pub mod x86_64 {
    /// `timerfd_create`.
    pub const TIMERFD_CREATE: u32 = 283;
    /// `timerfd_settime`.
    pub const TIMERFD_SETTIME: u32 = 286;
    /// `timerfd_gettime`.
    pub const TIMERFD_GETTIME: u32 = 287;
}
