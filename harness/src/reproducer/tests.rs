//! The programs are compiled by the ordinary compiler and run here: nothing is attached, and the
//! calls are harmless. What the kernel answers must be what the model says of the plan.

use std::process::Command;

use settime32_abi::plan::Clock;
use settime32_abi::timespec::OldTimespec32;

use super::*;
use crate::generate::{self, catalogue};
use crate::model::{self, Bounds, Timeline};
use crate::oracle::{Difference, Kind, Place};

fn finding() -> Finding {
    let difference = Difference { field: "utmr_used", expected: "1".into(), found: "2 */".into() };
    Finding {
        place: Place { plan: Some(0), step: Some(1), call: Some(0) },
        kind: Kind::Field,
        differences: vec![difference],
        note: String::new(),
    }
}

/// The result of each call, as the program prints it.
fn results_of(plan: &Plan) -> Vec<i32> {
    let folder = tempfile::tempdir().unwrap();
    let (text, program) = (folder.path().join("reproducer.c"), folder.path().join("reproducer"));
    std::fs::write(&text, source(plan, &finding(), &[]).unwrap()).unwrap();
    let options = compiler_options(plan.process);
    let built = Command::new("gcc")
        .args(["-Wall", "-Wno-unused"])
        .args(options)
        .arg("-o")
        .arg(&program)
        .arg(&text)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success() && !said.contains("warning"), "{said}");
    let ran = Command::new(&program).output().unwrap();
    let printed = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success(), "{}{printed}", String::from_utf8_lossy(&ran.stderr));
    printed.lines().map(|line| line.rsplit("= ").next().unwrap().parse().unwrap()).collect()
}

fn modelled(plan: &Plan) -> Vec<i32> {
    let timeline = Timeline { realtime_offset: Bounds::exactly(1_700_000_000_000_000_000) };
    model::outcomes(plan, timeline, |_| Bounds::exactly(100_000_000_000))
        .iter()
        .map(|outcome| outcome.rule.ret())
        .collect()
}

fn clock_is_left_alone(plan: &Plan) -> bool {
    !plan.steps.iter().any(|step| matches!(step, Step::SetClock))
}

#[test]
fn generated_plans_get_the_results_of_the_model() {
    let plans =
        (0..40).map(|index| generate::plan(2, index, 150)).filter(clock_is_left_alone).take(4);
    let mut calls = 0;
    for plan in plans {
        let results = results_of(&plan);
        assert_eq!(results, modelled(&plan));
        calls += results.len();
    }
    assert_eq!(calls, 600);
}

/// All pages, edges and overlaps that a program can have by itself, in i386 and 64-bit processes.
#[test]
fn odd_pointers_get_the_results_of_the_model() {
    let mut made = 0;
    for case in catalogue::CASES.iter().filter(|case| {
        ["pointers/", "entry/", "fds/"].iter().any(|group| case.name.starts_with(group))
    }) {
        for plan in case
            .plans(1, 0)
            .take(1)
            .filter(clock_is_left_alone)
            .filter(|plan| source(plan, &finding(), &[]).is_ok())
        {
            assert_eq!(results_of(&plan), modelled(&plan), "{}", case.name);
            made += 1;
        }
    }
    assert!(made >= 12, "{made} cases can be made in C");
}

#[test]
fn what_takes_a_second_actor_is_refused() {
    let timer = Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) };
    let call = Call::plain(
        0,
        OldItimerspec32 {
            it_interval: OldTimespec32::default(),
            it_value: OldTimespec32 { tv_sec: 1, tv_nsec: 0 },
        },
    );
    let of = |call| {
        source(
            &Plan { steps: vec![timer.clone(), Step::Call(call)], ..Plan::default() },
            &finding(),
            &[],
        )
    };
    assert!(of(call).is_ok());
    for odd in [
        Call { meanwhile: Some(call.new), ..call },
        Call { utmr: Pointer::On(Page::Held), ..call },
        Call { entry: Entry::Rewritten, ..call },
    ] {
        let refused = of(odd).unwrap_err();
        assert!(refused.step == 1 && refused.to_string().contains("replay the plan"), "{refused}");
    }
}

#[test]
fn the_comment_says_what_was_expected_and_cannot_be_left() {
    let plan = Plan {
        steps: vec![Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) }],
        ..Plan::default()
    };
    let text = source(&plan, &finding(), &["replay it: cargo harness replay x".into()]).unwrap();
    let comment = text.split("*/").next().unwrap();
    for words in [
        "utmr_used must be 1, is 2 * /",
        "slot 0 becomes a timerfd of CLOCK_MONOTONIC",
        "replay it: cargo harness",
        "gcc -m32 -static",
    ] {
        assert!(comment.contains(words), "{words} in {comment}");
    }
}
