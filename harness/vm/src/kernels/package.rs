//! Takes out of a kernel package what a guest needs: the image, and the modules of the
//! virtio-serial port where the kernel has them as modules.

use std::collections::HashMap;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::catalog::Entry;
use super::record::{FileRecord, IMAGE};
use crate::cache;
use crate::failure::HostError;

/// Modules that bring the port up, and with them what they depend on.
const WANTED: [&str; 2] = ["virtio_pci", "virtio_console"];

/// Unpacks `deb` into `scratch/kernel`; the image comes first, the modules in the order of loading.
pub(super) fn unpack(
    entry: &Entry,
    deb: &Path,
    scratch: &Path,
) -> Result<Vec<FileRecord>, HostError> {
    let fail = |reason: String| HostError::KernelFetch { name: entry.name.clone(), reason };
    let wanted = contents(deb)
        .map_err(|error| fail(format!("failed to unpack {}: {error}", deb.display())))?;
    let image = wanted.image.ok_or_else(|| fail(format!("{} holds no vmlinuz", deb.display())))?;
    let mut files = vec![(IMAGE.to_string(), image)];
    for path in load_order(&wanted.dependencies) {
        let name = path.rsplit('/').next().expect("rsplit gives at least one part");
        let content = wanted
            .modules
            .get(&path)
            .ok_or_else(|| fail(format!("{} lists {path} and does not hold it", deb.display())))?;
        files.push((name.to_string(), content.clone()));
    }
    let folder = scratch.join("kernel");
    let mut records = Vec::new();
    for (name, content) in files {
        cache::write_whole(&folder.join(&name), &content)?;
        records.push(FileRecord { name, sha256: cache::sha256(&content) });
    }
    Ok(records)
}

#[derive(Default)]
struct Contents {
    image: Option<Vec<u8>>,
    /// By path below the modules' folder.
    modules: HashMap<String, Vec<u8>>,
    /// Path of each module and, after it, those it needs.
    dependencies: Vec<Vec<String>>,
}

/// One pass over the package's files.
fn contents(deb: &Path) -> std::io::Result<Contents> {
    let mut dpkg = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stream = dpkg.stdout.take().expect("stdout is piped");
    let mut found = Contents::default();
    let mut archive = tar::Archive::new(BufReader::new(stream));
    for file in archive.entries()? {
        let mut file = file?;
        let path: PathBuf = file.path()?.into_owned();
        let text =
            path.to_string_lossy().trim_start_matches("./").trim_start_matches("usr/").to_string();
        let mut read = || -> std::io::Result<Vec<u8>> {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            Ok(content)
        };
        if is_image(&text) {
            found.image = Some(read()?);
        } else if let Some((_, below)) =
            text.strip_prefix("lib/modules/").and_then(|rest| rest.split_once('/'))
        {
            if below == "modules.dep" {
                found.dependencies = parse_dependencies(&String::from_utf8_lossy(&read()?));
            } else if below.starts_with("kernel/drivers/virtio/")
                || below.starts_with("kernel/drivers/char/virtio_console.ko")
            {
                let (name, content) = uncompressed(below, read()?)?;
                found.modules.insert(name, content);
            }
        }
    }
    // dpkg-deb would wait for the padding behind the archive to be read.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink())?;
    let status = dpkg.wait()?;
    if !status.success() {
        return Err(std::io::Error::other(format!("dpkg-deb ended with {status}")));
    }
    if found.dependencies.is_empty() {
        // Debian's packages carry no modules.dep (it is made when they are installed): the order
        // follows from what the modules themselves say they need.
        found.dependencies = found
            .modules
            .iter()
            .map(|(path, content)| depends(path, content, &found.modules))
            .collect();
    }
    Ok(found)
}

/// Where the image is; in packages since 7.x it lies among the modules.
fn is_image(path: &str) -> bool {
    path.starts_with("boot/vmlinuz-")
        || (path.starts_with("lib/modules/") && path.ends_with("/vmlinuz"))
}

/// A module as the guest's agent loads it.
fn uncompressed(name: &str, content: Vec<u8>) -> std::io::Result<(String, Vec<u8>)> {
    let Some(plain) = name.strip_suffix(".xz") else { return Ok((name.to_string(), content)) };
    let mut unpacked = Vec::new();
    lzma_rs::xz_decompress(&mut content.as_slice(), &mut unpacked)
        .map_err(|error| std::io::Error::other(format!("{name}: {error:?}")))?;
    Ok((plain.to_string(), unpacked))
}

/// Lines of `modules.dep`: a module, a colon, and what it needs.
fn parse_dependencies(text: &str) -> Vec<Vec<String>> {
    let line = |line: &str| line.replace(':', " ").split_whitespace().map(str::to_string).collect();
    text.lines().map(line).collect()
}

/// A module and what its `.modinfo` says it depends on.
fn depends(path: &str, content: &[u8], modules: &HashMap<String, Vec<u8>>) -> Vec<String> {
    let key = b"\0depends=";
    let at = content.windows(key.len()).position(|window| window == key).map(|at| at + key.len());
    let value = at
        .map(|at| content[at..].split(|byte| *byte == 0).next().unwrap_or_default())
        .unwrap_or_default();
    let names = String::from_utf8_lossy(value).into_owned();
    let path_of = |name: &str| {
        modules.keys().find(|other| module_name(other) == name.replace('-', "_")).cloned()
    };
    [path.to_string()]
        .into_iter()
        .chain(names.split(',').filter(|name| !name.is_empty()).filter_map(path_of))
        .collect()
}

/// `kernel/drivers/virtio/virtio_pci.ko` → `virtio_pci`.
fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

/// The wanted modules, each after what it needs; those that are built in are not listed and left
/// out.
fn load_order(dependencies: &[Vec<String>]) -> Vec<String> {
    fn add(name: &str, dependencies: &[Vec<String>], order: &mut Vec<String>) {
        let Some(line) = dependencies
            .iter()
            .find(|line| line.first().is_some_and(|path| module_name(path) == name))
        else {
            return;
        };
        if order.contains(&line[0]) {
            return;
        }
        for needed in &line[1..] {
            add(&module_name(needed), dependencies, order);
        }
        order.push(line[0].clone());
    }
    let mut order = Vec::new();
    for name in WANTED {
        add(name, dependencies, &mut order);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_are_loaded_after_what_they_need() {
        let text = "a/virtio_pci.ko: a/virtio_ring.ko a/virtio.ko\na/virtio_ring.ko: a/virtio.ko\na/virtio.ko:\na/other.ko:\n";
        assert_eq!(
            load_order(&parse_dependencies(text)),
            ["a/virtio.ko", "a/virtio_ring.ko", "a/virtio_pci.ko"]
        );
        assert!(load_order(&[]).is_empty(), "a kernel with everything built in needs no modules");
    }

    #[test]
    fn the_image_is_found_in_old_and_new_packages() {
        assert!(
            is_image("boot/vmlinuz-6.12.1-cloud-amd64")
                && is_image("lib/modules/7.3.4-cloud-amd64/vmlinuz")
        );
        assert!(
            !is_image("boot/config-6.12.1-cloud-amd64")
                && !is_image("lib/modules/7.3.4-cloud-amd64/vmlinuz.ko")
        );
    }

    #[test]
    fn a_module_says_what_it_needs() {
        let modules = HashMap::from([
            ("a/virtio-ring.ko".to_string(), Vec::new()),
            ("a/virtio_pci.ko".to_string(), Vec::new()),
        ]);
        let content = b"license=GPL\0depends=virtio_ring,not_there\0name=virtio_pci\0";
        assert_eq!(
            depends("a/virtio_pci.ko", content, &modules),
            ["a/virtio_pci.ko", "a/virtio-ring.ko"]
        );
    }
}
