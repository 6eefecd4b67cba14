//! Runs the other cargo.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::Guest;
use crate::detect::Toolchain;

/// Handed down to nested builds, so that all share one folder.
pub(crate) const TARGET_DIR_ENV: &str = "SETTIME32_GUEST_TARGET_DIR";

/// What the outer cargo sets for its own compiler and must not reach the nested one: clippy's
/// wrapper, the host's flags and folder, rustup's choice of toolchain.
const OUTER_ONLY: [&str; 14] = [
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_PROFILE_RELEASE_DEBUG",
    "CARGO_TARGET_DIR",
    "CARGO_UNSTABLE_BUILD_STD",
    "CLIPPY_ARGS",
    "RUSTC",
    "RUSTC_WORKSPACE_WRAPPER",
    "RUSTC_WRAPPER",
    "RUSTDOC",
    "RUSTFLAGS",
    "RUSTUP_TOOLCHAIN",
    "TARGET",
];

/// Builds `guest` and gives the path of the program.
pub(crate) fn build(
    guest: Guest,
    toolchain: &Toolchain,
    workspace: &Path,
    target_dir: &Path,
) -> Result<PathBuf> {
    let Toolchain::Cargo { command, target, build_std, bootstrap, linker } = toolchain else {
        let Toolchain::Prebuilt(path) = toolchain else { unreachable!("two kinds of toolchain") };
        return Ok(path.clone());
    };
    let profile = if matches!(guest, Guest::Ebpf { .. }) { "bpf" } else { "guest" };
    // A folder each, because cargo locks one while it builds and the static tracer's build script
    // builds eBPF.
    let own_target_dir = target_dir.join(match guest {
        Guest::Ebpf { .. } => "ebpf",
        Guest::Workload => "workload",
        Guest::Static { .. } => "static",
    });
    let mut cargo = Command::new(&command[0]);
    cargo.args(&command[1..]).arg("build").current_dir(workspace);
    cargo.args([
        "--package",
        guest.package(),
        "--bin",
        guest.bin(),
        "--profile",
        profile,
        "--target",
        target,
    ]);
    if let Some(parts) = build_std {
        // Without features std leaves out backtraces, which take a third of its time to build.
        cargo.arg(format!("-Zbuild-std={parts}")).arg("-Zbuild-std-features=");
    }
    for name in OUTER_ONLY {
        cargo.env_remove(name);
    }
    cargo.env("CARGO_TARGET_DIR", &own_target_dir).env(TARGET_DIR_ENV, target_dir);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", rustflags(guest, linker.as_deref()).join("\x1f"));
    if command[0].is_absolute() && *bootstrap {
        // Debian's cargo would take rustup's rustc from the PATH.
        cargo
            .env("RUSTC", "/usr/bin/rustc")
            .env("RUSTDOC", "/usr/bin/rustdoc")
            .env("RUSTC_BOOTSTRAP", "1");
    } else if let (Guest::Static { .. } | Guest::Workload, Some(rustc)) =
        (guest, env::var_os("RUSTC"))
    {
        cargo.env("RUSTC", rustc);
    }
    let output =
        cargo.output().with_context(|| format!("failed to start {}", command[0].display()))?;
    ensure!(
        output.status.success(),
        "failed to build {} with {} ({}):\n{}",
        guest.bin(),
        command.iter().map(|part| part.display().to_string()).collect::<Vec<_>>().join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(own_target_dir.join(target).join(profile).join(guest.bin()))
}

fn rustflags(guest: Guest, linker: Option<&Path>) -> Vec<String> {
    let flags: &[&str] = match guest {
        // --btf makes the linker write BTF, which it makes from the debug information. Without the
        // other linker option, LLVM zeroes even 16 bytes by calling a loop over bytes, which costs
        // every traced call dearly.
        Guest::Ebpf { .. } => &[
            "-Cdebuginfo=2",
            "-Clink-arg=--btf",
            "-Clink-arg=--disable-expand-memcpy-in-order",
            "--cfg=bpf_target_arch=\"x86_64\"",
        ],
        Guest::Workload => &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"],
        Guest::Static { .. } => &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"],
    };
    let linker = linker.map(|path| format!("-Clinker={}", path.display()));
    flags.iter().map(ToString::to_string).chain(linker).collect()
}
