//! Where the fields of a kernel tracepoint lie, read from its `format` file in tracefs: kernels differ.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where tracefs is mounted, by habit and by kernels that have it inside debugfs.
const TRACEFS: [&str; 2] = ["sys/kernel/tracing", "sys/kernel/debug/tracing"];

/// The offset in bytes of a four-byte field of a tracepoint's record.
pub fn field_offset(root: &Path, category: &str, name: &str, field: &str) -> Result<u32> {
    let events = events_folder(root)?;
    let path = events.join(category).join(name).join("format");
    let format = fs::read_to_string(&path).with_context(|| format!("failed to read {}", path.display()))?;
    offset_in(&format, field).with_context(|| format!("no field `{field}` of 4 bytes in {}", path.display()))
}

fn events_folder(root: &Path) -> Result<PathBuf> {
    let folders = TRACEFS.map(|folder| root.join(folder).join("events"));
    folders
        .into_iter()
        .find(|folder| folder.is_dir())
        .context("failed to find tracefs, which following COMMAND needs; run `mount -t tracefs tracefs /sys/kernel/tracing`")
}

/// Looks for a line such as `field:pid_t child_pid; offset:44; size:4; signed:1;`.
fn offset_in(format: &str, field: &str) -> Option<u32> {
    format.lines().find_map(|line| {
        let mut parts = line.trim().split(';').map(str::trim);
        let name = parts.next()?.strip_prefix("field:")?.rsplit(' ').next()?;
        let offset = parts.next()?.strip_prefix("offset:")?.parse().ok()?;
        (name == field && parts.next()? == "size:4").then_some(offset)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sched_process_fork` of 6.12: names are arrays.
    const ARRAYS: &str = "\
name: sched_process_fork
ID: 256
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:char parent_comm[16];	offset:8;	size:16;	signed:0;
	field:pid_t parent_pid;	offset:24;	size:4;	signed:1;
	field:char child_comm[16];	offset:28;	size:16;	signed:0;
	field:pid_t child_pid;	offset:44;	size:4;	signed:1;

print fmt: \"comm=%s pid=%d child_comm=%s child_pid=%d\", REC->parent_comm, REC->parent_pid, REC->child_comm, REC->child_pid
";

    /// The same of 6.18: names lie elsewhere in the record.
    const LOCATIONS: &str = "\
name: sched_process_fork
ID: 255
format:
	field:unsigned short common_type;	offset:0;	size:2;	signed:0;
	field:unsigned char common_flags;	offset:2;	size:1;	signed:0;
	field:unsigned char common_preempt_count;	offset:3;	size:1;	signed:0;
	field:int common_pid;	offset:4;	size:4;	signed:1;

	field:__data_loc char[] parent_comm;	offset:8;	size:4;	signed:0;
	field:pid_t parent_pid;	offset:12;	size:4;	signed:1;
	field:__data_loc char[] child_comm;	offset:16;	size:4;	signed:0;
	field:pid_t child_pid;	offset:20;	size:4;	signed:1;
";

    #[test]
    fn both_layouts_are_read() {
        assert_eq!(offset_in(ARRAYS, "child_pid"), Some(44));
        assert_eq!(offset_in(LOCATIONS, "child_pid"), Some(20));
    }

    #[test]
    fn other_fields_are_not_taken_for_it() {
        assert_eq!(offset_in(ARRAYS, "pid"), None);
        assert_eq!(offset_in(ARRAYS, "common_type"), None, "two bytes, not four");
        assert_eq!(offset_in("", "child_pid"), None);
    }

    #[test]
    fn tracefs_is_looked_for_in_both_places() {
        for place in ["sys/kernel/tracing", "sys/kernel/debug/tracing"] {
            let root = tempfile::tempdir().unwrap();
            let event = root.path().join(place).join("events/sched/sched_process_fork");
            fs::create_dir_all(&event).unwrap();
            fs::write(event.join("format"), LOCATIONS).unwrap();
            assert_eq!(field_offset(root.path(), "sched", "sched_process_fork", "child_pid").unwrap(), 20);
        }
    }

    #[test]
    fn a_missing_tracefs_says_what_to_do() {
        let root = tempfile::tempdir().unwrap();
        let error = field_offset(root.path(), "sched", "sched_process_fork", "child_pid").unwrap_err();
        assert!(format!("{error:#}").contains("mount -t tracefs"), "{error:#}");
    }
}
