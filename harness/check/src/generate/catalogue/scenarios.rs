//! What the workloads of scenarios do. When they are started, and beside which tracers, is none of
//! the generator's business.

use settime32_abi::plan::{Call, Clock, Page, Plan, Pointer, Step};

use super::script::Script;
use super::{Field, Scenario, find};

/// Calls in one of the plans of [`varied`].
const SOME: usize = 300;

/// Cases with everything in them that changes what a line looks like.
const OF_FORMS: [&str; 7] = [
    "values/edges",
    "flags/any",
    "fds/each-kind",
    "pointers/nowhere",
    "pointers/utmr-partly-mapped",
    "pointers/otmr-partly-mapped",
    "entry/int80-from-64bit",
];

/// The plans of a scenario's workloads; none where it has programs of its own.
pub fn plans(scenario: Scenario, seed: u64) -> Vec<Plan> {
    match scenario {
        Scenario::UnderLoad => (0..4)
            .map(|number| steady(&format!("restart/load-{number}"), seed, 1000, true))
            .collect(),
        Scenario::TwoTracers | Scenario::Terminated => {
            vec![steady("restart/one", seed, 200, false)]
        }
        Scenario::Killed => vec![
            steady("restart/first", seed, 400, true),
            steady("restart/second", seed, 200, false),
        ],
        Scenario::SmallBuffer => vec![flood(seed), flood_with_pairs(seed)],
        Scenario::OtherProcess => two_processes(seed),
        Scenario::Pretty | Scenario::Tracee => OF_FORMS
            .iter()
            .flat_map(|name| of_case(name, seed))
            .chain([two_threads(seed)])
            .collect(),
        Scenario::Field(field) => of_field(field, seed),
    }
}

fn of_field(field: Field, seed: u64) -> Vec<Plan> {
    let several = |name: &str, plans| {
        (0..plans).map(|plan| varied(&format!("{name}-{plan}"), seed, SOME)).collect()
    };
    match field {
        Field::PidNamespace => several("field/pid-namespace", 7),
        Field::IdsLarge => {
            let held = (0..2).flat_map(|more| of_case("pointers/held", seed.wrapping_add(more)));
            of_case("threads/several", seed).chain(held).collect()
        }
        Field::Container => {
            (0..10).map(|plan| varied(&format!("field/container-{plan}"), seed, 10_000)).collect()
        }
        Field::Privileges => several("field/privileges", 2),
        Field::BlindFromBegin => several("field/blind-from-begin", 2),
        Field::SwitchThrown => (0..3)
            .map(|plan| steady(&format!("field/switch-thrown-{plan}"), seed, 600, true))
            .collect(),
        Field::ReaderGone => several("field/reader-gone", 2),
        _ => Vec::new(),
    }
}

/// The plans of a case.
fn of_case(name: &str, seed: u64) -> impl Iterator<Item = Plan> {
    find(name).into_iter().flat_map(move |case| case.plans(seed, 0))
}

/// Calls that differ from each other in all that they pass, now and then with a pause that lets the
/// plan last.
fn steady(name: &str, seed: u64, bursts: u32, pause: bool) -> Plan {
    let mut script = Script::new(name, seed);
    script.timer(0, Clock::Monotonic);
    // Never armed, so that a wait for it lasts its whole time.
    script.timer(1, Clock::Monotonic);
    for _ in 0..bursts {
        burst(&mut script);
        if pause {
            script.step(Step::Wait { slot: 1, timeout_ms: 1 });
        }
    }
    script.into_plan()
}

/// Ten calls.
fn burst(script: &mut Script) {
    for _ in 0..10 {
        let call = Call::plain(0, script.valid());
        script.call(call);
    }
}

fn flood(seed: u64) -> Plan {
    let mut script = Script::new("volume/flood", seed);
    script.timer(0, Clock::Monotonic);
    (0..10_000).for_each(|_| script.arm(0));
    script.into_plan()
}

/// As a flood, with pairs of threads between, of which both are inside as the first of them is
/// lost: as many as 5.10 has return probes for.
fn flood_with_pairs(seed: u64) -> Plan {
    let mut script = Script::new("volume/flood-with-pairs", seed);
    script.timer(0, Clock::Monotonic);
    // The reader catches up while threads start, so that few of the pairs are lost.
    for _ in 0..500 {
        (0..40).for_each(|_| script.arm(0));
        script.step(Step::Threads { threads: 2, calls: 1 });
        for _ in 0..2 {
            let new = script.valid();
            script.call(Call { utmr: Pointer::On(Page::Held), ..Call::plain(0, new) });
        }
    }
    script.into_plan()
}

fn two_processes(seed: u64) -> Vec<Plan> {
    let plan = |name| {
        let mut script = Script::new(name, seed);
        script.timer(0, Clock::Monotonic);
        script.timer(1, Clock::Monotonic);
        // So long that the process can be stopped before its first call.
        script.step(Step::Wait { slot: 1, timeout_ms: 300 });
        for _ in 0..100 {
            burst(&mut script);
            script.step(Step::Wait { slot: 1, timeout_ms: 1 });
        }
        script.into_plan()
    };
    ["silence/wanted", "silence/unwanted"].map(plan).into()
}

/// Process and thread are told apart, and so are CPUs.
fn two_threads(seed: u64) -> Plan {
    let mut script = Script::new("forms/threads", seed);
    (0..2).for_each(|slot| script.timer(slot, Clock::Monotonic));
    for cpu in [Some(1), Some(0), None] {
        script.step(Step::Pin { cpu });
        // A call each, so that they seldom overlap: a kernel that preempts passes programs of
        // trampolines over then, and what is lost says nothing of a form.
        for _ in 0..50 {
            script.step(Step::Threads { threads: 2, calls: 1 });
            for slot in 0..2 {
                let call = Call::plain(slot, script.valid());
                script.call(call);
            }
        }
    }
    script.into_plan()
}

/// Calls that differ from each other in all that they pass, pointers included.
fn varied(name: &str, seed: u64, calls: usize) -> Plan {
    let mut script = Script::new(name, seed);
    script.timer(0, Clock::Monotonic);
    for call in 0..calls {
        let new = if call % 4 == 0 { script.any() } else { script.valid() };
        let (utmr, otmr) = match call % 5 {
            0 => (Pointer::Null, Pointer::Valid),
            1 => (Pointer::Valid, Pointer::Null),
            _ => (Pointer::Valid, Pointer::Valid),
        };
        script.call(Call { utmr, otmr, ..Call::plain(0, new) });
    }
    script.into_plan()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_changes_a_line_is_done() {
        let plans = plans(Scenario::Pretty, 3);
        assert_eq!(plans.len(), OF_FORMS.len() + 1);
        assert!(plans.iter().all(|plan| plan.validate() == Ok(()) && plan.calls() > 0));
    }
}
