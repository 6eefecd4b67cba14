//! Loads the kernel modules that were packed beside the agent; it resolves nothing, the list says
//! the order.

use std::fs::{File, read_to_string};
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};

const FOLDER: &str = "/modules";
const ORDER: &str = "/modules/order";

/// Loads every module that `/modules/order` names, a file name a line; a missing list means that
/// all are built in.
pub(crate) fn load_all() -> Result<()> {
    let order = match read_to_string(ORDER) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        read => read.with_context(|| format!("failed to read {ORDER}"))?,
    };
    let names = order.lines().map(str::trim).filter(|line| !line.is_empty());
    names.map(|name| Path::new(FOLDER).join(name)).try_for_each(|path| load(&path))
}

fn load(path: &Path) -> Result<()> {
    let file = File::open(path).with_context(|| {
        format!("failed to open the module {} that {ORDER} names", path.display())
    })?;
    match finit_module(&file, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno).with_context(|| {
            format!("failed to load the module {}; is it uncompressed, this kernel's own, and after those that it needs?", path.display())
        }),
    }
}
