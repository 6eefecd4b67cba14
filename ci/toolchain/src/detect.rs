//! Which compiler builds a guest program on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use crate::{Guest, STUB_ENV, WORKLOAD_ENV};

/// A way to build one guest program.
#[derive(Debug)]
pub(crate) enum Toolchain {
    /// Run this cargo.
    Cargo {
        /// Program and first arguments (`rustup run nightly cargo`).
        command: Vec<PathBuf>,
        /// Target triple.
        target: &'static str,
        /// `-Zbuild-std=…` where the standard library is not prebuilt.
        build_std: Option<&'static str>,
        /// The compiler is a stable one that must be told to allow unstable options.
        bootstrap: bool,
        /// bpf-linker, for eBPF.
        linker: Option<PathBuf>,
    },
    /// Take this file.
    Prebuilt(PathBuf),
}

/// The toolchain for `guest`, or why there is none and what to do about it.
pub(crate) fn detect(guest: Guest) -> Result<Toolchain, String> {
    if env::var_os(STUB_ENV).is_some() {
        return Err(format!("{STUB_ENV} is set"));
    }
    match guest {
        Guest::Ebpf { .. } => ebpf(),
        Guest::Workload => workload(),
        // They would be built, with a stub inside.
        Guest::Static {
            package: "settime32-tracer" | "settime32-empty-probes" | "settime32-mutant",
            ..
        } => ebpf().and_then(|_| static_program()),
        Guest::Static { .. } => static_program(),
    }
}

/// The host's own compiler, and the static half of the C library.
fn static_program() -> Result<Toolchain, String> {
    let libc = Command::new("cc").arg("-print-file-name=libc.a").output();
    if !libc
        .is_ok_and(|output| Path::new(String::from_utf8_lossy(&output.stdout).trim()).is_absolute())
    {
        return Err("no static C library to link with; run ci/setup (Debian: libc6-dev)".into());
    }
    Ok(Toolchain::Cargo {
        command: vec![env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)],
        target: "x86_64-unknown-linux-gnu",
        build_std: None,
        bootstrap: false,
        linker: None,
    })
}

/// Debian's `rustc-web` has a prebuilt `core` for BPF; elsewhere a nightly with `rust-src` builds
/// it.
fn ebpf() -> Result<Toolchain, String> {
    let target = "bpfel-unknown-none";
    let linker = Some(
        bpf_linker().ok_or("bpf-linker is missing; run ci/setup, or `cargo install bpf-linker`")?,
    );
    if debian_has("bpfel-unknown-none") {
        return Ok(Toolchain::Cargo {
            command: debian_cargo(),
            target,
            build_std: None,
            bootstrap: true,
            linker,
        });
    }
    if nightly_with_sources() {
        return Ok(Toolchain::Cargo {
            command: nightly_cargo(),
            target,
            build_std: Some("core"),
            bootstrap: false,
            linker,
        });
    }
    Err("no compiler for BPF; run ci/setup (Debian), or `rustup toolchain install nightly -c rust-src`".into())
}

/// A rustup target where there is one, else std built from sources: Debian's, or a nightly's.
fn workload() -> Result<Toolchain, String> {
    let (std, gnu) = (Some("std,panic_abort"), "i686-unknown-linux-gnu");
    if let Some(path) = env::var_os(WORKLOAD_ENV) {
        return Ok(Toolchain::Prebuilt(path.into()));
    }
    if sysroot(&["rustc"])
        .is_some_and(|root| root.join("lib/rustlib/i686-unknown-linux-musl/lib").exists())
    {
        let command = vec![env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)];
        return Ok(Toolchain::Cargo {
            command,
            target: "i686-unknown-linux-musl",
            build_std: None,
            bootstrap: false,
            linker: None,
        });
    }
    if !has_gcc_multilib() {
        return Err("no 32-bit C library to link with; run ci/setup (Debian), or `rustup target add i686-unknown-linux-musl`".into());
    }
    if debian_has("src/rust/library/std") {
        return Ok(Toolchain::Cargo {
            command: debian_cargo(),
            target: gnu,
            build_std: std,
            bootstrap: true,
            linker: None,
        });
    }
    if nightly_with_sources() {
        return Ok(Toolchain::Cargo {
            command: nightly_cargo(),
            target: gnu,
            build_std: std,
            bootstrap: false,
            linker: None,
        });
    }
    Err("no compiler for i686; run ci/setup (Debian), or `rustup target add i686-unknown-linux-musl`, or set SETTIME32_WORKLOAD to a binary that `cross build` made".into())
}

fn debian_cargo() -> Vec<PathBuf> {
    vec!["/usr/bin/cargo".into()]
}

fn nightly_cargo() -> Vec<PathBuf> {
    ["rustup", "run", "nightly", "cargo"].map(PathBuf::from).into()
}

fn debian_has(part: &str) -> bool {
    ["/usr/bin/cargo", "/usr/bin/rustc"].iter().all(|program| Path::new(program).exists())
        && Path::new("/usr/lib/rustlib").join(part).exists()
}

fn nightly_with_sources() -> bool {
    sysroot(&["rustup", "run", "nightly", "rustc"])
        .is_some_and(|root| root.join("lib/rustlib/src/rust/library/core").exists())
}

fn sysroot(rustc: &[&str]) -> Option<PathBuf> {
    let output =
        Command::new(rustc[0]).args(&rustc[1..]).args(["--print", "sysroot"]).output().ok()?;
    output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// gcc puts its 32-bit half into a folder `32` beside its own files.
fn has_gcc_multilib() -> bool {
    let versions = fs::read_dir("/usr/lib/gcc/x86_64-linux-gnu").into_iter().flatten().flatten();
    versions.into_iter().any(|version| version.path().join("32/crtbegin.o").exists())
}

/// bpf-linker where ci/setup puts it, else on the PATH.
fn bpf_linker() -> Option<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cache")))?;
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = [cache.join("settime32/tools/bin")].into_iter().chain(env::split_paths(&path));
    folders.map(|folder| folder.join("bpf-linker")).find(|file| file.is_file())
}
