//! The running kernel in place of a guest: the agent as a process of this machine, and the programs
//! in a folder of their own. What would end or break a machine the agent does not do here.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::initramfs::{AGENT_PATH, GuestPrograms};
use super::scratch::{QEMU_STDERR, Scratch};
use crate::failure::HostError;

/// The agent's process. It ends what it started when it ends, and it ends when its socket closes,
/// which happens however this process ends.
#[derive(Debug)]
pub(super) struct LocalAgent {
    child: Child,
    folder: PathBuf,
}

impl LocalAgent {
    /// Starts it, and gives our end of its socket. What it says is kept in `scratch` as QEMU's
    /// words are.
    pub(super) fn start(
        scratch: &Scratch,
        programs: &GuestPrograms,
    ) -> Result<(Self, UnixStream), HostError> {
        let folder = scratch.path().join("programs");
        fs::create_dir(&folder).map_err(HostError::file("create", &folder))?;
        for (path, content) in programs.all() {
            let path = local(&folder, path);
            fs::write(&path, content).map_err(HostError::file("write", &path))?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
                .map_err(HostError::file("set the mode of", &path))?;
        }
        let program = local(&folder, AGENT_PATH);
        let stderr = scratch.path().join(QEMU_STDERR);
        let stderr = File::create(&stderr).map_err(HostError::file("create", &stderr))?;
        let (ours, theirs) =
            UnixStream::pair().map_err(HostError::file("create a socket for", &program))?;
        let mut command = Command::new(&program);
        command.arg("serve").stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(stderr);
        let child = command
            .spawn()
            .map_err(HostError::file("start (TMPDIR must allow programs)", &program))?;
        Ok((Self { child, folder }, ours))
    }

    /// Where the program is that a guest would have at `path`.
    pub(super) fn program(&self, path: &str) -> PathBuf {
        local(&self.folder, path)
    }

    /// Its process.
    pub(super) fn child(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for LocalAgent {
    fn drop(&mut self) {
        // Both fail only when it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn local(folder: &Path, path: &str) -> PathBuf {
    folder.join(Path::new(path).file_name().expect("it is the path of a program"))
}
