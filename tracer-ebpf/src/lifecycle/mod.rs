//! A timer's whole life (`--events`): related calls, armings, expiries, wake-ups, the end. Nothing
//! of it is loaded unless it is asked for, and the programs of `timerfd_settime32` itself know
//! nothing of it.
//!
//! A timer is told by the address of its `struct timerfd_ctx`, whatever descriptor led to it.

mod calls;
mod inside;
mod layout;
mod moments;
mod output;
mod programs;
mod timer;
mod waits;
