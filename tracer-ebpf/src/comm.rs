//! The name of the current thread.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_get_current_task_btf};
use settime32_abi::event::COMM_LEN;

/// Where `comm` lies in this kernel's `struct task_struct`; a multiple of 8, or 0 when user space does not know it or
/// the kernel is older than 5.11 and has not the helper.
#[unsafe(no_mangle)]
static COMM_AT: Global<u32> = Global::new(0);

/// From the task itself, which the verifier lets one follow: the helper that copies the name looks for its end first and
/// is the most expensive part of an entry. Either way a name that another thread changes meanwhile may be half of each.
#[inline(always)]
pub(crate) fn read(comm: &mut [u8; COMM_LEN]) {
    let at = COMM_AT.load();
    if at == 0 {
        // SAFETY: the helper writes the length that it is given, which is that of the array.
        unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LEN as u32) };
        return;
    }
    // SAFETY: the offset is that of the member in this kernel's description of its types, of which the verifier makes sure.
    let name = unsafe { bpf_get_current_task_btf().byte_add(at as usize).cast::<u64>() };
    let to = comm.as_mut_ptr().cast::<u64>();
    for word in 0..COMM_LEN / size_of::<u64>() {
        // SAFETY: as above; the array is as long, and lies in an event at a multiple of 8. Volatile keeps it in words.
        unsafe { to.add(word).write_volatile(name.add(word).read_volatile()) };
    }
}
