//! What a turn found: known faults are counted, others shrunk in the same guest and kept.

use std::collections::BTreeSet;

use settime32_abi::plan::Plan;

use super::lane::{Lane, plan_of};
use super::state::Fault;
use crate::failure::Failure;
use crate::oracle::{Finding, Findings, Kind};
use crate::regression::{self, Origin, Regression};
use crate::shrink::{self, Outcome, RUNS_MAX, Signature, Trial};

/// Faults of a turn that are looked into; a tracer that is wrong in everything has enough to show
/// with these.
const FAULTS_PER_TURN: usize = 8;

/// Plans that may be to blame for a finding without a place, the newest first.
const SUSPECTS: usize = 4;

/// Takes in all findings of a turn that ran the plans at these places. Fails when no guest can be
/// had any more.
pub(super) fn judge(
    lane: &mut Lane<'_>,
    cell: usize,
    places: &[u64],
    findings: &Findings,
) -> Result<(), Failure> {
    let mut looked_into = 0;
    // A line that cannot be read is an event that is missing, and all else may come of that.
    let garbled = findings.count(Kind::Unparseable) > 0;
    for finding in
        findings.first.iter().filter(|finding| !garbled || finding.kind == Kind::Unparseable)
    {
        let signature = Signature::of(finding);
        if lane.run.count(&signature, cell, finding.place.plan) {
            continue;
        }
        looked_into += 1;
        let run = lane.run;
        // One at a time, since two guests that meet the same fault at once would shrink it twice.
        let _turn = run.shrinking.lock().expect("no holder panics");
        if !run.count(&signature, cell, finding.place.plan) {
            look_into(lane, cell, places, finding, looked_into <= FAULTS_PER_TURN)?;
        }
    }
    Ok(())
}

fn look_into(
    lane: &mut Lane<'_>,
    cell: usize,
    places: &[u64],
    finding: &Finding,
    shrinks: bool,
) -> Result<(), Failure> {
    let run = lane.run;
    let raw = Signature::of(finding);
    let suspects: Vec<u64> = match finding.place.plan {
        Some(place) => vec![place],
        None => places.iter().rev().take(SUSPECTS).copied().collect(),
    };
    let Some(first) = suspects.first().copied() else { return Ok(()) };
    run.progress.say(&format!("{}: {raw}; shrinking", run.options.cells[cell]));
    let mut told = (
        finding.clone(),
        plan_of(&run.config, first),
        String::from("not shrunk, since there were too many others"),
    );
    let mut signature = raw.clone();
    let mut of = first;
    for place in suspects.into_iter().filter(|_| shrinks) {
        let plan = plan_of(&run.config, place);
        let step = finding.place.step.filter(|_| finding.place.plan.is_some());
        match shrunk(lane, cell, &plan, step, &raw)? {
            Ok(outcome) => {
                told.2 = regression::note(&outcome, plan.calls());
                if let Outcome::Shrunk(shrunk) = outcome {
                    let smallest = Signature::of(&shrunk.finding);
                    signature = if smallest.explains(&raw) { smallest } else { raw };
                    (told.0, told.1, of) = (shrunk.finding, shrunk.plan, place);
                    break;
                }
            }
            Err(failure) => {
                lane.keep_consoles(&failure);
                told.2 = format!(
                    "kept as it was, since the guest failed while it was being shrunk: {failure}"
                );
            }
        }
    }
    let (finding, plan, note) = told;
    keep(lane, cell, of, Some(signature), &finding.to_string(), Some(&finding), &plan, note)
}

/// The inner failure is one of the guest that cost only this trial.
fn shrunk(
    lane: &mut Lane<'_>,
    cell: usize,
    plan: &Plan,
    step: Option<usize>,
    raw: &Signature,
) -> Result<Result<Outcome, Failure>, Failure> {
    let setup = &lane.run.options.cells[cell];
    let vm = lane.guest(cell)?;
    let mut trial = Trial::new(vm, setup);
    let outcome = shrink::shrink(plan, step, RUNS_MAX, &mut |plan| trial.fails(plan, raw));
    if let Some(vm) = trial.into_guest() {
        lane.keep(cell, vm);
    }
    match outcome {
        Err(failure @ Failure::Infra(_)) => Err(failure),
        other => Ok(other),
    }
}

/// Keeps the plan in which a guest failed.
pub(super) fn keep_guest_failure(
    lane: &Lane<'_>,
    cell: usize,
    place: u64,
    failure: &Failure,
    note: &str,
) -> Result<(), Failure> {
    let plan = plan_of(&lane.run.config, place);
    keep(lane, cell, place, None, &format!("guest failure: {failure}"), None, &plan, note.into())
}

#[expect(
    clippy::too_many_arguments,
    reason = "what a fault is made of; a structure would be taken apart again at once"
)]
fn keep(
    lane: &Lane<'_>,
    cell: usize,
    place: u64,
    signature: Option<Signature>,
    said: &str,
    finding: Option<&Finding>,
    plan: &Plan,
    note: String,
) -> Result<(), Failure> {
    let run = lane.run;
    let (setup, seed) = (&run.options.cells[cell], run.config.seed_at(place));
    let title = signature.as_ref().map_or_else(|| said.to_owned(), ToString::to_string);
    let found = Origin {
        plan: format!(
            "cargo harness replay --seed {seed} --plan 0 --calls {}",
            run.config.calls_of(place)
        ),
        kernel: setup.kernel.clone(),
        attach: setup.attach.to_string(),
        tracer: run.config.tracer.clone(),
    };
    let regression = Regression::new(found, signature.clone(), note.clone(), said, plan);
    let file = regression.keep(&run.options.regressions)?;
    let replay = run.replay(cell, &file);
    let c = match finding.map(|finding| regression.keep_c(&file, finding, &replay)).transpose()? {
        Some(Ok(path)) => path.display().to_string(),
        Some(Err(not)) => not.to_string(),
        None => String::new(),
    };
    let seen = BTreeSet::from([(setup.to_string(), seed)]);
    let finding = regression.finding.clone();
    run.add(Fault {
        title,
        signature,
        seen,
        note,
        words: regression.words,
        finding,
        file,
        c,
        replay,
    });
    Ok(())
}
