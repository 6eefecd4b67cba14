//! Looks functions up in the kernel's symbol table, `/proc/kallsyms`.

use std::io::{self, BufRead};

/// What a symbol table has of the functions that were looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The function that was looked for.
    Wanted,
    /// Not that one, but the one to tell apart from it.
    OnlyOther,
    /// Neither.
    Neither,
}

/// Reads a symbol table, `ADDRESS TYPE NAME [MODULE]` a line, up to `wanted` or its end. Only
/// functions (type `t` or `T`) of the kernel itself count.
pub fn find(mut table: impl BufRead, wanted: &str, other: &str) -> io::Result<Found> {
    let mut found = Found::Neither;
    let mut line = Vec::new();
    while table.read_until(b'\n', &mut line)? != 0 {
        match function(&line) {
            Some(name) if name == wanted.as_bytes() => return Ok(Found::Wanted),
            Some(name) if name == other.as_bytes() => found = Found::OnlyOther,
            _ => {}
        }
        line.clear();
    }
    Ok(found)
}

fn function(line: &[u8]) -> Option<&[u8]> {
    let mut columns = line.trim_ascii_end().split(|byte| *byte == b' ' || *byte == b'\t');
    let (_address, kind, name) = (columns.next()?, columns.next()?, columns.next()?);
    (kind.eq_ignore_ascii_case(b"t") && columns.next().is_none()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: &str = "\
0000000000000000 A fixed_percpu_data
ffffffff8146a8f0 T __x64_sys_timerfd_settime32
ffffffff8146a970 T __ia32_sys_timerfd_settime32
ffffffffc0000000 t other\t[mod]
";

    fn found(table: &str) -> Found {
        find(table.as_bytes(), "__ia32_sys_timerfd_settime32", "__x64_sys_timerfd_settime32")
            .unwrap()
    }

    #[test]
    fn the_function_is_found() {
        assert_eq!(found(BOTH), Found::Wanted);
        // The last line need not end.
        assert_eq!(found("0 t __ia32_sys_timerfd_settime32"), Found::Wanted);
    }

    #[test]
    fn the_function_that_is_never_called_is_told_apart() {
        assert_eq!(found(&BOTH.replace("__ia32_sys", "__ia32_compat_sys")), Found::OnlyOther);
        assert_eq!(found("0 t something_else\n"), Found::Neither);
        assert_eq!(found(""), Found::Neither);
    }

    #[test]
    fn data_and_modules_do_not_count() {
        assert_eq!(found("0 d __ia32_sys_timerfd_settime32\n"), Found::Neither);
        assert_eq!(found("0 t __ia32_sys_timerfd_settime32\t[mod]\n"), Found::Neither);
        assert_eq!(found("0 t __ia32_sys_timerfd_settime32.cold\n"), Found::Neither);
    }
}
