//! `settime32-tracer lateness` on a program that measures its own timers: what the tracer says of
//! each firing must agree with what the program saw, as far as the program can know it. Nothing
//! here says how late a timer may be.

use std::time::Duration;

use rstest::rstest;
use serde_json::Value;
use settime32_abi::frame::Exit;
use settime32_harness::boot::Deadline;
use settime32_harness::embedded::TRACER_PATH;
use settime32_harness::programs::{Programs, Ran};
use settime32_harness::verify::Setup;
use settime32_tests::compiled;

const METRONOME: &str = "/tmp/metronome";
const MEASURED: &str = "/tmp/measured";
/// Readings that the program makes.
const READINGS: &str = "400";

/// What the program knows of one firing: nanoseconds of `CLOCK_MONOTONIC`, which no suspend made
/// differ from `CLOCK_BOOTTIME`.
#[derive(Debug)]
struct Measured {
    earliest: i64,
    latest: i64,
    woke: i64,
    ticks: u64,
}

fn traced(options: &[&str]) -> (Ran, Vec<Vec<Measured>>) {
    let deadline = Deadline::after(Duration::from_secs(240));
    let vm = Setup::default().boot_alone(deadline).unwrap_or_else(|failure| panic!("{failure}"));
    let mut guest = Programs::new(vm, deadline);
    guest.put(METRONOME, 0o755, compiled("metronome.c", &["-m32"])).unwrap();
    let ran = guest
        .run(
            &[&[TRACER_PATH, "lateness"], options, &["--", METRONOME, READINGS, MEASURED]].concat(),
        )
        .unwrap();
    assert_eq!(ran.exit, Some(Exit::Code(0)), "{}", ran.said());
    let mut measured: Vec<Vec<Measured>> = (0..4).map(|_| Vec::new()).collect();
    for line in String::from_utf8(guest.get(MEASURED).unwrap()).unwrap().lines() {
        let numbers: Vec<i64> = line.split(' ').map(|number| number.parse().unwrap()).collect();
        let [at, earliest, latest, woke, ticks] = numbers.try_into().unwrap();
        let ticks = ticks.unsigned_abs();
        measured[usize::try_from(at).unwrap()].push(Measured { earliest, latest, woke, ticks });
    }
    (ran, measured)
}

#[rstest]
#[case::kprobe("kprobe")]
#[case::fentry("fentry")]
fn each_firing_agrees_with_what_the_program_measured(#[case] attach: &str) {
    let (ran, measured) = traced(&["--attach", attach, "--per", "timer", "--output", "json"]);
    let lines: Vec<Value> =
        ran.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    let total: usize = measured.iter().map(Vec::len).sum();
    assert!(
        total >= READINGS.parse().unwrap() && measured.iter().all(|timer| timer.len() > 10),
        "{total}"
    );
    for (at, measured) in measured.iter().enumerate() {
        // Timers are numbered as they are set first.
        let firings: Vec<&Value> = lines
            .iter()
            .filter(|line| line["event"] == "firing" && line["timer"] == at + 1)
            .collect();
        assert!(
            firings.len() >= measured.len(),
            "timer {at}: {} of {} firings",
            firings.len(),
            measured.len()
        );
        for (firing, measured) in firings.iter().zip(measured) {
            agrees(firing, measured);
        }
        let row = lines
            .iter()
            .find(|line| line["event"] == "lateness" && line["timer"] == at + 1)
            .unwrap();
        // A point in time may have passed before the call that sets it was made.
        let past = firings.iter().filter(|firing| firing["was_past"] == true).count();
        assert_eq!(
            (&row["firings"], &row["early"], &row["past"]),
            (&firings.len().into(), &0.into(), &past.into())
        );
        let overruns: u64 = measured.iter().map(|measured| measured.ticks - 1).sum();
        assert_eq!(row["overruns"], overruns);
    }
}

fn agrees(firing: &Value, measured: &Measured) {
    let number = |key: &str| firing[key].as_i64().unwrap_or_else(|| panic!("{key} of {firing}"));
    let [requested, expires, handler, waiter] =
        ["requested_ns", "expires_ns", "handler_ns", "waiter_ns"].map(number);
    let Measured { earliest, latest, woke, ticks } = *measured;
    let order = [earliest, requested, expires, handler, waiter, woke];
    assert!(order.is_sorted() && expires <= latest, "{order:?} {measured:?} {firing}");
    assert_eq!(
        (number("handler_late_ns"), number("waiter_late_ns")),
        (handler - expires, waiter - expires),
        "{firing}"
    );
    assert_eq!(
        (&firing["ticks"], &firing["by"]),
        (&ticks.into(), &"epoll_wait".into()),
        "{firing}"
    );
    assert_eq!((&firing["is_early"], &firing["slept_ns"]), (&false.into(), &0.into()), "{firing}");
}

#[test]
fn a_table_and_a_page_have_the_whole() {
    let (ran, measured) = traced(&["--per", "all"]);
    let table = ran.lines();
    let row =
        table.iter().find(|line| line.starts_with("│ all")).unwrap_or_else(|| panic!("{table:?}"));
    let cells: Vec<&str> = row.split(['│', '┆']).map(str::trim).collect();
    let overruns: u64 = measured.iter().flatten().map(|measured| measured.ticks - 1).sum();
    assert_eq!((cells[2].is_empty(), cells[10]), (false, overruns.to_string().as_str()), "{row}");
    let (ran, _) = traced(&["--output", "html"]);
    let page = ran.lines().concat();
    assert!(page.starts_with("<!DOCTYPE html>") && page.ends_with("</html>"), "{page}");
    for part in ["<svg", "metronome", "None fired before its time."] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        !page.contains("http://")
            || page.matches("http://").count() == page.matches("http://www.w3.org").count(),
        "it is whole in itself"
    );
}
