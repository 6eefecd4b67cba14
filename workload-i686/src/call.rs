//! One call under test: fills the memory that its pointers name, makes it, and keeps what was
//! there.

use std::ptr::NonNull;
use std::sync::Arc;

use bytemuck::Zeroable;
use nix::errno::Errno;
use settime32_abi::journal::{
    ALL_THERE, ENTRY_INT80, ENTRY_REWRITTEN, ENTRY_VDSO, MEMORY_LEN, NEVER, Operation, what,
};
use settime32_abi::number::i386::TIMERFD_SETTIME32;
use settime32_abi::plan::{Call, Entry, Page, Pointer};
use settime32_abi::timespec::ITIMERSPEC32_SIZE;

use crate::keeper::Keeper;
use crate::kernel::Kernel;
use crate::memory::Shared;
use crate::rival::Rival;
use crate::stage::{Place, Places, Stage};

/// The bytes of an `old_itimerspec32`.
type Bytes = [u8; ITIMERSPEC32_SIZE];

/// Two places on one page, so that a read or write that goes past one of them does not reach the
/// other.
const UTMR_OFFSET: usize = 0x200;
const OTMR_OFFSET: usize = 0xa00;
const SCRATCH_LEN: usize = 0x1000;

/// The memory that pointers point to.
///
/// That of valid ones is shared with forked children, since a private page would be write-protected
/// by the fork; and it is written before each call, so that it is resident in the child too when a
/// probe reads it.
#[derive(Debug)]
pub struct Scratch {
    /// Writes at `utmr` while calls are raced; first, so that it ends before the memory goes.
    rival: Option<Rival>,
    memory: Shared,
    /// For calls with other pointers; made for the first of them.
    stage: Option<Stage>,
    /// Gives held pages; made for the first of them.
    keeper: Option<Arc<Keeper>>,
}

impl Scratch {
    /// Maps the memory.
    pub fn new() -> Result<Self, Errno> {
        Ok(Self { memory: Shared::map(SCRATCH_LEN)?, stage: None, keeper: None, rival: None })
    }

    /// The keeper of this process's held pages.
    pub(crate) fn keeper(&mut self) -> Result<Arc<Keeper>, Errno> {
        match &self.keeper {
            Some(keeper) if keeper.is_ours() => Ok(Arc::clone(keeper)),
            _ => Ok(Arc::clone(self.keeper.insert(Keeper::new()?))),
        }
    }

    /// Uses another thread's keeper.
    pub(crate) fn use_keeper(&mut self, keeper: Option<Arc<Keeper>>) {
        self.keeper = keeper;
    }

    /// Has nobody write to the memory any more.
    pub(crate) fn calm(&mut self) {
        self.rival = None;
    }

    /// Sees to it that the call's two settings are written in turns at `utmr`, or that none is when
    /// it asks for none, and then gives what is there.
    #[cold]
    fn race(&mut self, call: &Call) -> Result<Bytes, Errno> {
        let Some(other) = call.meanwhile else {
            self.calm();
            return Ok(put(place(call.utmr, self.utmr()), bytemuck::cast(call.new)));
        };
        let settings = [call.new, other];
        if !self.rival.as_ref().is_some_and(|rival| rival.writes(settings)) {
            // The one before must have written its last.
            self.calm();
            // SAFETY: the memory is this scratch's, which drops its rival first.
            self.rival = Some(unsafe { Rival::start(self.utmr(), settings) }?);
        }
        Ok(get(Some(self.utmr())))
    }

    fn stage(&mut self, call: &Call) -> Result<&Stage, Errno> {
        let keeper = if call.touches(Page::Held) || call.touches(Page::Withheld) {
            Some(self.keeper()?)
        } else {
            None
        };
        let stage = match &mut self.stage {
            Some(stage) => stage,
            none => none.insert(Stage::new()?),
        };
        stage.keeper = keeper;
        Ok(stage)
    }

    fn utmr(&self) -> NonNull<Bytes> {
        self.memory.at(UTMR_OFFSET)
    }

    fn otmr(&self) -> NonNull<Bytes> {
        self.memory.at(OTMR_OFFSET)
    }
}

/// Where a call stands among what its thread does.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Index of the step in the plan.
    pub step: u32,
    /// When what the thread did before had ended, `CLOCK_MONOTONIC`, nanoseconds.
    pub before_ns: i64,
}

/// Makes the call on `ufd`, hands its record to `keep`, and says when it had ended. Fails only when
/// the memory for it cannot be had, or a thread or process that it takes.
pub fn make<K: Kernel>(
    kernel: &mut K,
    scratch: &mut Scratch,
    turn: Turn,
    ufd: i32,
    call: &Call,
    keep: impl FnOnce(Operation),
) -> Result<i64, Errno> {
    let plain = |pointer| matches!(pointer, Pointer::Null | Pointer::Valid);
    if !plain(call.utmr) || !plain(call.otmr) {
        scratch.calm();
        return make_on_stage(kernel, scratch, turn, ufd, call, keep);
    }
    let (utmr, otmr) = (place(call.utmr, scratch.utmr()), place(call.otmr, scratch.otmr()));
    let utmr_before = if call.meanwhile.is_some() || scratch.rival.is_some() {
        scratch.race(call)?
    } else {
        put(utmr, bytemuck::cast(call.new))
    };
    let otmr_before = put(otmr, pattern(turn.step));
    let there = |place: Option<_>| if place.is_some() { ALL_THERE } else { 0 };
    let places = Places {
        utmr: Place { address: address(utmr), there: there(utmr), bytes: utmr_before },
        otmr: Place { address: address(otmr), there: there(otmr), bytes: otmr_before },
    };
    // SAFETY: the places are null or in the scratch memory, which only pointers reach.
    let ret = unsafe {
        kernel.timerfd_settime32(
            call.entry,
            ufd,
            call.flags,
            places.utmr.address,
            places.otmr.address,
        )
    }?;
    let after_ns = kernel.monotonic_ns()?;
    let otmr_after = get(otmr);
    let made = Made { ufd, ret, otmr_after, after_ns };
    keep(record(kernel, turn, call, &places, made));
    Ok(after_ns)
}

/// As [`make`], with memory that is laid out for this call.
#[cold]
fn make_on_stage<K: Kernel>(
    kernel: &mut K,
    scratch: &mut Scratch,
    turn: Turn,
    ufd: i32,
    call: &Call,
    keep: impl FnOnce(Operation),
) -> Result<i64, Errno> {
    let stage = scratch.stage(call)?;
    let places = stage.lay_out(call, pattern(turn.step))?;
    let make = |kernel: &mut K| {
        // SAFETY: the places are null, of nothing, or on the stage, which only pointers reach.
        unsafe {
            kernel.timerfd_settime32(
                call.entry,
                ufd,
                call.flags,
                places.utmr.address,
                places.otmr.address,
            )
        }
    };
    if call.touches(Page::Withheld) {
        // Nobody is left to write it afterwards: who is killed while it waits for a page gets
        // EFAULT from the copy.
        let ret = -(Errno::EFAULT as i32);
        let made = Made { ufd, ret, otmr_after: places.otmr.bytes, after_ns: NEVER };
        keep(record(kernel, turn, call, &places, made));
        make(kernel)?;
        return Err(Errno::ETIME);
    }
    let ret = make(kernel)?;
    let after_ns = kernel.monotonic_ns()?;
    // SAFETY: it was laid out above.
    let otmr_after = unsafe { stage.read(&places.otmr) };
    stage.clear()?;
    if call.touches(Page::Held) {
        kernel.return_to_cpu()?;
    }
    let made = Made { ufd, ret, otmr_after, after_ns };
    keep(record(kernel, turn, call, &places, made));
    Ok(after_ns)
}

/// What came of a call.
struct Made {
    ufd: i32,
    ret: i32,
    otmr_after: Bytes,
    after_ns: i64,
}

fn record<K: Kernel>(
    kernel: &K,
    Turn { step, before_ns }: Turn,
    call: &Call,
    places: &Places,
    Made { ufd, ret, otmr_after, after_ns }: Made,
) -> Operation {
    let who = kernel.identity();
    Operation {
        before_ns,
        after_ns,
        step,
        what: what::SETTIME32,
        pid: who.pid,
        tid: who.tid,
        nr: TIMERFD_SETTIME32,
        ret,
        args: [
            ufd.cast_unsigned().into(),
            call.flags.cast_unsigned().into(),
            places.utmr.address.into(),
            places.otmr.address.into(),
        ],
        entry: match call.entry {
            Entry::Int80 => ENTRY_INT80,
            Entry::Vdso => ENTRY_VDSO,
            Entry::Rewritten => ENTRY_REWRITTEN,
        },
        cpu: kernel.cpu(),
        new_there: places.utmr.there,
        out_there: places.otmr.there,
        new: memory(places.utmr.bytes),
        out_before: memory(places.otmr.bytes),
        out_after: memory(otmr_after),
        ..Operation::zeroed()
    }
}

/// The structure at the begin of an operation's memory.
fn memory(bytes: Bytes) -> [u8; MEMORY_LEN] {
    bytemuck::cast([bytes, Bytes::default()])
}

fn place(pointer: Pointer, valid: NonNull<Bytes>) -> Option<NonNull<Bytes>> {
    match pointer {
        Pointer::Valid => Some(valid),
        _ => None,
    }
}

fn address(place: Option<NonNull<Bytes>>) -> u32 {
    place.map_or(0, |place| {
        u32::try_from(place.addr().get()).expect("the memory was mapped below 4 GiB")
    })
}

/// Writes the bytes and reads them back, so that the record has what is there and not what was
/// meant.
fn put(place: Option<NonNull<Bytes>>, bytes: Bytes) -> Bytes {
    if let Some(place) = place {
        // SAFETY: the place is in the scratch memory. Volatile, because the kernel reads it unseen.
        unsafe { place.write_volatile(bytes) };
    }
    get(place)
}

fn get(place: Option<NonNull<Bytes>>) -> Bytes {
    // SAFETY: as in `put`; the kernel may have written.
    place.map_or([0; ITIMERSPEC32_SIZE], |place| unsafe { place.read_volatile() })
}

/// What is at `otmr` before the call: other bytes for each step and each field, and negative in
/// every field, as no old setting is, so that whatever was not written shows.
fn pattern(step: u32) -> Bytes {
    bytemuck::cast([0, 1, 2, 3].map(|field| 0xa500_0000 | step << 2 | field))
}

#[cfg(test)]
mod tests {
    use settime32_abi::plan::MAX_STEPS;
    use settime32_abi::timespec::OldItimerspec32;

    use super::*;

    #[test]
    fn the_pattern_is_no_old_setting_and_differs_by_step() {
        for step in [0, 1, 2, 77, MAX_STEPS as u32 - 1] {
            let words: [i32; 4] = bytemuck::cast(pattern(step));
            assert!(words.iter().all(|word| *word < 0), "step {step}");
            assert!(!bytemuck::cast::<_, OldItimerspec32>(words).is_valid());
            assert_ne!(pattern(step), pattern(step + 1));
        }
    }
}
