//! Several kernels and attach modes in one run: a cell each, as many side by side as the machine
//! has CPUs, one table at the end. A cell that fails does not keep the others from running, and one
//! that its kernel cannot do is no failure of the matrix.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use comfy_table::{Cell, Table, presets};

use crate::report::Report;
use crate::setup::VerifyOptions;
use crate::verdict::Verdict;
use crate::verify::{Watch, verify};
use crate::words::grouped;

/// Runs all cells; the reports come in the order of the cells.
pub fn run(cells: &[VerifyOptions], watch: &(dyn Watch + Sync)) -> Vec<Report> {
    let next = AtomicUsize::new(0);
    let reports: Mutex<Vec<Option<Report>>> = Mutex::new(cells.iter().map(|_| None).collect());
    let side_by_side = thread::available_parallelism().map_or(1, usize::from).min(cells.len());
    // QEMU dies with the thread that started it, so that a cell's thread must be the one that ends
    // with it.
    thread::scope(|scope| {
        for _ in 0..side_by_side {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(options) = cells.get(index) else { break };
                    let report =
                        verify(options, &Quiet { cell: &options.setup.to_string(), watch });
                    watch.say(&format!("{}: {}", options.setup, outcome(&report)));
                    reports.lock().expect("no holder panics")[index] = Some(report);
                }
            });
        }
    });
    let reports = reports.into_inner().expect("no holder panics");
    reports.into_iter().map(|report| report.expect("each cell was run")).collect()
}

/// What the cells come to: the worst of those that could be run. A matrix of which nothing could be
/// run is no pass.
pub fn verdict(reports: &[Report]) -> Verdict {
    let ran = reports.iter().filter(|report| report.not_run.is_none()).map(|report| report.verdict);
    ran.max_by_key(|verdict| verdict.severity()).unwrap_or(Verdict::Infrastructure)
}

/// How the tracer attached, and for what, where it was not asked for everything.
fn attached(report: &Report) -> String {
    report
        .events
        .as_ref()
        .map_or_else(|| report.attach.clone(), |events| format!("{}: {events}", report.attach))
}

/// What became of a cell, in a word.
fn outcome(report: &Report) -> &'static str {
    if report.not_run.is_some() { "not run" } else { report.verdict.as_str() }
}

/// One line a cell, then why cells were not run, and what each cell that did not pass has to say.
pub fn text(reports: &[Report]) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header([
        "kernel",
        "accelerator",
        "attach mode",
        "seed",
        "calls",
        "captured",
        "mismatches",
        "lost",
        "calls a second",
        "seconds",
        "verdict",
    ]);
    for report in reports {
        let release = report.kernel.release.as_ref().unwrap_or(&report.kernel.name);
        table.add_row([
            Cell::new(release),
            Cell::new(
                report
                    .accelerator
                    .map_or_else(|| "none".into(), |accelerator| accelerator.to_string()),
            ),
            Cell::new(attached(report)),
            Cell::new(report.seed),
            Cell::new(grouped(report.calls)),
            Cell::new(grouped(report.captured)),
            Cell::new(grouped(report.mismatches)),
            Cell::new(grouped(report.lost)),
            Cell::new(grouped(report.calls_per_second.round() as u64)),
            Cell::new(format!("{:.1}", report.seconds.total)),
            Cell::new(outcome(report)),
        ]);
    }
    let mut text = format!("{table}\n");
    for report in reports {
        if let Some(reason) = &report.not_run {
            text += &format!(
                "{} {}: not run, because {reason}\n",
                report.kernel.name,
                attached(report)
            );
        }
    }
    for report in
        reports.iter().filter(|report| report.verdict != Verdict::Pass && report.not_run.is_none())
    {
        text +=
            &format!("\n── {} ({})\n{}", report.kernel.name, attached(report), report.details());
    }
    text
}

/// A cell among others: its lines name it, and its calls are not counted on a bar.
struct Quiet<'a> {
    cell: &'a str,
    watch: &'a (dyn Watch + Sync),
}

impl Watch for Quiet<'_> {
    fn say(&self, text: &str) {
        self.watch.say(&format!("{}: {text}", self.cell));
    }

    fn calls_made(&self, _calls: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setup::Setup;
    use crate::work::Work;

    fn cell(verdict: Verdict, not_run: Option<&str>) -> Report {
        let options = VerifyOptions {
            work: Work::Run { calls: 1 },
            seed: 1,
            setup: Setup::default(),
            timeout: std::time::Duration::MAX,
        };
        let mut report = Report::new(&options);
        (report.verdict, report.not_run) = (verdict, not_run.map(str::to_string));
        report
    }

    #[test]
    fn what_a_kernel_cannot_do_is_no_failure_of_the_others() {
        let not_run = || cell(Verdict::Infrastructure, Some("fentry is safe from kernel 5.12 on"));
        assert_eq!(verdict(&[cell(Verdict::Pass, None), not_run()]), Verdict::Pass);
        assert_eq!(verdict(&[not_run(), cell(Verdict::Inconclusive, None)]), Verdict::Inconclusive);
        // Here something that the harness needs is missing.
        assert_eq!(
            verdict(&[cell(Verdict::Pass, None), cell(Verdict::Infrastructure, None)]),
            Verdict::Infrastructure
        );
        let text = text(&[cell(Verdict::Pass, None), not_run()]);
        assert!(
            text.ends_with("\n6.12 kprobe: not run, because fentry is safe from kernel 5.12 on\n"),
            "{text}"
        );
    }

    #[test]
    fn a_matrix_in_which_nothing_ran_is_no_pass() {
        assert_eq!(
            verdict(&[cell(Verdict::Infrastructure, Some("too old"))]),
            Verdict::Infrastructure
        );
        assert_eq!(verdict(&[]), Verdict::Infrastructure);
    }
}
