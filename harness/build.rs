//! Embeds what goes into the guest: agent, tracer and workload.

use settime32_toolchain::{Guest, embed};

fn main() -> anyhow::Result<()> {
    embed(Guest::Workload)?;
    embed(Guest::Static { package: "settime32-tracer", bin: "settime32-tracer" })?;
    embed(Guest::Static { package: "settime32-agent", bin: "settime32-agent" })?;
    embed(Guest::Static { package: "settime32-agent", bin: "settime32-bare-init" })
}
