//! Builds what does not run on the host (eBPF object, i686 workload, static guest programs) from a
//! build script, and embeds it.
//!
//! [`detect`] is the one place that decides which compiler is used. Where there is none, an empty
//! stub is embedded together with the reason, so that `cargo check` works anywhere; a program with
//! a stub refuses to run.

mod detect;
mod nested;

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result};

/// Set to anything to embed stubs without looking for compilers: for editors, and to test the
/// stubs.
pub const STUB_ENV: &str = "SETTIME32_STUB";

/// Path of a workload that was built elsewhere (for example by `cross build`), taken instead of
/// building one.
pub const WORKLOAD_ENV: &str = "SETTIME32_WORKLOAD";

/// A program that is built by another cargo than the one that runs the build script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guest {
    /// An eBPF object, for `bpfel-unknown-none`.
    Ebpf {
        /// Package of the workspace.
        package: &'static str,
        /// Binary of that package, also the name of the embedded file.
        bin: &'static str,
    },
    /// The i686 workload, static.
    Workload,
    /// A host program that is linked statically, so that it runs in an empty initramfs.
    Static {
        /// Package of the workspace.
        package: &'static str,
        /// Binary of that package, also the name of the embedded file.
        bin: &'static str,
    },
}

impl Guest {
    fn package(self) -> &'static str {
        match self {
            Self::Workload => "settime32-workload",
            Self::Ebpf { package, .. } | Self::Static { package, .. } => package,
        }
    }

    fn bin(self) -> &'static str {
        match self {
            Self::Workload => self.package(),
            Self::Ebpf { bin, .. } | Self::Static { bin, .. } => bin,
        }
    }

    /// Folders of the workspace that the program is made from.
    fn sources(self) -> &'static [&'static str] {
        match self {
            Self::Ebpf { .. } => &["tracer-ebpf", "harness/mutants/src", "abi"],
            Self::Workload => &["workload-i686", "abi"],
            Self::Static { .. } => &[
                "tracer",
                "tracer-ebpf",
                "harness/agent",
                "harness/empty-probes",
                "harness/mutants",
                "workload-i686",
                "abi",
            ],
        }
    }
}

/// Builds `guest` and puts it into `OUT_DIR` under its binary's name, to be taken by
/// `include_bytes!`.
///
/// An empty file is a stub; `SETTIME32_STUB_REASON_<BIN>` (upper case, `_` for `-`) then says why,
/// as a compile-time environment variable. Fails only when a compiler was found and could not
/// compile.
pub fn embed(guest: Guest) -> Result<()> {
    let out_dir = PathBuf::from(
        env::var_os("OUT_DIR").context("OUT_DIR is not set: embed() runs in build scripts only")?,
    );
    let workspace = workspace_root()?;
    let embedded = out_dir.join(guest.bin());
    for folder in guest.sources().iter().chain(&["ci/toolchain", "Cargo.toml", "Cargo.lock"]) {
        println!("cargo::rerun-if-changed={}", workspace.join(folder).display());
    }
    for variable in [STUB_ENV, WORKLOAD_ENV, "PATH"] {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    match detect::detect(guest) {
        Ok(toolchain) => {
            let program =
                nested::build(guest, &toolchain, &workspace, &nested_target_dir(&out_dir))?;
            fs::copy(&program, &embedded).with_context(|| {
                format!("failed to copy {} to {}", program.display(), embedded.display())
            })?;
        }
        Err(reason) => {
            fs::write(&embedded, [])
                .with_context(|| format!("failed to write {}", embedded.display()))?;
            let name = guest.bin().to_uppercase().replace('-', "_");
            println!("cargo::rustc-env=SETTIME32_STUB_REASON_{name}={reason}");
            println!("cargo::warning=an empty stub stands in for {}: {reason}", guest.bin());
            // A path that never exists makes cargo look again at the next build, when a compiler
            // may be there.
            println!(
                "cargo::rerun-if-changed={}",
                out_dir.join("look-for-a-compiler-again").display()
            );
        }
    }
    Ok(())
}

/// The workspace's folder: the nearest one above the package that has a `Cargo.lock`.
fn workspace_root() -> Result<PathBuf> {
    let package =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").context("CARGO_MANIFEST_DIR is not set")?);
    let root = package
        .ancestors()
        .find(|folder| folder.join("Cargo.lock").exists() && folder.join("tracer-ebpf").exists());
    root.map(Path::to_path_buf).with_context(|| format!("no workspace above {}", package.display()))
}

/// Where nested builds put their output: one place for all profiles, since it costs most of a
/// minute to fill.
fn nested_target_dir(out_dir: &Path) -> PathBuf {
    if let Some(outer) = env::var_os(nested::TARGET_DIR_ENV) {
        return PathBuf::from(outer);
    }
    let target =
        out_dir.ancestors().find(|folder| folder.join("CACHEDIR.TAG").exists()).unwrap_or(out_dir);
    target.join("guest")
}
