//! Makes the files, folders and links that the harness sends, in the order in which they come.

use std::fs::{OpenOptions, Permissions, create_dir, set_permissions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};

use anyhow::{Context, Result};
use settime32_abi::frame::Node;

/// Makes all of them, or fails at the first that cannot be made.
pub(crate) fn lay(nodes: &[Node]) -> Result<()> {
    nodes.iter().try_for_each(|node| match node {
        Node::Folder { path, mode } => {
            folder(path, *mode).with_context(|| format!("failed to make the folder {path}"))
        }
        Node::Link { path, target } => {
            symlink(target, path).with_context(|| format!("failed to make the link {path}"))
        }
        Node::Piece { path, mode, offset, content } => piece(path, *mode, *offset, content)
            .with_context(|| {
                format!("failed to write {path}; is there memory for it (`--memory`)?")
            }),
    })
}

fn folder(path: &str, mode: u32) -> Result<()> {
    match create_dir(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    Ok(set_permissions(path, Permissions::from_mode(mode))?)
}

fn piece(path: &str, mode: u32, offset: u64, content: &[u8]) -> Result<()> {
    let first = offset == 0;
    let file =
        OpenOptions::new().write(true).create(first).truncate(first).mode(mode).open(path)?;
    file.write_all_at(content, offset)?;
    if first {
        // The umask may have taken bits away.
        file.set_permissions(Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_is_sent_in_pieces_is_made_whole() {
        let root = std::env::temp_dir().join(format!("settime32-agent-lay-{}", std::process::id()));
        create_dir(&root).unwrap();
        let at = |name: &str| root.join(name).to_str().unwrap().to_owned();
        let piece = |offset, content: &[u8]| Node::Piece {
            path: at("sub/file"),
            mode: 0o467,
            offset,
            content: content.into(),
        };
        let folder = Node::Folder { path: at("sub"), mode: 0o711 };
        let link = Node::Link { path: at("link"), target: "sub/file".into() };
        lay(&[folder.clone(), folder, piece(0, b"older and longer"), piece(0, b"new "), link])
            .unwrap();
        lay(&[piece(4, b"and more")]).unwrap();
        assert_eq!(fs::read_to_string(at("link")).unwrap(), "new and more");
        let mode = |name: &str| fs::metadata(at(name)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("sub"), mode("sub/file")), (0o711, 0o467));
        let error = format!(
            "{:#}",
            lay(&[Node::Folder { path: at("none/sub"), mode: 0o755 }]).unwrap_err()
        );
        assert!(error.contains("none/sub: No such file"), "{error}");
        fs::remove_dir_all(&root).unwrap();
    }
}
