//! Which guest is wanted, and what is to be done in it before its state is saved.

use crate::boot::{BootOptions, Contents, Machine, Scratch, Vm};
use crate::deadline::Deadline;
use crate::say::Say;

/// A guest to start.
#[derive(Clone, Copy)]
pub struct Order<'a> {
    /// What it is to be.
    pub options: &'a BootOptions,
    /// Where its files are while it runs.
    pub scratch: &'a Scratch,
    /// Until when it must be up.
    pub deadline: Deadline,
    /// Told what takes long, and what went wrong with a start from a template.
    pub say: Say<'a>,
}

/// What is done in a guest before its state is saved, so that every copy of it begins with that
/// done. `E` is what it fails with.
pub struct Preparation<'a, E> {
    /// Its name: a guest goes on only from one that was prepared by the same words.
    pub words: &'a [String],
    /// Does it in a guest whose agent serves. Gives the guest back, and what
    /// [`Vm::take_prepared`] is to give in each copy.
    pub prepare: &'a dyn Fn(Vm) -> Result<(Vm, String), Unprepared<E>>,
}

/// Why a guest was not prepared.
#[derive(Debug)]
pub enum Unprepared<E> {
    /// It cannot be done with this kernel, and is not tried again: guests go on without it.
    Refused,
    /// The guest or a program in it ended. A full disk may be to blame, since that is where the
    /// guest's memory is.
    Died(E),
    /// Anything else.
    Failed(E),
}

/// A guest of which there is a template, or will be.
pub(super) struct Guest<'a> {
    pub order: &'a Order<'a>,
    pub machine: Machine,
    pub initramfs: Contents,
}
