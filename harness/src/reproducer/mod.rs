//! A plan as a C program of one file, which makes the same calls without the harness: to look into
//! a failure, or to send with a report. It shows what the kernel answered; what a tracer makes of
//! it is for the reader.
//!
//! Left to the harness is what takes a second actor: pages that are held back, memory that is
//! rewritten during a call, threads, a ptracer, and calls that are there to go unreported.

use std::fmt::Write;

use settime32_abi::plan::{Call, Ending, Entry, FdKind, Other, Page, Plan, Pointer, Process, Step};
use settime32_abi::timespec::OldItimerspec32;

use crate::oracle::Finding;
use crate::words;

const CALL: &str = include_str!("call.c");
const VDSO: &str = include_str!("vdso.c");
const DESCRIPTORS: &str = include_str!("descriptors.c");
const PAGES: &str = include_str!("pages.c");

/// The first number that the workload uses for closed descriptors.
const FIRST_CLOSED_NUMBER: u32 = 900;

/// Why there is no such program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no C program can be made of step {step}: {reason}; replay the plan instead")]
pub struct NotInC {
    /// The step.
    pub step: usize,
    /// What it takes.
    pub reason: &'static str,
}

/// The program. `about` says where the finding comes from, a line each.
///
/// # Errors
///
/// When the plan has a step that is left to the harness.
pub fn source(plan: &Plan, finding: &Finding, about: &[String]) -> Result<String, NotInC> {
    let mut body = String::new();
    let mut child: Option<(usize, Ending)> = None;
    for (index, step) in plan.steps.iter().enumerate() {
        if let Some((_, ending)) = child.take_if(|(end, _)| *end == index) {
            body += end_of_child(ending);
        }
        if let Step::Fork { ending, .. } = step {
            child = Some((index + 1 + step.inner(), *ending));
        }
        body += &of_step(index, step)?;
    }
    if let Some((_, ending)) = child {
        body += end_of_child(ending);
    }
    let parts = [
        (VDSO, "settime32_vdso("),
        (DESCRIPTORS, "passed("),
        (DESCRIPTORS, "closed("),
        (PAGES, "blank()"),
    ];
    let mut used: Vec<&str> =
        parts.iter().filter(|(_, word)| body.contains(word)).map(|(part, _)| *part).collect();
    used.dedup();
    Ok(format!(
        "{}{CALL}{}\nint main(void) {{\n{body}    return 0;\n}}\n",
        head(plan, finding, about),
        used.concat()
    ))
}

/// What to give the compiler.
pub const fn compiler_options(process: Process) -> &'static [&'static str] {
    match process {
        Process::I386 => &["-m32", "-static"],
        // So that static memory lies below 4 GiB.
        Process::Amd64 => &["-m64", "-static", "-no-pie"],
    }
}

fn head(plan: &Plan, finding: &Finding, about: &[String]) -> String {
    let mut lines = vec![
        "timerfd_settime32 calls that a tracer did not report as they were.".to_owned(),
        String::new(),
    ];
    lines.extend(finding.to_string().lines().map(str::to_owned));
    lines.push(String::new());
    lines.extend(words::of(plan));
    lines.push(String::new());
    lines.extend(about.iter().cloned());
    lines.push(format!(
        "build it: gcc {} -o reproducer reproducer.c",
        compiler_options(plan.process).join(" ")
    ));
    let line = |line: &String| {
        if line.is_empty() { " *\n".into() } else { format!(" * {}\n", line.replace("*/", "* /")) }
    };
    format!("/*\n{} */\n", lines.iter().map(line).collect::<String>())
}

fn of_step(index: usize, step: &Step) -> Result<String, NotInC> {
    let not = |reason| Err(NotInC { step: index, reason });
    Ok(match step {
        Step::Open { slot, kind } => format!("    fds[{slot}] = {};\n", of_kind(*slot, *kind)),
        Step::Call(call) => of_call(index, call).map_err(|reason| NotInC { step: index, reason })?,
        Step::SetClock => "    {\n        struct timespec now;\n        clock_gettime(CLOCK_REALTIME, &now);\n        \
             need(clock_settime(CLOCK_REALTIME, &now), \"clock_settime\");\n    }\n"
            .into(),
        Step::Wait { slot, timeout_ms } => format!("    poll(&(struct pollfd){{fds[{slot}], POLLIN, 0}}, 1, {timeout_ms});\n"),
        Step::Fork { .. } => "    if (need(fork(), \"fork\") == 0) {\n".into(),
        Step::Threads { .. } => return not("threads side by side"),
        Step::WakeAlarm { .. } => return not("a capability that is taken away"),
        Step::Pin { cpu } => {
            let cpus = cpu.map_or("~0UL".to_owned(), |cpu| format!("1UL << {cpu} % sysconf(_SC_NPROCESSORS_ONLN)"));
            format!("    syscall(SYS_sched_setaffinity, 0, sizeof(long), (unsigned long[]){{{cpus}}});\n")
        }
        Step::Silent(_) => return not("a call that is to go unreported"),
        Step::Lifecycle(_) => return not("a step of a timer's whole life"),
    })
}

fn end_of_child(ending: Ending) -> &'static str {
    match ending {
        Ending::Exit => "    _exit(0);\n    }\n    wait(NULL);\n",
        Ending::Kill => "    raise(SIGKILL);\n    }\n    wait(NULL);\n",
        Ending::Exec => {
            "    execl(\"/bin/true\", \"true\", (char *)NULL);\n    _exit(0);\n    }\n    wait(NULL);\n"
        }
    }
}

fn of_kind(slot: u8, kind: FdKind) -> String {
    let needed =
        |call: &str| format!("need({call}, \"{}\")", call.split('(').next().unwrap_or_default());
    match kind {
        FdKind::Timer(clock) => needed(&format!("timerfd_create({}, 0)", clock.id())),
        FdKind::Dup(of) => format!("dup(fds[{of}])"),
        FdKind::Passed(of) => format!("fcntl(fds[{of}], F_GETFD) == -1 ? -1 : passed(fds[{of}])"),
        FdKind::Closed => format!("closed({})", FIRST_CLOSED_NUMBER + u32::from(slot)),
        FdKind::Number(number) if number == i32::MIN => "-2147483647 - 1".into(),
        FdKind::Number(number) => number.to_string(),
        FdKind::Path => needed("open(\"/\", O_PATH)"),
        FdKind::NotATimer(Other::Eventfd) => needed("eventfd(0, 0)"),
        FdKind::NotATimer(Other::Pipe) => {
            "({ int ends[2]; need(pipe(ends), \"pipe\"); close(ends[1]); ends[0]; })".into()
        }
        FdKind::NotATimer(Other::Socket) => needed("socket(AF_UNIX, SOCK_STREAM, 0)"),
        FdKind::NotATimer(Other::Directory) => needed("open(\"/\", O_RDONLY | O_DIRECTORY)"),
    }
}

fn of_call(step: usize, call: &Call) -> Result<String, &'static str> {
    match () {
        () if call.meanwhile.is_some() => {
            return Err("memory that another thread rewrites during the call");
        }
        () if call.touches(Page::Held) || call.touches(Page::Withheld) => {
            return Err("a page that is held back by userfaultfd");
        }
        () if call.entry == Entry::Rewritten => {
            return Err("a ptracer that replaces the arguments");
        }
        () => {}
    }
    let door = if call.entry == Entry::Vdso { "settime32_vdso" } else { "settime32" };
    let made = |new: &str, old: &str| {
        format!("{door}({step}, fds[{}], {:#x}, {new}, {old});\n", call.slot, call.flags)
    };
    let plain = |pointer| matches!(pointer, Pointer::Null | Pointer::Valid);
    let pattern = of_setting(pattern(step));
    if plain(call.utmr) && plain(call.otmr) {
        let put = |pointer, name: &str, setting: &str| match pointer {
            Pointer::Valid => (format!("    *{name} = {setting};\n"), format!("(uintptr_t){name}")),
            _ => (String::new(), "0".into()),
        };
        let ((put_new, new), (put_old, old)) =
            (put(call.utmr, "utmr", &of_setting(call.new)), put(call.otmr, "otmr", &pattern));
        return Ok(format!("{put_new}{put_old}    {}", made(&new, &old)));
    }
    let mut text = String::from("    {\n        uintptr_t new, old;\n        blank();\n");
    let mut line =
        |words: String| writeln!(text, "        {words}").expect("a string takes everything");
    if let Pointer::OverUtmr(by) = call.otmr {
        line(format!("put({by}, {pattern});"));
    }
    line(format!("put(0, {});", of_setting(call.new)));
    line(format!("new = {};", of_pointer(0, call.utmr)));
    if let Pointer::OverUtmr(by) = call.otmr {
        line(format!("old = new + {by};"));
    } else {
        line("blank();".into());
        line(format!("put(0, {pattern});"));
        line(format!("old = {};", of_pointer(1, call.otmr)));
    }
    line(made("new", "old").trim_end().to_owned());
    line("clear();".into());
    Ok(text + "    }\n")
}

/// What the workload puts at `otmr`, so that whatever is not written shows.
fn pattern(step: usize) -> OldItimerspec32 {
    bytemuck::cast([0, 1, 2, 3].map(|field| 0xa500_0000_u32 | (step as u32) << 2 | field))
}

fn of_setting(setting: OldItimerspec32) -> String {
    let words: [i32; 4] = bytemuck::cast(setting);
    // The least number has no literal in C.
    let word =
        |word: i32| if word == i32::MIN { "-2147483647 - 1".into() } else { word.to_string() };
    format!("(struct setting){{{}}}", words.map(word).join(", "))
}

fn of_pointer(which: u8, pointer: Pointer) -> String {
    let inside =
        |by: usize, page| format!("lay_out({which}, {}, UNMAPPED, {})", 0x200 + by, of_page(page));
    match pointer {
        Pointer::Null | Pointer::OverUtmr(_) => "0".into(),
        Pointer::Literal(address) => format!("{address:#x}"),
        Pointer::LastUserBytes => "at_address(0xffffdff0)".into(),
        Pointer::Across4Gib => "at_address(0xfffffff8)".into(),
        Pointer::StackLowHalf => "(uint32_t)(uintptr_t)&new".into(),
        Pointer::Valid => inside(0, Page::Resident),
        Pointer::Unaligned(by) => inside(by.into(), Page::Resident),
        Pointer::On(page) => inside(0, page),
        Pointer::Edge { before, first, next } => {
            format!("lay_out({which}, -{before}, {}, {})", of_page(first), of_page(next))
        }
    }
}

fn of_page(page: Page) -> &'static str {
    match page {
        Page::Resident => "RESIDENT",
        Page::Unmapped | Page::Held | Page::Withheld => "UNMAPPED",
        Page::NoAccess => "NO_ACCESS",
        Page::ReadOnly => "READ_ONLY",
        Page::WriteOnly => "WRITE_ONLY",
        Page::Untouched => "UNTOUCHED",
        Page::FileBacked => "FILE_BACKED",
        Page::GivenUp => "GIVEN_UP",
    }
}

#[cfg(test)]
mod tests;
