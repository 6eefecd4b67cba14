//! Embeds the eBPF object.

fn main() -> anyhow::Result<()> {
    settime32_toolchain::embed(settime32_toolchain::Guest::Ebpf { bin: "settime32-tracer-ebpf" })
}
