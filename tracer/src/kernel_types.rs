//! Where a member of a structure lies in this kernel, read from its own description of its types
//! (BTF, see `Documentation/bpf/btf.rst`). One pass that looks for one structure: to parse all of
//! it takes longer than the rest of the startup.

/// `BTF_MAGIC` of `include/uapi/linux/btf.h`, as a little-endian machine writes it.
const MAGIC: [u8; 2] = [0x9f, 0xeb];
const KIND_STRUCT: u32 = 4;
const TYPE_LEN: usize = 12;
const MEMBER_LEN: usize = 12;

/// What is asked of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// The offset in bytes of a direct member; the first one without a name has the name "".
    Member(&'static str),
    /// The structure's size in bytes.
    Size,
}

/// Answers to questions, each `None` when there is no such structure or member, or the bytes are no
/// BTF that is known.
pub fn look_up(btf: &[u8], questions: &[(&'static str, Of)]) -> Vec<Option<u32>> {
    let mut answers = vec![None; questions.len()];
    // What was found before the bytes stopped making sense holds.
    _ = answer(btf, questions, &mut answers);
    answers
}

fn answer(btf: &[u8], questions: &[(&'static str, Of)], answers: &mut [Option<u32>]) -> Option<()> {
    let word =
        |at: usize| Some(u32::from_le_bytes(btf.get(at..at.checked_add(4)?)?.try_into().ok()?));
    if btf.get(..2)? != MAGIC {
        return None;
    }
    let [header_len, types_at, types_len, strings_at] =
        [word(4)?, word(8)?, word(12)?, word(16)?].map(|field| field as usize);
    let types = btf.get(header_len.checked_add(types_at)?..)?.get(..types_len)?;
    let strings = btf.get(header_len.checked_add(strings_at)?..)?;
    let is_called = |name_at: u32, name: &str| {
        let rest =
            strings.get(name_at as usize..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    };
    let mut at = 0;
    while let Some([name, info, size]) = words(types, at) {
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        at += TYPE_LEN;
        if kind == KIND_STRUCT {
            // With bit fields in it, the upper bits of an offset are a size.
            let mask = if info >> 31 == 1 { 0xff_ffff } else { u32::MAX };
            let asked = questions
                .iter()
                .zip(answers.iter_mut())
                .filter(|((structure, _), _)| is_called(name, structure));
            for ((_, of), answer) in asked {
                let mut members =
                    (0..count).filter_map(|index| words(types, at + index * MEMBER_LEN));
                *answer = match of {
                    Of::Size => Some(size),
                    Of::Member(member) => members
                        .find(|[name, ..]| is_called(*name, member))
                        .map(|[.., bits]| (bits & mask) / 8),
                };
            }
            if answers.iter().all(Option::is_some) {
                return Some(());
            }
        }
        at += len_behind(kind, count)?;
    }
    None
}

fn words(bytes: &[u8], at: usize) -> Option<[u32; 3]> {
    let words = bytes.get(at..at + 12)?;
    Some(
        [0, 4, 8]
            .map(|at| u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]])),
    )
}

/// What follows a type of this kind (`btf_type_size`, `tools/lib/bpf/btf.c`).
const fn len_behind(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // Pointer, forward, typedef, volatile, const, restrict, function, float, type tag.
        2 | 7..=12 | 16 | 18 => 0,
        // Integer, variable, declaration tag.
        1 | 14 | 17 => 4,
        // Array.
        3 => 12,
        // Structure, union, data section, 64-bit enumeration.
        4 | 5 | 15 | 19 => 12 * count,
        // Enumeration, function prototype.
        6 | 13 => 8 * count,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A description with an integer, then `struct other { a; }` and `struct task { a; comm; }`.
    fn btf() -> Vec<u8> {
        let strings = b"\0other\0task\0a\0comm\0";
        let (other, task, a, comm) = (1, 7, 12, 14);
        let types: Vec<u32> = [
            &[0, 1 << 24, 4, 32][..],
            &[other, 4 << 24 | 1, 4, a, 1, 0],
            &[task, 1 << 31 | 4 << 24 | 2, 24, a, 1, 0, comm, 1, 5 << 24 | 64],
        ]
        .concat();
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        let header = [24, 0, types.len() as u32, types.len() as u32, strings.len() as u32];
        let header = header.iter().flat_map(|word: &u32| word.to_le_bytes());
        [0x9f, 0xeb, 1, 0]
            .into_iter()
            .chain(header)
            .chain(types)
            .chain(strings.iter().copied())
            .collect()
    }

    fn member_offset(btf: &[u8], structure: &'static str, member: &'static str) -> Option<u32> {
        look_up(btf, &[(structure, Of::Member(member))])[0]
    }

    #[test]
    fn a_member_is_found_by_name() {
        assert_eq!(member_offset(&btf(), "task", "comm"), Some(8));
        assert_eq!(member_offset(&btf(), "task", "a"), Some(0));
        for (structure, member) in
            [("task", "com"), ("tas", "comm"), ("other", "comm"), ("", "comm")]
        {
            assert_eq!(member_offset(&btf(), structure, member), None, "{structure} {member}");
        }
    }

    #[test]
    fn several_questions_are_answered_at_once() {
        let questions = [
            ("task", Of::Size),
            ("other", Of::Member("a")),
            ("task", Of::Member("b")),
            ("task", Of::Member("comm")),
        ];
        assert_eq!(look_up(&btf(), &questions), [Some(24), Some(0), None, Some(8)]);
    }

    #[test]
    fn what_is_cut_or_foreign_is_no_panic() {
        for len in 0..btf().len() - 1 {
            assert_eq!(member_offset(&btf()[..len], "task", "comm"), None, "{len} bytes");
        }
        let mut foreign = btf();
        // The kind of the first type, which is the integer.
        foreign[31] = 31;
        assert_eq!(member_offset(&foreign, "task", "comm"), None);
    }
}
