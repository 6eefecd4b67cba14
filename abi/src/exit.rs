//! How the tracer says that it is ready, and its exit codes: what a program that starts it goes by.

/// What the line on standard error has that says that every call from now on is seen.
pub const READY: &str = ": ready";

/// Everything was seen and written, or the command's own code is passed on.
pub const SEEN: u8 = 0;
/// It failed in a way that has no code of its own.
pub const FAILED: u8 = 1;
/// Events were lost, or it was blind for a while, and its last words say so.
pub const LOST: u8 = 3;
/// The build holds an empty stub in place of the eBPF object.
pub const STUB: u8 = 10;
/// The kernel is older than 5.8.
pub const TOO_OLD: u8 = 11;
/// A capability, a setting or a limit forbids it.
pub const UNPRIVILEGED: u8 = 12;
/// The kernel is locked down.
pub const LOCKED_DOWN: u8 = 13;
/// The kernel has no type information (BTF), which what was asked for needs.
pub const NO_BTF: u8 = 14;
/// No 32-bit call can be made on this kernel.
pub const NO_ENTRY: u8 = 15;
/// Events could not be written.
pub const NOT_WRITTEN: u8 = 16;
/// The kernel cannot attach by fentry.
pub const NO_FENTRY: u8 = 17;
/// The kernel would crash by fentry.
pub const FENTRY_UNSAFE: u8 = 18;
/// A structure of the kernel lacks a member that is read.
pub const NO_MEMBER: u8 = 19;
/// The probes were attached and saw nothing.
pub const BLIND: u8 = 20;
