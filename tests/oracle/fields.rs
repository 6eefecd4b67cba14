//! Ways to alter one field of an event.

use super::*;

/// An alteration of one field: its name and what does it, given a number of a bit.
pub type Alteration = (&'static str, fn(&mut Event, u32));

pub const FIELDS: [Alteration; 23] = [
    ("event", |event, _| event.event = "timerfd_settime".into()),
    ("exit_ns", |event, _| event.exit_ns = None),
    ("pid", |event, bit| event.pid ^= 1 << (bit % 32)),
    ("tid", |event, bit| event.tid ^= 1 << (bit % 32)),
    ("comm", |event, bit| event.comm = flip_text(&event.comm, bit).into()),
    // Bit 0 makes it the other CPU that the machine has.
    ("cpu", |event, bit| event.cpu |= 2 << (bit % 31)),
    ("abi", |event, _| event.abi = Abi::X86_64),
    // Null is no alteration: not every kernel lets a tracer tell.
    ("entry_path", |event, _| event.entry_path = Some(EntryPath::Fast)),
    ("ufd", |event, bit| event.ufd ^= 1 << (bit % 32)),
    ("flags", |event, bit| event.flags ^= 1 << (bit % 32)),
    ("utmr", |event, bit| event.utmr = flip_pointer(event.utmr, bit)),
    ("utmr_entry", |event, bit| event.utmr_entry = flip_halves(event.utmr_entry, bit)),
    ("utmr_entry_errno", |event, _| event.utmr_entry_errno = Some("EFAULT".into())),
    ("utmr_used", |event, bit| event.utmr_used = flip_setting(event.utmr_used, bit)),
    ("toctou", |event, _| event.toctou = true),
    ("otmr", |event, bit| event.otmr = flip_pointer(event.otmr, bit)),
    ("old", |event, bit| event.old = flip_wide_setting(event.old, bit)),
    ("old_truncated", |event, _| event.old_truncated = true),
    ("otmr_written", |event, bit| event.otmr_written = flip_setting(event.otmr_written, bit)),
    ("ret", |event, bit| event.ret = (bit != 127).then(|| event.ret.unwrap() ^ 1 << (bit % 64))),
    ("errno", |event, bit| event.errno = flip_errno(event, bit)),
    ("unfinished", |event, _| event.unfinished = true),
    // With a result all the same.
    ("result_lost", |event, _| event.result_lost = true),
];

fn flip_text(text: &str, bit: u32) -> String {
    let at = bit as usize % text.len();
    text.chars()
        .enumerate()
        .map(
            |(index, letter)| {
                if index == at { (letter as u8 ^ 1 << (bit % 7)) as char } else { letter }
            },
        )
        .collect()
}

/// One bit of an address, null made an address, or an address made null.
fn flip_pointer(pointer: Option<u32>, bit: u32) -> Option<u32> {
    match pointer {
        None => Some(if bit < 32 { 1 << bit } else { 0 }),
        Some(address) if bit < 100 => Some(address ^ 1 << (bit % 32)),
        Some(_) => None,
    }
}

/// One bit of a structure; where there is none, one of zeros with one bit or none set.
fn flip_setting(setting: Option<OldItimerspec32>, bit: u32) -> Option<OldItimerspec32> {
    if setting.is_some() && bit == 127 {
        return None;
    }
    let mut words: [i32; 4] = bytemuck::cast(setting.unwrap_or_default());
    if setting.is_some() || bit < 120 {
        words[bit as usize / 32] ^= 1 << (bit % 32);
    }
    Some(bytemuck::cast(words))
}

/// As [`flip_setting`], and now and then a half that is not there.
fn flip_halves(halves: Option<Halves>, bit: u32) -> Option<Halves> {
    match (halves, bit) {
        (Some(halves), 120..124) => Some(Halves { it_interval: None, ..halves }),
        (Some(halves), 124..127) => Some(Halves { it_value: None, ..halves }),
        (Some(Halves { it_interval, it_value }), _) => {
            let whole =
                OldItimerspec32 { it_interval: it_interval.unwrap(), it_value: it_value.unwrap() };
            flip_setting(Some(whole), bit).map(Halves::from)
        }
        (None, _) => flip_setting(None, bit).map(Halves::from),
    }
}

/// As [`flip_setting`], in the upper halves as well.
fn flip_wide_setting(setting: Option<Itimerspec64>, bit: u32) -> Option<Itimerspec64> {
    if setting.is_some() && bit == 127 {
        return None;
    }
    let mut words: [i64; 4] = bytemuck::cast(setting.unwrap_or_default());
    words[bit as usize / 32] ^= 1 << (bit * 2 % 64 + bit / 16 % 2);
    Some(bytemuck::cast(words))
}

fn flip_errno(event: &Event, bit: u32) -> Option<std::borrow::Cow<'static, str>> {
    match (&event.errno, bit % 2) {
        (None, _) => Some("EINVAL".into()),
        (Some(_), 0) => None,
        (Some(errno), _) => Some(if errno == "EINVAL" { "EBADF" } else { "EINVAL" }.into()),
    }
}
