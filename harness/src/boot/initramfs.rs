//! What the guest runs from: a cpio archive of the agent, the tracer, the workload and the kernel's
//! modules.

use std::fs;

use cpio::newc::{Builder, ModeFileType};

use crate::failure::InfraError;
use crate::kernels::Kernel;

/// A guest program of this build, or why the build left it out.
struct Program {
    name: &'static str,
    content: &'static [u8],
    stub_reason: Option<&'static str>,
}

macro_rules! program {
    ($name:literal, $reason:literal) => {
        Program {
            name: $name,
            content: include_bytes!(concat!(env!("OUT_DIR"), "/", $name)),
            stub_reason: option_env!($reason),
        }
    };
}

static AGENT: Program = program!("settime32-agent", "SETTIME32_STUB_REASON_SETTIME32_AGENT");
static BARE_INIT: Program =
    program!("settime32-bare-init", "SETTIME32_STUB_REASON_SETTIME32_BARE_INIT");
static TRACER: Program = program!("settime32-tracer", "SETTIME32_STUB_REASON_SETTIME32_TRACER");
static WRONG_TRACER: Program =
    program!("settime32-wrong-tracer", "SETTIME32_STUB_REASON_SETTIME32_WRONG_TRACER");
static WORKLOAD: Program =
    program!("settime32-workload", "SETTIME32_STUB_REASON_SETTIME32_WORKLOAD");
static WORKLOAD64: Program =
    program!("settime32-workload64", "SETTIME32_STUB_REASON_SETTIME32_WORKLOAD64");
static EMPTY_PROBES: Program =
    program!("settime32-empty-probes", "SETTIME32_STUB_REASON_SETTIME32_EMPTY_PROBES");

/// Where the tracer is in the guest.
pub const TRACER_PATH: &str = "/bin/settime32-tracer";
/// Where the workload is in the guest.
pub const WORKLOAD_PATH: &str = "/bin/settime32-workload";
/// Where its 64-bit twin is in the guest.
pub const WORKLOAD64_PATH: &str = "/bin/settime32-workload64";
/// The name that the kernel gives the process of either: the file's, cut to `TASK_COMM_LEN - 1`
/// bytes.
pub(crate) const WORKLOAD_COMM: &str = "settime32-workl";

impl Program {
    fn content(&self) -> Result<&'static [u8], InfraError> {
        match self.stub_reason {
            Some(reason) => Err(InfraError::Stub { program: self.name, reason }),
            None => Ok(self.content),
        }
    }
}

/// Where the agent is in the guest.
pub(super) const AGENT_PATH: &str = "/init";

/// The guest's own folders with their permission bits.
const FOLDERS: [(&str, u32); 8] = [
    ("dev", 0o755),
    ("proc", 0o755),
    ("sys", 0o755),
    ("tmp", 0o1777),
    ("run", 0o755),
    ("bin", 0o755),
    ("etc", 0o755),
    ("modules", 0o755),
];

/// The wrong tracers' program, which is no part of the archive: only few runs want it in the guest.
pub(crate) fn wrong_tracer() -> Result<&'static [u8], InfraError> {
    WRONG_TRACER.content()
}

/// A cpio archive.
pub type Contents = Vec<u8>;

/// The programs of a guest, and where they are there.
pub(super) fn programs() -> Result<[(&'static str, &'static [u8]); 4], InfraError> {
    Ok([
        (AGENT_PATH, AGENT.content()?),
        (TRACER_PATH, TRACER.content()?),
        (WORKLOAD_PATH, WORKLOAD.content()?),
        (WORKLOAD64_PATH, WORKLOAD64.content()?),
    ])
}

/// The initramfs of a guest that the harness talks to.
pub fn with_agent(kernel: &Kernel) -> Result<Contents, InfraError> {
    let mut archive = Archive::new();
    archive.folders(&FOLDERS);
    archive.console();
    for (path, content) in programs()? {
        archive.file(path, 0o755, content);
    }
    let mut order = String::new();
    for path in &kernel.modules {
        let name = path.file_name().expect("a module is a file").to_string_lossy();
        let content = fs::read(path).map_err(InfraError::file("read", path))?;
        archive.file(&format!("modules/{name}"), 0o644, &content);
        order += &format!("{name}\n");
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(archive.finish())
}

/// The program that attaches empty probes, which goes only into the guests that measure.
pub(crate) fn empty_probes() -> Result<&'static [u8], InfraError> {
    EMPTY_PROBES.content()
}

/// The initramfs that boot times are compared with: an init that prints one line.
pub fn bare() -> Result<Contents, InfraError> {
    let mut archive = Archive::new();
    archive.folders(&FOLDERS[..1]);
    archive.console();
    archive.file("init", 0o755, BARE_INIT.content()?);
    Ok(archive.finish())
}

/// The archive while it is written. Writing into memory cannot fail.
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn new() -> Self {
        Self { bytes: Vec::new(), entries: 0 }
    }

    fn folders(&mut self, folders: &[(&str, u32)]) {
        for (path, mode) in folders {
            let name = path.trim_start_matches('/');
            self.add(
                Builder::new(name).mode(*mode).set_mode_file_type(ModeFileType::Directory),
                &[],
            );
        }
    }

    /// The kernel opens it for init before anything is mounted.
    fn console(&mut self) {
        let node = Builder::new("dev/console").mode(0o600).set_mode_file_type(ModeFileType::Char);
        self.add(node.rdev_major(5).rdev_minor(1), &[]);
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        let name = path.trim_start_matches('/');
        self.add(Builder::new(name).mode(mode).set_mode_file_type(ModeFileType::Regular), content);
    }

    fn add(&mut self, builder: Builder, content: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(content.len()).expect("guest programs are far below 4 GiB");
        let mut writer = builder.ino(self.entries).write(&mut self.bytes, size);
        std::io::Write::write_all(&mut writer, content).expect("a vector takes everything");
        writer.finish().expect("a vector takes everything");
    }

    fn finish(mut self) -> Contents {
        cpio::newc::trailer(&mut self.bytes).expect("a vector takes everything");
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Read};

    use super::*;

    #[test]
    fn files_can_be_read_back() {
        let mut archive = Archive::new();
        archive.folders(&[("bin", 0o755)]);
        archive.file("/bin/program", 0o755, b"content");
        let bytes = archive.finish();
        let mut reader = cpio::NewcReader::new(Cursor::new(&bytes[..])).unwrap();
        assert_eq!(reader.entry().name(), "bin");
        reader = cpio::NewcReader::new(reader.finish().unwrap()).unwrap();
        assert_eq!((reader.entry().name(), reader.entry().mode()), ("bin/program", 0o100_755));
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        assert_eq!(content, b"content");
    }
}
