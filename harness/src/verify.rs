//! The main job, from a kernel's name to a report: resolve → boot → attach → run → drain → judge.

use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use nix::unistd::geteuid;

use crate::boot::{Deadline, Scratch, Vm};
use crate::embedded;
use crate::failure::{Failure, InfraError};
use crate::generate::lifecycle::TIMERS_PER_PLAN;
use crate::programs::Programs;
use crate::report::{Report, Seconds};
use crate::scenario;
use crate::session::Session;
use crate::setup::MUTANT_PATH;
use crate::work::{Tells, Work};

pub use crate::setup::{Attach, BOOT_TIMEOUT, DEFAULT_KERNEL, DEFAULT_QEMU, Setup, VerifyOptions};

/// Plans that are generated ahead of the one that runs.
const PLANS_AHEAD: usize = 2;

/// Told what the run is at.
pub trait Watch {
    /// A stage begins, or something is worth a line.
    fn say(&self, text: &str);
    /// So many calls were made.
    fn calls_made(&self, calls: u64);
}

/// Runs everything; whatever happens, there is a report.
pub fn verify(options: &VerifyOptions, watch: &dyn Watch) -> Report {
    let mut seconds = Seconds::default();
    let mut report = Report::new(options);
    let started = Instant::now();
    let outcome = run(options, watch, &mut seconds, &mut report);
    seconds.total = started.elapsed().as_secs_f64();
    report.conclude(options, seconds, outcome);
    report
}

fn run(
    options: &VerifyOptions,
    watch: &dyn Watch,
    seconds: &mut Seconds,
    report: &mut Report,
) -> Result<(), Failure> {
    let setup = &options.setup;
    let kernel = match setup.here {
        true => None,
        false => Some(timed(&mut seconds.prepare, || setup.prepare(&|text| watch.say(text)))?),
    };
    report.kernel.package_version =
        kernel.as_ref().and_then(|kernel| kernel.package_version.clone());
    // A download takes what it takes; the limit is for what may hang.
    let deadline = Deadline::after(options.timeout);
    let scratch = Scratch::new()?;
    let vm = timed(&mut seconds.boot, || match kernel {
        Some(kernel) => {
            watch.say(&format!("starting {}", kernel.name));
            let say = |text: &str| watch.say(text);
            match options.work.calls_of_plans() {
                0 => setup.boot(kernel, &scratch, deadline, &say),
                _ => setup.boot_to_trace(kernel, &scratch, deadline, &say),
            }
        }
        None => {
            watch.say("using the running kernel: attaching probes to it, making calls on it as root, setting its clock to the time it has");
            here(&scratch)
        }
    });
    let vm = vm.inspect_err(|_| report.not_booted(&scratch))?;
    report.booted(&vm);
    let (vm, outcome) = if options.work.calls_of_plans() > 0 {
        trace_plans(options, vm, deadline, watch, seconds, report)
    } else {
        (vm, Ok(()))
    };
    let mut programs = Programs::new(vm, deadline);
    let outcome = outcome.and_then(|()| {
        timed(&mut seconds.scenarios, || play(options, &mut programs, watch, report))
    });
    let vm = programs.into_vm();
    report.console(vm.console());
    outcome.and_then(|()| vm.kernel_failure().map_or(Ok(()), |failure| Err(failure.into())))
}

/// The running kernel, which root may probe.
fn here(scratch: &Scratch) -> Result<Vm, Failure> {
    if !geteuid().is_root() {
        return Err(InfraError::NotRoot.into());
    }
    Ok(Vm::here(scratch, &embedded::guest_programs()?)?)
}

/// All plans, by one tracer.
fn trace_plans(
    options: &VerifyOptions,
    mut vm: Vm,
    deadline: Deadline,
    watch: &dyn Watch,
    seconds: &mut Seconds,
    report: &mut Report,
) -> (Vm, Result<(), Failure>) {
    watch.say("attaching the tracer");
    if let Err(failure) = options.setup.bring_tracer(&mut vm, deadline) {
        return (vm, Err(failure));
    }
    let tracer = options.setup.tracer_program(&vm);
    let mut session = options.setup.session(vm, &tracer, deadline);
    let midway = options.setup.midway;
    let outcome = match midway {
        true => {
            session.attach_midway();
            Ok(())
        }
        false => timed(&mut seconds.attach, || session.attach()),
    };
    watch.say("making calls");
    let outcome = outcome
        .and_then(|()| timed(&mut seconds.calls, || run_plans(options, &mut session, watch)));
    let outcome = outcome.and_then(|()| if midway { session.wait_ready() } else { Ok(()) });
    let outcome = outcome.and_then(|()| timed(&mut seconds.drain, || session.stop_tracer()));
    (report.ran(session, outcome.is_ok()), outcome)
}

/// Scenarios, each with tracers of its own.
fn play(
    options: &VerifyOptions,
    programs: &mut Programs,
    watch: &dyn Watch,
    report: &mut Report,
) -> Result<(), Failure> {
    if options.setup.mutant.is_some() && !options.work.scenarios().is_empty() {
        programs.put(MUTANT_PATH, 0o755, embedded::mutant()?.to_vec())?;
    }
    if options.work.calls_of_plans() == 0 {
        scenario::can_attach(programs, &options.setup)?;
    }
    for (index, scenario) in options.work.scenarios() {
        watch.say(&format!("playing {}", report.cases[index].name));
        let outcome = scenario::play(scenario, programs, &options.setup, options.seed)?;
        report.played(index, outcome);
    }
    Ok(())
}

/// Generates in a thread of its own, ahead of the guest.
fn run_plans(
    options: &VerifyOptions,
    session: &mut Session,
    watch: &dyn Watch,
) -> Result<(), Failure> {
    let (sender, plans) = mpsc::sync_channel(PLANS_AHEAD);
    let source = options.work.plans(options.seed);
    // The thread ends when the plans do, or when the receiver is dropped.
    thread::spawn(move || source.into_iter().try_for_each(|plan| sender.send(plan)));
    let mut made = 0;
    for (index, plan) in plans {
        let calls = match options.work {
            Work::Lifecycle { per_plan, .. } => per_plan,
            _ if options.setup.tells == Tells::Calls => plan.calls() as u64,
            _ => TIMERS_PER_PLAN,
        };
        session.run_plan(index, plan)?;
        made += calls;
        watch.calls_made(made);
        session.wait_outstanding(calls)?;
    }
    Ok(())
}

fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let value = work();
    *seconds += started.elapsed().as_secs_f64();
    value
}
