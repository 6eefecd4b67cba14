//! What a warm start is worth: the same guest started both ways, in turn, up to the agent's first
//! answer and up to the first event that the tracer captures.

use std::time::{Duration, Instant};

use serde::Serialize;
use settime32_abi::frame::{Reply, Request};
use settime32_abi::plan::{Call, Clock, FdKind, Plan, Step};
use settime32_abi::timespec::OldItimerspec32;
use settime32_vm::Say;

use super::median;
use crate::boot::{Accelerator, Deadline, Scratch, Start};
use crate::embedded::TRACER_PATH;
use crate::failure::Failure;
use crate::kernels::{self, Kernel};
use crate::setup::Setup;

/// A start that takes longer has failed.
const LIMIT: Duration = Duration::from_secs(180);

/// Result of [`warm`]: seconds, from before the initramfs is made and QEMU is started.
#[derive(Clone, Debug, Serialize)]
pub struct WarmBench {
    /// Kernel release.
    pub kernel: String,
    /// What ran the guests.
    pub accelerator: Option<Accelerator>,
    /// Starts of each kind.
    pub rounds: u32,
    /// To the agent's first answer to a request.
    pub answer: Both,
    /// To the first event of the tracer.
    pub event: Both,
}

/// Medians of both ways.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Both {
    /// Booted, seconds.
    pub cold_s: f64,
    /// Gone on from a saved state, seconds.
    pub warm_s: f64,
    /// How many times faster that is: the median of the rounds' ratios.
    pub ratio: f64,
}

impl WarmBench {
    /// For people.
    pub fn text(&self) -> String {
        let accelerator =
            self.accelerator.map_or_else(|| "none".into(), |accelerator| accelerator.to_string());
        let line = |what: &str, Both { cold_s, warm_s, ratio }: Both| {
            format!(
                "{what}: cold {:.0} ms, warm {:.0} ms, {ratio:.1} times faster\n",
                cold_s * 1e3,
                warm_s * 1e3
            )
        };
        format!("{} under {accelerator}, medians of {}\n", self.kernel, self.rounds)
            + &line("first answer of the agent", self.answer)
            + &line("first event of the tracer", self.event)
    }
}

/// Seconds of each round, both ways.
#[derive(Default)]
struct Rounds(Vec<f64>, Vec<f64>);

impl Rounds {
    fn medians(self) -> Both {
        let ratios = self.0.iter().zip(&self.1).map(|(cold, warm)| cold / warm).collect();
        Both { cold_s: median(self.0), warm_s: median(self.1), ratio: median(ratios) }
    }
}

/// Starts guests both ways, in turn.
pub fn warm(setup: &Setup, rounds: u32, say: Say) -> Result<WarmBench, Failure> {
    let kernel = kernels::resolve(&setup.kernel, say)?;
    let by = |start| Setup { start, ..setup.clone() };
    let (cold, warm) = (by(Start::Cold), by(Start::Warm));
    // The first ones make the templates, and settle which accelerator works.
    to_event(&warm, &kernel, say)?;
    to_answer(&cold, &kernel, say)?;
    to_answer(&warm, &kernel, say)?;
    let (mut answer, mut event) = (Rounds::default(), Rounds::default());
    for round in 0..rounds {
        say(&format!("round {} of {rounds}", round + 1));
        answer.0.push(to_answer(&cold, &kernel, say)?);
        answer.1.push(to_answer(&warm, &kernel, say)?);
        event.0.push(to_event(&cold, &kernel, say)?);
        event.1.push(to_event(&warm, &kernel, say)?);
    }
    let vm = warm.boot(kernel, &Scratch::new()?, Deadline::after(LIMIT), say)?;
    let (kernel, accelerator) = (vm.kernel_release.clone(), vm.accelerator);
    Ok(WarmBench { kernel, accelerator, rounds, answer: answer.medians(), event: event.medians() })
}

/// Seconds until a guest has answered a request.
fn to_answer(setup: &Setup, kernel: &Kernel, say: Say) -> Result<f64, Failure> {
    let (started, deadline) = (Instant::now(), Deadline::after(LIMIT));
    let mut vm = setup.boot(kernel.clone(), &Scratch::new()?, deadline, say)?;
    vm.send(&Request::Get { path: "/proc/uptime".into() });
    while !matches!(vm.receive(deadline, "a start is measured")?, Reply::File { .. }) {}
    Ok(started.elapsed().as_secs_f64())
}

/// Seconds until the tracer in a guest has told of a call.
fn to_event(setup: &Setup, kernel: &Kernel, say: Say) -> Result<f64, Failure> {
    let (started, deadline) = (Instant::now(), Deadline::after(LIMIT));
    let vm = setup.boot_to_trace(kernel.clone(), &Scratch::new()?, deadline, say)?;
    let mut session = setup.session(vm, &[TRACER_PATH], deadline);
    session.attach()?;
    let call = Call::plain(0, OldItimerspec32::default());
    let steps =
        vec![Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) }, Step::Call(call)];
    session.run_plan(0, Plan { steps, ..Plan::default() })?;
    session.wait_received(1)?;
    Ok(started.elapsed().as_secs_f64())
}
