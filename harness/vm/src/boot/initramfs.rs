//! What the guest runs from: a cpio archive of the agent, the other programs that a guest is given, and
//! the kernel's modules.

use std::borrow::Cow;
use std::fs;

use cpio::newc::{Builder, ModeFileType};

use crate::failure::HostError;
use crate::kernels::Kernel;

/// Where the agent is in the guest.
pub const AGENT_PATH: &str = "/init";

/// What a guest runs beside its kernel: content of programs, and where each is in the guest.
///
/// They are whole, static programs for x86-64 Linux; nothing else is in the guest for them to use.
#[derive(Clone)]
pub struct GuestPrograms {
    /// PID 1, which answers the requests of [`settime32_abi::frame`]; it is at [`AGENT_PATH`].
    pub agent: Cow<'static, [u8]>,
    /// Absolute path and content of the others, in the order in which they are packed.
    pub others: Vec<(&'static str, Cow<'static, [u8]>)>,
}

impl GuestPrograms {
    /// All, the agent first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let others = self.others.iter().map(|(path, content)| (*path, &**content));
        [(AGENT_PATH, &*self.agent)].into_iter().chain(others)
    }
}

/// Without the content, which is of no use to anybody who reads it.
impl std::fmt::Debug for GuestPrograms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.all().map(|(path, content)| (path, content.len()))).finish()
    }
}

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

/// A cpio archive.
pub type Contents = Vec<u8>;

/// The initramfs of a guest that can be talked to.
pub fn with_agent(kernel: &Kernel, programs: &GuestPrograms) -> Result<Contents, HostError> {
    let mut archive = Archive::new();
    archive.folders(&FOLDERS);
    archive.console();
    for (path, content) in programs.all() {
        archive.file(path, 0o755, content);
    }
    let mut order = String::new();
    for path in &kernel.modules {
        let name = path.file_name().expect("a module is a file").to_string_lossy();
        let content = fs::read(path).map_err(HostError::file("read", path))?;
        archive.file(&format!("modules/{name}"), 0o644, &content);
        order += &format!("{name}\n");
    }
    archive.file("modules/order", 0o644, order.as_bytes());
    Ok(archive.finish())
}

/// The initramfs that boot times are compared with: the program `init`
/// alone.
pub fn bare(init: &[u8]) -> Contents {
    let mut archive = Archive::new();
    archive.folders(&FOLDERS[..1]);
    archive.console();
    archive.file("init", 0o755, init);
    archive.finish()
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
