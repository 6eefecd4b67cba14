//! Embeds the eBPF object of the wrong tracers.

fn main() -> anyhow::Result<()> {
    settime32_toolchain::embed(settime32_toolchain::Guest::Ebpf {
        package: "settime32-wrong",
        bin: "settime32-wrong-ebpf",
    })
}
