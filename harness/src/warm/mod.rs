//! Guests that are ready in a fraction of a second: a guest is booted once, its state is kept, and
//! every further one goes on from a copy of it.
//!
//! A template is the memory of a guest whose agent is up, maybe with the tracer attached, and the
//! state of its machine. QEMU maps the memory copy on write, so that copies share what they do not
//! change, and nothing that one does is seen by another. [`key`] says which template belongs to a
//! guest, [`store`] keeps them, [`make`] boots them.
//!
//! Copies of one template begin with the same memory: the addresses of what was loaded before,
//! process ids, counters, and the time since the boot are the same in each. Their clocks are set
//! and their random numbers drawn anew before a test gets them
//! ([`settime32_abi::frame::Request::Restored`]).

mod key;
mod make;
mod store;

use std::fs::File;
use std::time::Duration;

use thiserror::Error;

use crate::boot::{
    self, Accelerator, Attached, BootOptions, Contents, Deadline, Machine, MemoryFile,
    MonitorError, RestoreError, Scratch, Start, Vm,
};
use crate::failure::{Failure, InfraError};
use crate::say::Say;
use store::{Record, Template};

/// A copy that is not ready by then never will be: a hundred times the usual.
const RESTORE_LIMIT: Duration = Duration::from_secs(20);

/// A guest to start.
#[derive(Clone, Copy)]
pub(crate) struct Order<'a> {
    pub options: &'a BootOptions,
    /// Command line of a tracer to attach, where that can be done beforehand.
    pub tracer: Option<&'a [String]>,
    pub scratch: &'a Scratch,
    pub deadline: Deadline,
    pub say: Say<'a>,
}

/// Why there is no guest from a template.
#[derive(Debug, Error)]
enum Setback {
    /// The guest does not come up in any way.
    #[error(transparent)]
    Boot(Failure),
    /// The disk has no room for a template.
    #[error(
        "failed to keep a template in {path}: {free_mib} MiB are free there, and it may take {needed_mib} MiB; free some space, or set SETTIME32_CACHE to a folder of another disk"
    )]
    NoSpace { path: std::path::PathBuf, free_mib: u64, needed_mib: u64 },
    #[error("failed to use the cache of templates: {0}")]
    Files(#[from] InfraError),
    #[error("failed to make a template: {0}")]
    Save(#[from] MonitorError),
    #[error("failed to go on from a template, which is removed: {source}{stderr}")]
    Restore { source: RestoreError, stderr: String },
}

/// Starts a guest, warm where the options allow it and it can be done, else by a boot. `say` is
/// told what went wrong with a warm start.
pub(crate) fn start(order: &Order) -> Result<Vm, Failure> {
    if order.options.start == Start::Warm {
        // Which accelerator works is learnt by a boot.
        if let Some(accelerator) = boot::settled_accelerator(order.options) {
            match from_template(order, accelerator) {
                Ok(vm) => return Ok(vm),
                Err(Setback::Boot(failure)) if accelerator == Accelerator::Tcg => {
                    return Err(failure);
                }
                Err(setback) => (order.say)(&format!("{setback}; starting cold")),
            }
        }
    }
    Vm::boot(order.options, order.scratch, order.deadline, order.say)
}

fn from_template(order: &Order, accelerator: Accelerator) -> Result<Vm, Setback> {
    let initramfs = boot::agent_initramfs(&order.options.kernel, &order.options.programs)?;
    let machine = order.options.machine(order.scratch, accelerator);
    let guest = Guest { order, machine, initramfs };
    if let Some(tracer) = order.tracer
        && let Some(vm) = guest.obtain(Some(tracer))?
    {
        return Ok(vm);
    }
    Ok(guest.obtain(None)?.expect("only a tracer can be refused"))
}

/// A guest of which there is a template, or will be.
struct Guest<'a> {
    order: &'a Order<'a>,
    machine: Machine,
    initramfs: Contents,
}

impl Guest<'_> {
    /// A copy of the template, which is made where there is none. `None` when this kernel refuses
    /// the tracer.
    fn obtain(&self, tracer: Option<&[String]>) -> Result<Option<Vm>, Setback> {
        let template = Template::new(key::key(&self.machine, &self.initramfs, tracer)?);
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
                        let record = template.put(|folder| make::make(self, tracer, folder))?;
                        store::prune(self.order.say);
                        record
                    }
                };
                // Others may have it now; who removes templates has to wait.
                lock.let_share().map_err(InfraError::file("share", template.folder()))?;
                (record, lock)
            }
        };
        if record.refused {
            return Ok(None);
        }
        let restored = self.restore(&template, &record, tracer);
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
        tracer: Option<&[String]>,
    ) -> Result<Vm, RestoreError> {
        let machine =
            Machine { memory: Some(MemoryFile::Copied(template.memory())), ..self.machine.clone() };
        let path = template.state();
        let state = File::open(&path)
            .map_err(|error| Failure::from(InfraError::file("open", &path)(error)))?;
        let limit = Deadline::after(RESTORE_LIMIT.min(self.order.deadline.left()));
        let mut vm = Vm::restore_machine(&machine, &state, self.order.scratch, limit)?;
        vm.set_attached(tracer.map(|argv| Attached {
            argv: argv.to_vec(),
            stderr: record.tracer_stderr.clone().into_bytes(),
        }));
        Ok(vm)
    }
}
