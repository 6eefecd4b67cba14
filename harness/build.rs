//! Embeds what goes into the guest: agent, tracers (the mutants, too) and workload.

use std::thread;

use settime32_toolchain::{Guest, embed};

fn main() -> anyhow::Result<()> {
    // Side by side, since each waits for its own longest crate. The static programs share a folder
    // and take turns.
    thread::scope(|scope| {
        let workload = scope.spawn(|| embed(Guest::Workload));
        embed(Guest::Static { package: "settime32-tracer", bin: "settime32-tracer" })?;
        embed(Guest::Static { package: "settime32-mutant", bin: "settime32-mutant" })?;
        embed(Guest::Static { package: "settime32-agent", bin: "settime32-agent" })?;
        embed(Guest::Static { package: "settime32-agent", bin: "settime32-bare-init" })?;
        embed(Guest::Static { package: "settime32-empty-probes", bin: "settime32-empty-probes" })?;
        embed(Guest::Static { package: "settime32-workload", bin: "settime32-workload64" })?;
        workload.join().expect("the thread does not panic")
    })
}
