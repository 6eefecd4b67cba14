//! Guests that are ready in a fraction of a second: a guest is booted once, its state is kept, and
//! every further one goes on from a copy of it.
//!
//! A template is the memory of a guest whose agent is up, maybe with something done in it
//! beforehand ([`Preparation`]), and the state of its machine. QEMU maps the memory copy on write,
//! so that copies share what they do not change, and nothing that one does is seen by another.
//! `key` says which template belongs to a guest, `store` keeps them, `make` boots them.
//!
//! Copies of one template begin with the same memory: the addresses of what was loaded before,
//! process ids, counters, and the time since the boot are the same in each. Their clocks are set
//! and their random numbers drawn anew before anybody gets them
//! ([`settime32_abi::frame::Request::Restored`]).

mod key;
mod make;
mod order;
mod setback;
mod store;

use std::error::Error;
use std::fs::File;
use std::time::Duration;

use crate::boot::{self, Accelerator, Machine, MemoryFile, Prepared, RestoreError, Start, Vm};
use crate::deadline::Deadline;
use crate::failure::{HostError, VmError};

use order::Guest;
pub use order::{Order, Preparation, Unprepared};
use setback::Setback;
use store::{Record, Template};

/// A copy that is not ready by then never will be: a hundred times the usual.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

/// Starts a guest, warm where the options allow it and it can be done, else by a boot.
///
/// # Errors
///
/// Those of the boot. A start from a template that fails is told to `say`, and is no error where a
/// boot works.
pub fn start(order: &Order) -> Result<Vm, VmError> {
    start_with(order, None)
}

/// The same, where the guest may be prepared already; whether it is, [`Vm::take_prepared`] says.
///
/// # Errors
///
/// Those of [`start`], and under emulation those of the preparation.
pub fn start_prepared<E>(order: &Order, preparation: &Preparation<E>) -> Result<Vm, E>
where
    E: Error + From<VmError> + 'static,
{
    start_with(order, Some(preparation))
}

fn start_with<E>(order: &Order, preparation: Option<&Preparation<E>>) -> Result<Vm, E>
where
    E: Error + From<VmError> + 'static,
{
    if order.options.start == Start::Warm {
        // Which accelerator works is learnt by a boot.
        if let Some(accelerator) = boot::settled_accelerator(order.options) {
            match from_template(order, preparation, accelerator) {
                Ok(vm) => return Ok(vm),
                Err(Setback::Guest(failure)) if accelerator == Accelerator::Tcg => {
                    return Err(failure);
                }
                Err(setback) => (order.say)(&format!("{setback}; starting cold")),
            }
        }
    }
    Ok(Vm::boot(order.options, order.scratch, order.deadline, order.say)?)
}

fn from_template<E: From<VmError>>(
    order: &Order,
    preparation: Option<&Preparation<E>>,
    accelerator: Accelerator,
) -> Result<Vm, Setback<E>> {
    let initramfs = boot::agent_initramfs(&order.options.kernel, &order.options.programs)?;
    let machine = order.options.machine(order.scratch, accelerator);
    let guest = Guest { order, machine, initramfs };
    if preparation.is_some()
        && let Some(vm) = guest.obtain(preparation)?
    {
        return Ok(vm);
    }
    Ok(guest.obtain(None)?.expect("only a preparation can be refused"))
}

impl Guest<'_> {
    /// A copy of the template, which is made where there is none. `None` when this kernel refuses
    /// the preparation.
    fn obtain<E: From<VmError>>(
        &self,
        preparation: Option<&Preparation<E>>,
    ) -> Result<Option<Vm>, Setback<E>> {
        let words = preparation.map(|preparation| preparation.words);
        let template = Template::new(key::key(&self.machine, &self.initramfs, words)?);
        let (record, lock) = match template.share()? {
            Some(found) => found,
            None => {
                let lock = template.lock(self.order.say)?;
                let record = match template.record() {
                    Some(record) => record,
                    None => {
                        (self.order.say)(&format!(
                            "keeping a template of {} for warm starts",
                            self.order.options.kernel.name
                        ));
                        let record =
                            template.put(|folder| make::make(self, preparation, folder))?;
                        store::prune(self.order.say);
                        record
                    }
                };
                // Others may have it now; who removes templates has to wait.
                lock.let_share().map_err(HostError::file("share", template.folder()))?;
                (record, lock)
            }
        };
        if record.refused {
            return Ok(None);
        }
        let restored = self.restore(&template, &record, words);
        drop(lock);
        match restored {
            Ok(vm) => Ok(Some(vm)),
            Err(source) => {
                template.discard(&record)?;
                let stderr = self.order.scratch.qemu_stderr();
                let stderr = if stderr.trim().is_empty() {
                    String::new()
                } else {
                    format!(": {}", stderr.trim())
                };
                Err(Setback::Restore { source, stderr })
            }
        }
    }

    fn restore(
        &self,
        template: &Template,
        record: &Record,
        words: Option<&[String]>,
    ) -> Result<Vm, RestoreError> {
        let machine =
            Machine { memory: Some(MemoryFile::Copied(template.memory())), ..self.machine.clone() };
        let path = template.state();
        let state = File::open(&path)
            .map_err(|error| VmError::from(HostError::file("open", &path)(error)))?;
        let limit = Deadline::after(RESTORE_LIMIT.min(self.order.deadline.left()));
        let mut vm = Vm::restore_machine(&machine, &state, self.order.scratch, limit)?;
        vm.set_prepared(words.map(|words| Prepared {
            words: words.to_vec(),
            said: record.said.clone().into_bytes(),
        }));
        Ok(vm)
    }
}
