//! Makes a guest that has booted fit for a program: mounts, the files that are carried, what must
//! not be written to. Everything goes over the agent's port, so that every guest of a kernel boots
//! from the same files.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use settime32_abi::frame::{Node, OWN_FOLDER, Reply, Request};
use settime32_vm::boot::{Deadline, MEMORY_MIB, Vm};
use settime32_vm::failure::{HostError, VmError};

use crate::carried::{Carried, Entry};
use crate::failure::RootfsError;

/// Bytes of files in a frame.
const FRAME_SIZE: usize = 1 << 20;
/// Frames that the agent has not answered yet: what bounds the memory that they need, here and
/// there.
const FRAMES_AHEAD: usize = 8;
/// What is carried before a guest gets more than the usual memory, MiB.
const CARRIED_MIB: u64 = 128;
/// By which memory grows, MiB, so that few sizes of guests are asked for.
const MEMORY_STEP_MIB: u64 = 256;

/// Files that programs look things up in, and their content in a guest.
const TEXTS: [(&str, &str); 6] = [
    (
        "/etc/passwd",
        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
    ),
    ("/etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\n"),
    ("/etc/shadow", "root:*:19000:0:99999:7:::\nnobody:*:19000:0:99999:7:::\n"),
    ("/etc/hosts", "127.0.0.1 localhost settime32\n::1 localhost\n"),
    ("/etc/hostname", "settime32\n"),
    (
        "/etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files\nservices: files\nprotocols: files\n",
    ),
];
/// Folders that are there on any machine.
const FOLDERS: [(&str, u32); 7] = [
    ("/etc", 0o755),
    ("/home", 0o755),
    ("/mnt", 0o755),
    ("/opt", 0o755),
    ("/root", 0o700),
    ("/srv", 0o755),
    ("/var/tmp", 0o1777),
];
/// What a system with one name for each folder has as links, where this one has them.
const LINKED_FOLDERS: [&str; 6] = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// What a guest is given.
#[derive(Clone, Debug, Default)]
pub struct Furniture {
    /// Its files.
    pub carried: Carried,
    /// Folders that cannot be written to.
    pub read_only: Vec<PathBuf>,
    /// Empty folders that can, below those.
    pub writable: Vec<PathBuf>,
}

impl Furniture {
    /// What every guest has.
    pub fn new() -> Result<Self, RootfsError> {
        let mut furniture = Self::default();
        let carried = &mut furniture.carried;
        FOLDERS.iter().for_each(|(path, mode)| carried.add_folder_with(Path::new(path), *mode));
        TEXTS.iter().for_each(|(path, content)| carried.add_text(Path::new(path), content));
        carried.add_link(Path::new("/etc/mtab"), "/proc/self/mounts");
        let links =
            LINKED_FOLDERS.iter().map(Path::new).filter(|path| path.is_symlink() && path.exists());
        links.into_iter().try_for_each(|path| carried.add(path))?;
        Ok(furniture)
    }

    /// Guest memory, MiB: files are in it, too.
    pub fn memory_mib(&self) -> u64 {
        let file = |entry: &Entry| {
            if let Entry::File(host) = entry {
                fs::metadata(host).map_or(0, |metadata| metadata.len())
            } else {
                0
            }
        };
        let carried_mib = self.carried.settled().values().map(file).sum::<u64>() >> 20;
        MEMORY_MIB + carried_mib.saturating_sub(CARRIED_MIB).next_multiple_of(MEMORY_STEP_MIB)
    }

    /// Puts it all into the guest.
    pub fn bring(&self, vm: &mut Vm, deadline: Deadline) -> Result<(), VmError> {
        let mut load = Load { vm, deadline, nodes: Vec::new(), size: 0, unanswered: 0 };
        load.send(Request::Furnish)?;
        for (path, entry) in self.carried.settled() {
            load.entry(&path, &entry)?;
        }
        load.flush()?;
        let texts = |paths: &[PathBuf]| paths.iter().map(|path| text(path)).collect();
        load.send(Request::Seal {
            read_only: texts(&self.read_only),
            writable: texts(&self.writable),
        })?;
        load.finish()
    }
}

/// What is under way to the agent.
struct Load<'a> {
    vm: &'a mut Vm,
    deadline: Deadline,
    nodes: Vec<Node>,
    size: usize,
    unanswered: usize,
}

impl Load<'_> {
    fn entry(&mut self, path: &Path, entry: &Entry) -> Result<(), VmError> {
        let path = text(path);
        match entry {
            Entry::Folder(mode) => self.add(Node::Folder { path, mode: *mode }, 0),
            Entry::Link(target) => self.add(Node::Link { path, target: text(target) }, 0),
            Entry::Text(content) => self.add(
                Node::Piece { path, mode: 0o644, offset: 0, content: (*content).into() },
                content.len(),
            ),
            Entry::File(host) => self.file(host, path),
        }
    }

    fn file(&mut self, host: &Path, path: String) -> Result<(), VmError> {
        let mut file = File::open(host).map_err(HostError::file("open", host))?;
        let mode =
            file.metadata().map_err(HostError::file("read", host))?.permissions().mode() & 0o7777;
        let mut offset = 0;
        loop {
            let mut content = Vec::new();
            let room = (FRAME_SIZE - self.size) as u64;
            let len = file
                .by_ref()
                .take(room)
                .read_to_end(&mut content)
                .map_err(HostError::file("read", host))?;
            if len > 0 || offset == 0 {
                self.add(Node::Piece { path: path.clone(), mode, offset, content }, len)?;
            }
            offset += len as u64;
            if (len as u64) < room {
                return Ok(());
            }
        }
    }

    fn add(&mut self, node: Node, size: usize) -> Result<(), VmError> {
        self.nodes.push(node);
        self.size += size;
        if self.size < FRAME_SIZE { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), VmError> {
        self.size = 0;
        let nodes = std::mem::take(&mut self.nodes);
        self.send(Request::Lay(nodes))
    }

    fn send(&mut self, request: Request) -> Result<(), VmError> {
        if self.unanswered == FRAMES_AHEAD {
            self.answer()?;
        }
        self.vm.send(&request);
        self.unanswered += 1;
        Ok(())
    }

    fn answer(&mut self) -> Result<(), VmError> {
        while self.vm.receive(self.deadline, "files are carried into the guest")? != Reply::Done {}
        self.unanswered -= 1;
        Ok(())
    }

    fn finish(mut self) -> Result<(), VmError> {
        while self.unanswered > 0 {
            self.answer()?;
        }
        Ok(())
    }
}

/// Where one of the guest's own programs is, once the guest was furnished.
pub fn own_program(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    format!("{OWN_FOLDER}/{name}")
}

/// Paths go as text, as all that the agent is told; others than UTF-8 are not in use where programs
/// are built.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
