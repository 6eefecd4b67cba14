//! Embeds the eBPF object.

fn main() -> anyhow::Result<()> {
    settime32_toolchain::embed(settime32_toolchain::Guest::Ebpf {
        package: "settime32-tracer-ebpf",
        bin: "settime32-tracer-ebpf",
    })
}
