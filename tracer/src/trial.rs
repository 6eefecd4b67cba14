//! What the kernel lets this process do, found out by trying it: capabilities alone do not tell,
//! since settings, security modules and seccomp have a say, too.

use std::mem::size_of;

use nix::errno::Errno;

/// Of `include/uapi/linux/bpf.h`.
const BPF_PROG_LOAD: u32 = 5;
const BPF_PROG_TYPE_KPROBE: u32 = 2;

/// Of `include/uapi/linux/perf_event.h`.
const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_DUMMY: u64 = 9;
const PERF_FLAG_FD_CLOEXEC: u64 = 8;

/// `bpf_probe_read_kernel(fp - 8, 8, NULL)`, and the end: what lockdown's confidentiality mode
/// forbids.
const READS_KERNEL_MEMORY: [u64; 7] = [
    0x0000_0000_0000_a1bf, // r1 = r10
    0xffff_fff8_0000_0107, // r1 += -8
    0x0000_0008_0000_02b7, // r2 = 8
    0x0000_0000_0000_03b7, // r3 = 0
    0x0000_0071_0000_0085, // call 113
    0x0000_0000_0000_00b7, // r0 = 0
    0x0000_0000_0000_0095, // exit
];

/// The head of `union bpf_attr` as `BPF_PROG_LOAD` takes it.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The head of `struct perf_event_attr`, as long as its first version.
#[repr(C)]
struct PerfEvent {
    kind: u32,
    size: u32,
    config: u64,
    unused: [u64; 6],
}

/// Loads a program that reads the kernel's memory, as all of this tracer's do, and drops it.
pub fn load() -> Result<(), Errno> {
    let attributes = ProgLoad {
        prog_type: BPF_PROG_TYPE_KPROBE,
        insn_cnt: READS_KERNEL_MEMORY.len() as u32,
        insns: READS_KERNEL_MEMORY.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    // SAFETY: the attributes and what they point to are there until the call is over.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_PROG_LOAD, &raw const attributes, size_of::<ProgLoad>())
    };
    close(result)
}

/// Opens an event that counts nothing, of the kernel and of everybody, as a kprobe's is, and drops
/// it.
pub fn perf_event() -> Result<(), Errno> {
    let attributes = PerfEvent {
        kind: PERF_TYPE_SOFTWARE,
        size: size_of::<PerfEvent>() as u32,
        config: PERF_COUNT_SW_DUMMY,
        unused: [0; 6],
    };
    let (everybody, cpu, no_group) = (-1, 0, -1);
    // SAFETY: the attributes are there until the call is over.
    let result = unsafe {
        libc::syscall(
            libc::SYS_perf_event_open,
            &raw const attributes,
            everybody,
            cpu,
            no_group,
            PERF_FLAG_FD_CLOEXEC,
        )
    };
    close(result)
}

fn close(result: i64) -> Result<(), Errno> {
    let fd = Errno::result(result)?;
    // SAFETY: it was opened right before, and nobody else knows of it.
    unsafe { libc::close(fd as i32) };
    Ok(())
}
