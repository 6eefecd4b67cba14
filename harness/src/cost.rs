//! What tracing costs one call, in guest instructions: without probes, with probes that do nothing,
//! and with the tracer in either way to attach.
//!
//! The guest's clock counts its instructions ([`GuestTime::Instructions`]). Every call arms one
//! CLOCK_MONOTONIC timer for the same long time and gets back in `*otmr` what is left of it, so the
//! difference is what the guest executed between the kernel's reading of the clock in one call and
//! in the next: once around the call and the workload's loop. The workload is the same each time
//! and cancels; what is left is what the probes add.
//!
//! The figure is the median. Most rounds are executed without an interruption and differ by a few
//! instructions; a tick of the clock, a page fault in the journal or a turn of the tracer's user
//! half falls into some of them and is none of one call's cost. It is not a measure of time: an
//! instruction of a helper that spins or misses the cache counts as one.

use std::path::Path;
use std::time::Duration;

use comfy_table::{Cell, Table, presets};
use nix::libc::SIGINT;
use serde::Serialize;
use serde_json::Value;
use settime32_abi::frame::Exit;
use settime32_abi::hook::{BY_FENTRY, BY_KPROBE, Hook, Kind, WRAPPER};
use settime32_abi::journal::Journal;
use settime32_abi::output::{CALL_EVENT, Summary};
use settime32_abi::plan::{Call, Clock, FdKind, Plan, Pointer, Process, Step};
use settime32_abi::timespec::{OldItimerspec32, OldTimespec32};
use settime32_vm::Say;

use crate::bench::median;
use crate::boot::{
    self, BootOptions, Choice, Cpu, Deadline, GuestTime, MEMORY_MIB, Scratch, Start, Vm,
};
use crate::embedded::{TRACER_PATH, WORKLOAD_COMM, WORKLOAD_PATH, empty_probes, guest_programs};
use crate::failure::{Failure, ProgramError};
use crate::kernels;
use crate::oracle::{self, Oracle};
use crate::programs::{Programs, Ran};
use crate::setup::{Attach, BOOT_TIMEOUT};
use crate::verdict::{Provoked, Verdict};
use crate::words::grouped;

/// Where files are put in the guest.
const EMPTY_PROBES_PATH: &str = "/bin/settime32-empty-probes";
const PLAN_PATH: &str = "/tmp/plan";

/// What the timer is armed for, seconds: far longer than a run takes.
const ARMED_S: i32 = 1_000_000;

const NS_PER_S: i64 = 1_000_000_000;

/// Wall-clock limit of a run, boot and all.
const LIMIT: Duration = Duration::from_secs(600);

/// What is attached while the calls are made.
#[derive(Clone, Copy, Debug)]
enum Subject {
    Nothing,
    Empty(&'static [(Kind, &'static str)]),
    EmptyAs(&'static [Hook]),
    Tracer(Attach),
    /// The same once many threads called and ended, by threads with ids above [`LARGE_ID`].
    Later(Attach),
}

/// Ids of threads begin here, for [`Subject::Later`].
const LARGE_ID: &str = "400000";

/// What is measured, in this order. Nothing comes first and last: what was attached must leave no
/// trace.
const SUBJECTS: [(&str, Subject); 12] = [
    ("untraced", Subject::Nothing),
    ("fentry, empty", Subject::Empty(&[(Kind::Fentry, WRAPPER)])),
    ("fentry + fexit, empty", Subject::Empty(&[(Kind::Fentry, WRAPPER), (Kind::Fexit, WRAPPER)])),
    ("as the tracer by fentry, empty", Subject::EmptyAs(BY_FENTRY)),
    ("tracer by fentry", Subject::Tracer(Attach::Fentry)),
    ("tracer by fentry, after many threads", Subject::Later(Attach::Fentry)),
    ("kprobe, empty", Subject::Empty(&[(Kind::Kprobe, WRAPPER)])),
    (
        "kprobe + kretprobe, empty",
        Subject::Empty(&[(Kind::Kprobe, WRAPPER), (Kind::Kretprobe, WRAPPER)]),
    ),
    ("as the tracer by kprobe, empty", Subject::EmptyAs(BY_KPROBE)),
    ("tracer by kprobe", Subject::Tracer(Attach::Kprobe)),
    ("tracer by kprobe, after many threads", Subject::Later(Attach::Kprobe)),
    ("untraced, at the end", Subject::Nothing),
];

/// What was measured of one subject.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was attached.
    pub probes: &'static str,
    /// Guest instructions from call to call, the workload's own among them; the median. Null when
    /// the subject could not be attached to this kernel.
    pub instructions: Option<u64>,
    /// The same less that of the first, untraced row.
    pub added: Option<i64>,
    /// Part of the calls, from 0 to 1, that took within 1 % of the median.
    pub steady: Option<f64>,
    /// Why the subject could not be attached, or what the oracle says of what the tracer reported
    /// meanwhile.
    pub note: String,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Cost {
    /// Kernel release.
    pub kernel: String,
    /// Calls under each subject.
    pub calls: u16,
    /// Threads that called and ended before, where they do.
    pub dead_threads: u32,
    /// One for each subject.
    pub rows: Vec<Row>,
    /// Pass unless what the tracer reported while it was measured is not whole and right.
    pub verdict: Verdict,
}

impl Cost {
    /// For people.
    pub fn text(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["probes", "instructions a round", "added", "within 1 %", ""]);
        for row in &self.rows {
            table.add_row([
                Cell::new(row.probes),
                Cell::new(row.instructions.map_or_else(|| "none".into(), grouped)),
                Cell::new(row.added.map_or_else(String::new, |added| added.to_string())),
                Cell::new(
                    row.steady
                        .map_or_else(String::new, |steady| format!("{:.0} %", steady * 100.0)),
                ),
                Cell::new(&row.note),
            ]);
        }
        let (kernel, calls, threads) =
            (&self.kernel, grouped(self.calls.into()), grouped(self.dead_threads.into()));
        format!(
            "{kernel}, guest instructions, median of {calls} calls; many threads are {threads}\n{table}\n"
        )
    }

    /// What a subject adds, by the name of its row.
    pub fn added(&self, probes: &str) -> Option<i64> {
        self.rows.iter().find(|row| row.probes == probes)?.added
    }
}

/// Measures all subjects in one guest.
pub fn measure(
    kernel: &str,
    qemu: &Path,
    calls: u16,
    dead_threads: u32,
    say: Say,
) -> Result<Cost, Failure> {
    boot::check_qemu(qemu)?;
    let kernel = kernels::resolve(kernel, say)?;
    let deadline = Deadline::after(LIMIT);
    let (choice, start, cpu, time, append) =
        (Choice::Tcg, Start::Cold, Cpu::Any, GuestTime::Instructions, String::new());
    let (qemu, memory_mib) = (qemu.into(), MEMORY_MIB);
    let options = BootOptions {
        kernel,
        programs: guest_programs()?,
        qemu,
        choice,
        start,
        cpu,
        time,
        memory_mib,
        append,
        boot_timeout: BOOT_TIMEOUT,
    };
    say("booting");
    let vm = Vm::boot(&options, &Scratch::new()?, deadline, say)?;
    let mut bench = Bench {
        kernel: vm.kernel_release.clone(),
        cpus: vm.cpus,
        guest: Programs::new(vm, deadline),
        plan: plan(calls),
        dead_threads,
    };
    bench.guest.put(EMPTY_PROBES_PATH, 0o755, empty_probes()?.to_vec())?;
    bench.guest.put(PLAN_PATH, 0o644, bench.plan.encode())?;
    let mut cost = Cost {
        kernel: bench.kernel.clone(),
        calls,
        dead_threads,
        rows: Vec::new(),
        verdict: Verdict::Pass,
    };
    for (probes, subject) in SUBJECTS {
        say(&format!("measuring: {probes}"));
        let (mut row, verdict) = bench.measure(probes, subject)?;
        let untraced = cost.rows.first().map_or(row.instructions, |first| first.instructions);
        row.added = row
            .instructions
            .zip(untraced)
            .map(|(with, without)| with.cast_signed() - without.cast_signed());
        cost.rows.push(row);
        if verdict.severity() > cost.verdict.severity() {
            cost.verdict = verdict;
        }
    }
    Ok(cost)
}

/// Calls that arm one timer again and again, for the same time.
pub(crate) fn plan(calls: u16) -> Plan {
    let new = OldItimerspec32 {
        it_interval: OldTimespec32::default(),
        it_value: OldTimespec32 { tv_sec: ARMED_S, tv_nsec: 0 },
    };
    let call = Step::Call(Call { otmr: Pointer::Valid, ..Call::plain(0, new) });
    let mut steps = vec![Step::Open { slot: 0, kind: FdKind::Timer(Clock::Monotonic) }];
    steps.extend(vec![call; calls.into()]);
    Plan { process: Process::I386, steps }
}

/// Where a process's memory lies is chance, and costs some a few instructions more at each call:
/// the least of so many counts.
const PROCESSES: usize = 3;

/// A guest that counts, and the calls to make in it.
struct Bench {
    kernel: String,
    cpus: u32,
    guest: Programs,
    plan: Plan,
    dead_threads: u32,
}

impl Bench {
    fn measure(
        &mut self,
        probes: &'static str,
        subject: Subject,
    ) -> Result<(Row, Verdict), Failure> {
        let mut row =
            Row { probes, instructions: None, added: None, steady: None, note: String::new() };
        let attached = match subject.command() {
            Some(command) => match self.attach(&command)? {
                Ok(id) => Some(id),
                Err(reason) => {
                    row.note = reason;
                    return Ok((row, Verdict::Pass));
                }
            },
            None => None,
        };
        let before =
            if let Subject::Later(_) = subject { Some(self.make_threads()?) } else { None };
        let journals = (0..PROCESSES).map(|_| self.make_calls()).collect::<Result<Vec<_>, _>>()?;
        let least =
            journals.iter().map(middle_and_steady).min_by(|one, other| one.0.total_cmp(&other.0));
        let (middle, steady) = least.unzip();
        (row.instructions, row.steady) = (middle.map(|middle| middle as u64), steady);
        let Some(id) = attached else { return Ok((row, Verdict::Pass)) };
        self.guest.signal(id, SIGINT);
        let ran = self.guest.wait(id)?;
        if let Subject::Tracer(attach) | Subject::Later(attach) = subject {
            let (verdict, why) = self.judge(&ran, before, journals, attach);
            row.note = format!("events compared: {verdict}{why}");
            return Ok((row, verdict));
        }
        Ok((row, Verdict::Pass))
    }

    /// Starts a program and waits until it says that it is attached; else gives what it said.
    fn attach(&mut self, command: &[String]) -> Result<Result<u32, String>, Failure> {
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let id = self.guest.start(&command);
        let ran = self
            .guest
            .wait_until(id, "probes are attached", |ran| ran.said().contains(": ready"))?;
        Ok(if ran.exit.is_none() {
            Ok(id)
        } else {
            Err(ran.said().lines().last().unwrap_or_default().to_owned())
        })
    }

    /// Has threads of one process call once each, one after the other; gives the process.
    fn make_threads(&mut self) -> Result<u64, Failure> {
        let threads = self.dead_threads.to_string();
        let command = [
            "enter",
            "--last-pid",
            LARGE_ID,
            "--",
            WORKLOAD_PATH,
            "field",
            "dead-threads",
            &threads,
        ];
        let ran = self.guest.run(&[&[WORKLOAD_PATH], command.as_slice()].concat())?;
        let said = String::from_utf8_lossy(&ran.stdout);
        let process = said
            .split_once("dead-threads pid=")
            .and_then(|(_, text)| text.split_whitespace().next()?.parse().ok());
        match (ran.exit, process) {
            (Some(Exit::Code(0)), Some(process)) => Ok(process),
            (status, _) => Err(ProgramError::Workload {
                plan: 0,
                status: status.expect("`run` waits for the end"),
                said: ran.said(),
            }
            .into()),
        }
    }

    fn make_calls(&mut self) -> Result<Journal, Failure> {
        let ran = self.guest.run(&[WORKLOAD_PATH, PLAN_PATH, "-"])?;
        match ran.exit {
            Some(Exit::Code(0)) => Ok(Journal::parse(&ran.stdout)
                .map_err(|source| ProgramError::Journal { plan: 0, source })?),
            Some(status) => {
                Err(ProgramError::Workload { plan: 0, status, said: ran.said() }.into())
            }
            None => unreachable!("`run` waits for the end"),
        }
    }

    /// What the oracle says of what the tracer printed: a tracer that leaves something out is
    /// cheap. Of calls of the process `before` only the number is looked at.
    fn judge(
        &self,
        ran: &Ran,
        before: Option<u64>,
        journals: Vec<Journal>,
        attach: Attach,
    ) -> (Verdict, String) {
        let entry_path_needed = attach == Attach::Kprobe;
        let comm = Some(WORKLOAD_COMM.into());
        let config = oracle::Config {
            cpus: self.cpus,
            comm,
            entry_path_needed,
            ..oracle::Config::default()
        };
        let mut oracle = Oracle::new(config);
        let mut calls_before = 0;
        for line in ran.stdout.split_inclusive(|byte| *byte == b'\n') {
            let is_before = |line: &Value| {
                line["event"] == CALL_EVENT && before.is_some_and(|process| line["pid"] == process)
            };
            if serde_json::from_slice(line).is_ok_and(|line| is_before(&line)) {
                calls_before += 1;
            } else if let Ok(mut summary) = serde_json::from_slice::<Summary>(line) {
                summary.reported = summary.reported.saturating_sub(calls_before);
                oracle.summary(summary);
            } else {
                oracle.line(line.trim_ascii_end());
            }
        }
        if before.is_some() && calls_before != u64::from(self.dead_threads) {
            let threads = grouped(self.dead_threads.into());
            return (
                Verdict::Violation,
                format!(": {} events of {threads} threads", grouped(calls_before)),
            );
        }
        (0..)
            .zip(journals)
            .for_each(|(index, journal)| oracle.plan_done(index, self.plan.clone(), journal));
        let findings = oracle.finish();
        let verdict =
            Verdict::of(&findings, (PROCESSES * self.plan.calls()) as u64, Provoked::default());
        (verdict, findings.first.first().map_or_else(String::new, |first| format!(": {first}")))
    }
}

impl Subject {
    /// The program that attaches it, with its arguments.
    fn command(self) -> Option<Vec<String>> {
        let empty = |hooks: &mut dyn Iterator<Item = (Kind, &str)>| {
            let hooks = hooks.map(|(kind, function)| format!("{kind}:{function}"));
            Some([EMPTY_PROBES_PATH.to_owned()].into_iter().chain(hooks).collect())
        };
        match self {
            Self::Nothing => None,
            Self::Empty(hooks) => empty(&mut hooks.iter().copied()),
            Self::EmptyAs(hooks) => empty(&mut hooks.iter().map(|hook| (hook.kind, hook.function))),
            Self::Tracer(attach) | Self::Later(attach) => Some(
                [TRACER_PATH, "--output", "json", "--attach", &attach.to_string()]
                    .map(str::to_owned)
                    .into(),
            ),
        }
    }
}

/// The median of a process's rounds, and how many of them are within a hundredth of it.
fn middle_and_steady(journal: &Journal) -> (f64, f64) {
    let rounds = rounds(journal);
    let middle = median(rounds.iter().map(|round| *round as f64).collect());
    let near =
        rounds.iter().filter(|round| (**round as f64 - middle).abs() <= middle / 100.0).count();
    (middle, near as f64 / rounds.len() as f64)
}

/// Instructions from each call to the next: by how much less than armed is left of the timer. The
/// first call finds it not armed.
pub(crate) fn rounds(journal: &Journal) -> Vec<i64> {
    let left = |bytes: &[u8; 16]| {
        let old: OldItimerspec32 = bytemuck::pod_read_unaligned(bytes);
        i64::from(old.it_value.tv_sec) * NS_PER_S + i64::from(old.it_value.tv_nsec)
    };
    journal
        .operations
        .iter()
        .skip(1)
        .map(|record| i64::from(ARMED_S) * NS_PER_S - left(&record.otmr_after()))
        .collect()
}
