//! What a tracer told of one call, which may be less than an event of this project's has, or
//! something that no field can hold. How it was told is the readers' business.

use std::borrow::Cow;

use settime32_abi::output::{Abi, CALL_EVENT, CallEvent};

use super::field::Fields;

/// One call as a tracer tells it.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The values of the fields that are reported; all others are fillers.
    pub event: CallEvent<'static>,
    /// What the tracer told.
    pub reported: Fields,
    /// Those among them of which it told what no value of theirs is: a number out of range, a word.
    pub unfit: Fields,
    /// By which its events are to be put in order first, where it prints them in another and says
    /// so.
    pub order: Option<u64>,
    /// How it told them.
    pub telling: Telling,
}

/// A tracer's own words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Telling {
    /// The lines of its output that told of the call, as they were.
    pub lines: String,
    /// Of each field that is unfit, what stood in its place.
    pub unfit: Vec<(&'static str, String)>,
}

impl Reading {
    /// Nothing but that a thread made a call. `tid` decides to whose calls it belongs, and counts
    /// as reported only when that is said.
    pub fn of_thread(tid: u32) -> Self {
        let event = CallEvent {
            event: Cow::Borrowed(CALL_EVENT),
            entry_ns: 0,
            exit_ns: None,
            pid: 0,
            tid,
            comm: Cow::Borrowed(""),
            cpu: 0,
            abi: Abi::I386,
            entry_path: None,
            ufd: 0,
            flags: 0,
            utmr: None,
            utmr_entry: None,
            utmr_entry_errno: None,
            utmr_used: None,
            toctou: false,
            otmr: None,
            old: None,
            old_truncated: false,
            otmr_written: None,
            host_pid: None,
            host_tid: None,
            timer: None,
            clockid: None,
            ret: None,
            errno: None,
            unfinished: false,
            result_lost: false,
        };
        Self {
            event,
            reported: Fields::OF_ANY_EVENT,
            unfit: Fields::NONE,
            order: None,
            telling: Telling::default(),
        }
    }

    /// An event of this project's tracer, which tells all.
    pub fn whole(event: CallEvent<'static>) -> Self {
        Self {
            event,
            reported: Fields::ALL,
            unfit: Fields::NONE,
            order: None,
            telling: Telling::default(),
        }
    }
}
