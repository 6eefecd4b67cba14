//! `compare`, as somebody would use it who has a tracer of their own: a shell script, judged by a
//! TOML file alone. Declared by the package `settime32-harness`, whose program it runs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use serde_json::Value;

const SCRIPT: &str = r"#!/bin/sh
cd /sys/kernel/tracing || exit 1
echo 'p:settime __ia32_sys_timerfd_settime32 ufd=+40(%di):s32 flags=+88(%di):s32' > kprobe_events || exit 1
echo 1 > events/kprobes/settime/enable
echo ready >&2
exec cat trace_pipe
";

const DEFINITION: &str = r#"
name = "my-tracer"
about = "echo and cat"
start = { command = ["./my-tracer.sh"], ready = "^ready$" }
stop = { quiet_ms = 500 }
output = { from = "stdout" }
needs = { programs = ["cat"] }
[reader]
format = "regex"
claims = ["tid", "ufd", "flags"]
lines = [{ pattern = '-(?<tid>\d+) .* (?<order>[\d.]+): settime: .* ufd=(?<ufd>-?\d+) flags=(?<flags>-?\d+)' }]
"#;

/// Of generated calls and a few cases, without the cost.
const QUICK: &str = "--case flags/each-bit --case threads/several --calls 1000 --cost-calls 0";

/// Exit code and scoreboard of this script, read by this definition.
fn compare(script: &str, definition: &str, arguments: &str) -> (i32, Value) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("my-tracer.sh"), script).unwrap();
    fs::set_permissions(at("my-tracer.sh"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(at("my-tracer.toml"), definition).unwrap();
    run(&format!("--tracer {} {arguments}", at("my-tracer.toml").display()))
}

fn run(arguments: &str) -> (i32, Value) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_settime32-harness"));
    let output = command.arg("compare").args(arguments.split(' ')).arg("--json").output().unwrap();
    let board = serde_json::from_slice(&output.stdout);
    let board = board.unwrap_or_else(|error| {
        panic!("no scoreboard ({error}): {}", String::from_utf8_lossy(&output.stderr))
    });
    (output.status.code().expect("it is not killed"), board)
}

fn fact<'a>(row: &'a Value, name: &str) -> &'a Value {
    row["facts"].as_array().unwrap().iter().find(|fact| fact["fact"] == name).unwrap()
}

fn number(row: &Value, of: &str) -> u64 {
    row[of].as_u64().unwrap()
}

#[test]
fn a_strangers_script_is_judged_by_its_definition() {
    let (code, board) = compare(SCRIPT, DEFINITION, QUICK);
    let row = &board["rows"][0];
    assert_eq!((code, row["verdict"].as_str()), (0, Some("pass")), "{row:#}");
    let calls = number(&board, "calls");
    assert!(calls > 1000 && number(row, "events") == calls);
    for name in ["tid", "ufd", "flags"] {
        assert_eq!(
            (fact(row, name)["right"].as_u64(), fact(row, name)["claimed"].as_bool()),
            (Some(calls), Some(true))
        );
    }
    let other = fact(row, "utmr");
    assert_eq!(
        (other["claimed"].as_bool(), other["right"].as_u64(), other["wrong"].as_u64()),
        (Some(false), Some(0), Some(0))
    );
}

#[test]
fn a_wrong_fact_is_shown_with_the_call_and_the_tools_own_words() {
    // `cat` comes with all of its package this time.
    let definition = DEFINITION.replace(r#"programs = ["cat"]"#, r#"packages = ["coreutils"]"#);
    let (code, board) =
        compare(&SCRIPT.replace("flags=+88(%di):s32", "flags=+88(%di):u8"), &definition, QUICK);
    let row = &board["rows"][0];
    assert_eq!((code, row["verdict"].as_str()), (1, Some("violation")));
    assert_eq!(fact(row, "ufd")["right"], board["calls"]);
    let flags = fact(row, "flags");
    assert!(flags["wrong"].as_u64() > Some(0) && flags["right"].as_u64() > Some(0), "{flags:#}");
    let first = &flags["first"];
    let text = |of: &str| first[of].as_str().unwrap_or_default().to_owned();
    assert!(text("fault").contains("flags must be 0x"), "{first:#}");
    assert!(
        text("asked").contains("timerfd_settime32(slot") && text("lines").contains("settime: ("),
        "{first:#}"
    );
    // The command that is printed shows it again, and less.
    let again = text("again");
    let words: Vec<&str> = again.split(' ').skip_while(|word| *word != "--kernel").collect();
    let (code, board) = compare(
        &SCRIPT.replace("flags=+88(%di):s32", "flags=+88(%di):u8"),
        DEFINITION,
        &words.join(" "),
    );
    assert_eq!((code, &fact(&board["rows"][0], "flags")["first"]["fault"]), (1, &first["fault"]));
    assert!(number(&board, "calls") < number(row, "events"));
}

#[test]
fn events_that_are_lost_without_a_word_are_counted() {
    let filter = "echo 'ufd != 3' > events/kprobes/settime/filter\necho ready";
    let (code, board) = compare(&SCRIPT.replace("echo ready", filter), DEFINITION, QUICK);
    let row = &board["rows"][0];
    assert_eq!(code, 1);
    assert!(number(row, "lost_silently") > 0, "{row:#}");
    assert_eq!(number(row, "lost_silently") + number(row, "events"), number(&board, "calls"));
    assert_eq!((number(row, "lost_counted"), number(row, "invented")), (0, 0));
    assert_eq!(fact(row, "flags")["wrong"], 0);
}

#[test]
fn a_line_that_cannot_be_read_is_never_a_pass() {
    let mark = "echo ready >&2\necho something else > trace_marker";
    let (code, board) = compare(&SCRIPT.replace("echo ready >&2", mark), DEFINITION, QUICK);
    let row = &board["rows"][0];
    assert_eq!((code, number(row, "unreadable_lines")), (1, 1), "{row:#}");
    assert_eq!(fact(row, "flags")["right"], board["calls"], "all else was right");
    let told = row["first"]
        .as_array()
        .unwrap()
        .iter()
        .any(|shown| shown["fault"].as_str().unwrap().contains("something else"));
    assert!(told, "{row:#}");
}

#[test]
fn a_tool_that_cannot_start_says_why_in_its_own_words() {
    let (code, board) = compare(
        &SCRIPT.replace("__ia32_sys_timerfd_settime32", "no_such_function"),
        DEFINITION,
        QUICK,
    );
    let row = &board["rows"][0];
    assert_eq!((code, row["verdict"].as_str()), (6, Some("infrastructure")), "{row:#}");
    let why = row["not_run"].as_str().unwrap();
    assert!(why.contains("exit code") && why.contains("my-tracer.sh"), "{why}");
    let (code, board) =
        compare(SCRIPT, &DEFINITION.replace(r#"["cat"]"#, r#"["cat", "no-such-tool"]"#), QUICK);
    assert_eq!(code, 6);
    assert!(
        board["rows"][0]["not_run"]
            .as_str()
            .unwrap()
            .contains("failed to find the program no-such-tool")
    );
    let (code, board) = compare(
        SCRIPT,
        &DEFINITION.replace(r#"programs = ["cat"]"#, r#"packages = ["no-such-package"]"#),
        QUICK,
    );
    assert_eq!(code, 6);
    assert!(
        board["rows"][0]["not_run"].as_str().unwrap().contains("apt-get install no-such-package")
    );
}

#[test]
fn a_definition_that_claims_what_it_cannot_tell_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.toml");
    fs::write(&file, DEFINITION.replace(r#""flags"]"#, r#""flags", "ret"]"#)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_settime32-harness"));
    let refused = command.arg("compare").arg("--tracer").arg(&file).assert().code(2);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains("mine.toml") && said.contains("reader.claims has `ret`"), "{said}");
    let nothing = Command::new(env!("CARGO_BIN_EXE_settime32-harness"))
        .args(["compare", "--plan", "1000"])
        .assert()
        .code(2);
    assert!(
        String::from_utf8_lossy(&nothing.get_output().stderr).contains("no plan has that number")
    );
}

#[test]
fn this_projects_tracers_are_right_about_all_that_they_claim_and_cost_the_same_twice() {
    let folder = tempfile::tempdir().unwrap();
    let page = folder.path().join("board.html");
    let of = |calls: u64| {
        format!(
            "--tracer settime32-kprobe --tracer settime32-fentry --calls {calls} --cost-calls 200 --html {}",
            page.display()
        )
    };
    let costs = |(code, board): &(i32, Value)| {
        let rows = board["rows"].as_array().unwrap();
        assert_eq!((*code, rows.len()), (0, 2), "{board:#}");
        for row in rows {
            let claimed: Vec<&Value> = row["facts"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|fact| fact["claimed"] == true)
                .collect();
            assert!(
                claimed.len() > 18 && claimed.iter().all(|fact| fact["right"] == board["calls"]),
                "{row:#}"
            );
        }
        rows.iter().map(|row| row["cost"]["instructions"].as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let first = costs(&run(&of(1000)));
    assert!(page_is_whole(&page));
    for (one, other) in first.iter().zip(costs(&run(&of(500)))) {
        assert!(*one > 0.0 && (one - other).abs() <= one / 100.0, "{one} and {other}");
    }
}

/// By kprobe, the kernel has room for the returns of fewer threads than are inside of the call at
/// once here.
#[test]
fn results_that_a_tracer_says_it_lost_are_neither_right_nor_wrong() {
    let (code, board) =
        run("--tracer settime32-kprobe --case pointers/held-by-many --calls 0 --cost-calls 0");
    let row = &board["rows"][0];
    assert_eq!((code, row["verdict"].as_str()), (3, Some("inconclusive")), "{row:#}");
    let (ret, ufd) = (fact(row, "ret"), fact(row, "ufd"));
    assert!(number(ret, "not_reported") > 0, "{row:#}");
    assert_eq!(number(ret, "right") + number(ret, "not_reported"), number(&board, "calls"));
    assert_eq!((number(ret, "wrong"), &ufd["right"]), (0, &board["calls"]));
}

/// Of one file: it loads nothing from elsewhere.
fn page_is_whole(page: &Path) -> bool {
    let text = fs::read_to_string(page).unwrap();
    ["<svg", "settime32-kprobe", "settime32-fentry", "</html>"]
        .iter()
        .all(|part| text.contains(part))
        && !text.contains("src=")
        && !text.contains("href=")
}
