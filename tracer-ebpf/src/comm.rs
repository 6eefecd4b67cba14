//! The name of the current thread.

use aya_ebpf::Global;
use aya_ebpf::helpers::generated::{bpf_get_current_comm, bpf_get_current_task_btf};
use settime32_abi::event::COMM_LEN;

/// Where `comm` lies in this kernel's `struct task_struct`; a multiple of 8, or 0 when user space
/// does not know it or the kernel is older than 5.11 and has not the helper.
#[unsafe(no_mangle)]
static COMM_AT: Global<u32> = Global::new(0);

/// A name in words.
pub(crate) type Words = [u64; COMM_LEN / size_of::<u64>()];

/// From the task itself, which the verifier lets one follow: the helper that copies the name looks
/// for its end first and is the most expensive part of an entry. Either way a name that another
/// thread changes meanwhile may be half of each.
#[inline(always)]
pub(crate) fn read(comm: &mut Words) {
    let at = COMM_AT.load();
    if at == 0 {
        return read_by_helper(comm);
    }
    // SAFETY: the offset is that of the member in this kernel's description of its types, of which
    // the verifier makes sure.
    let name = unsafe { bpf_get_current_task_btf().byte_add(at as usize).cast::<u64>() };
    for (at, word) in comm.iter_mut().enumerate() {
        // SAFETY: as above. Volatile keeps it in words.
        *word = unsafe { name.add(at).read_volatile() };
    }
}

/// The same name with NULs behind its first one: where a name was set over a longer one, kernels
/// before 5.17 leave the end of that there.
#[inline(always)]
pub(crate) fn ended(name: Words) -> Words {
    const ONES: u64 = u64::from_ne_bytes([0x01; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);
    let mut has_ended = false;
    name.map(|word| {
        // The lowest bit that is set is in the first byte that is 0.
        let nuls = word.wrapping_sub(ONES) & !word & TOPS;
        let before = (nuls & nuls.wrapping_neg()).wrapping_sub(1);
        let kept = if has_ended { 0 } else { word & before };
        has_ended |= nuls != 0;
        kept
    })
}

#[cold]
#[inline(never)]
#[unsafe(link_section = ".text")]
fn read_by_helper(comm: &mut Words) {
    // SAFETY: the helper writes the length that it is given, which is that of the array.
    unsafe { bpf_get_current_comm(comm.as_mut_ptr().cast(), COMM_LEN as u32) };
}
