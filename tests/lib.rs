//! Tests that need more than one stage; see the files beside this one.

use std::path::Path;
use std::process::Command;

/// A program of the C source of this name beside this file, made by the C compiler with these
/// options, statically linked.
///
/// # Panics
///
/// There is no compiler, or it refuses the source.
pub fn compiled(source: &str, options: &[&str]) -> Vec<u8> {
    let folder = tempfile::tempdir().expect("there is room for a program");
    let program = folder.path().join("program");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
    let usual = ["-static", "-O1", "-Wall", "-Werror"];
    let built = Command::new("gcc")
        .args(usual)
        .args(options)
        .arg("-o")
        .arg(&program)
        .arg(source)
        .output()
        .expect("ci/setup installs gcc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    std::fs::read(program).expect("the compiler says that it made the program")
}
