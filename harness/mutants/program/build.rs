//! Embeds the eBPF object of the mutants.

fn main() -> anyhow::Result<()> {
    settime32_toolchain::embed(settime32_toolchain::Guest::Ebpf {
        package: "settime32-mutants",
        bin: "settime32-mutants-ebpf",
    })
}
