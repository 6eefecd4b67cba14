//! Runs a program in a guest that has nothing but the agent, twice: the first start boots and keeps
//! a template, the second goes on from it. The agent and the program are static, for x86-64.
//!
//! ```text
//! cargo run --package settime32-vm --example guest -- KERNEL AGENT PROGRAM [ARGUMENT]...
//! ```
//!
//! KERNEL is a name of `ci/kernels.toml`, 6.12 say, or the path of a bzImage.

use std::error::Error;
use std::time::{Duration, Instant};

use settime32_vm::boot::{
    BootOptions, Choice, Cpu, Deadline, GuestPrograms, GuestTime, MEMORY_MIB, Scratch, Start,
    check_qemu,
};
use settime32_vm::kernels;
use settime32_vm::programs::Programs;
use settime32_vm::warm::{self, Order};

const QEMU: &str = "qemu-system-x86_64";
const LIMIT: Duration = Duration::from_secs(120);
const PROGRAM: &str = "/bin/program";

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [kernel, agent, program, arguments @ ..] = &words[..] else {
        return Err("give a kernel, an agent and a program".into());
    };
    let say = |text: &str| eprintln!("{text}");
    check_qemu(QEMU.as_ref())?;
    let options = BootOptions {
        kernel: kernels::resolve(kernel, &say)?,
        programs: GuestPrograms {
            agent: std::fs::read(agent)?.into(),
            others: vec![(PROGRAM, std::fs::read(program)?.into())],
        },
        qemu: QEMU.into(),
        choice: Choice::Auto,
        start: Start::Warm,
        cpu: Cpu::Any,
        time: GuestTime::Host,
        memory_mib: MEMORY_MIB,
        append: String::new(),
        boot_timeout: LIMIT,
    };
    let command: Vec<&str> =
        [PROGRAM].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    for _ in 0..2 {
        let (started, deadline) = (Instant::now(), Deadline::after(LIMIT));
        let scratch = Scratch::new()?;
        let vm = warm::start(&Order { options: &options, scratch: &scratch, deadline, say: &say })?;
        say(&format!("{} was ready after {:?}", vm.kernel_release, started.elapsed()));
        let ran = Programs::new(vm, deadline).run(&command)?;
        print!("{}", String::from_utf8_lossy(&ran.stdout));
        eprint!("{}", ran.said());
    }
    Ok(())
}
