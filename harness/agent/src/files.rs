//! Writes and reads files for the harness, those that are no regular files (`/proc`, `/sys`) among
//! them.

use std::fs::{File, OpenOptions, Permissions, create_dir_all};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use settime32_abi::frame::MAX_FRAME_LEN;

/// Room that a frame needs beside the content of a file.
const FRAME_OVERHEAD: usize = 1 << 12;

/// The longest file that is sent.
const MAX_FILE_LEN: usize = MAX_FRAME_LEN - FRAME_OVERHEAD;

/// Does a `Put`: a file that exists is written in place, so that settings of the kernel can be put
/// too.
pub(crate) fn put(path: &str, mode: u32, content: &[u8]) -> Result<()> {
    write(path, mode, content).with_context(|| format!("failed to put {path}"))
}

fn write(path: &str, mode: u32, content: &[u8]) -> Result<()> {
    ensure!(path.starts_with('/'), "the path is not absolute");
    if let Some(folder) = Path::new(path).parent() {
        create_dir_all(folder).context("failed to make its folder")?;
    }
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
    file.write_all(content)?;
    // The umask may have taken bits away, and a file that was there has its own.
    if file.metadata()?.permissions().mode() & 0o7777 != mode {
        file.set_permissions(Permissions::from_mode(mode)).context("failed to set its mode")?;
    }
    Ok(())
}

/// Does a `Get`: the whole content.
pub(crate) fn get(path: &str) -> Result<Vec<u8>> {
    read(path).with_context(|| format!("failed to get {path}"))
}

fn read(path: &str) -> Result<Vec<u8>> {
    ensure!(
        path.starts_with('/') && path.len() < FRAME_OVERHEAD / 2,
        "the path is not absolute, or too long"
    );
    let file = File::open(path)?;
    // The length is a hint only: files of /proc say 0.
    let mut content = Vec::with_capacity(
        usize::try_from(file.metadata()?.len()).unwrap_or(0).min(MAX_FILE_LEN) + 1,
    );
    file.take(MAX_FILE_LEN as u64 + 1).read_to_end(&mut content)?;
    ensure!(
        content.len() <= MAX_FILE_LEN,
        "it is longer than the {MAX_FILE_LEN} bytes that fit into a frame"
    );
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of this test's own, removed at the end.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("settime32-agent-{name}-{}", std::process::id()));
            create_dir_all(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_file_put_is_got_with_its_mode_and_new_folders() {
        let folder = Folder::new("put");
        let path = folder.file("a/b/c");
        put(&path, 0o666, b"one, longer").unwrap();
        put(&path, 0o751, b"two").unwrap();
        assert_eq!(get(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o751);
    }

    #[test]
    fn a_file_without_a_length_is_read_whole() {
        assert!(get("/proc/self/status").unwrap().starts_with(b"Name:"));
    }

    #[test]
    fn failures_name_the_path_and_the_cause() {
        let folder = Folder::new("fail");
        let missing = folder.file("missing");
        let message = |result: Result<()>| format!("{:#}", result.unwrap_err());
        assert_eq!(
            message(get(&missing).map(drop)),
            format!("failed to get {missing}: No such file or directory (os error 2)")
        );
        assert_eq!(
            message(put("tmp/x", 0o644, b"")),
            "failed to put tmp/x: the path is not absolute"
        );
        put(&folder.file("file"), 0o644, b"").unwrap();
        assert!(
            message(put(&folder.file("file/below"), 0o644, b""))
                .contains("failed to make its folder")
        );
    }
}
