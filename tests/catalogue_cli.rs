//! The whole catalogue on two kernels, in either way to attach, run as a user would: every case
//! passes and says how many calls it checked. Declared by the package `settime32-harness`, whose
//! program it runs.

use assert_cmd::Command;
use rstest::rstest;
use serde_json::Value;

fn report_of(arguments: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_settime32-harness"))
        .args(["verify", "--json"])
        .args(arguments)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout);
    report.unwrap_or_else(|error| {
        panic!("no report ({error}): {}", String::from_utf8_lossy(&output.stderr))
    })
}

#[rstest]
#[case("6.1", "kprobe")]
#[case("6.12", "fentry")]
fn every_case_of_the_catalogue_passes(#[case] kernel: &str, #[case] attach: &str) {
    let report = report_of(&["--catalogue", "--kernel", kernel, "--attach", attach]);
    let cases = report["cases"].as_array().unwrap();
    let failed: Vec<&Value> = cases.iter().filter(|case| case["verdict"] != "pass").collect();
    assert!(failed.is_empty(), "{failed:#?}\n{:#?}\nseed {}", report["findings"], report["seed"]);
    assert_eq!(report["verdict"], "pass", "{report:#}");
    assert!(cases.iter().all(|case| case["checked"].as_u64().unwrap() > 0), "{cases:#?}");
}

/// 1,000 on purpose: the probe reads the value's half before it is rewritten, the kernel after.
#[test]
fn every_change_on_purpose_is_flagged() {
    let report = report_of(&["--case", "threads/toctou-on-purpose", "--seed", "7"]);
    assert_eq!(report["verdict"], "pass", "{report:#}");
    assert_eq!(report["cases"][0]["toctou"], 1000, "{report:#}");
}
