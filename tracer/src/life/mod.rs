//! A timer's whole life: what `--events` asks for beside `timerfd_settime32`. What is hooked for it, where the kernel's
//! structures have what, and how records become the documented events.

pub mod decode;
pub mod hooks;
pub mod layout;
pub mod timers;
