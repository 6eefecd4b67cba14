//! Rows as a table for people.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::histogram::{Histogram, Percentiles};
use super::owner::Owner;
use super::row::Row;
use super::rows::{Key, Rows};
use crate::cli::Per;
use crate::pretty::write_name;
use crate::words;

/// The columns behind the first.
const COLUMNS: [&str; 15] = [
    "armed",
    "fired",
    "handler p50",
    "p99",
    "max",
    "waiter p50",
    "p99",
    "max",
    "overruns",
    "re-armed",
    "disarmed",
    "cancelled",
    "past",
    "slept",
    "clock set",
];
/// A column's name, and what is in it.
type Column = (&'static str, fn(&Row) -> u64);
/// What there is a column for only where it is not 0: neither should happen.
const RARE: [Column; 2] = [("EARLY", |row| row.early), ("unknown", |row| row.unknown)];

/// The table, each line with its end.
pub fn text(rows: &Rows) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header(rows));
    for (key, row) in rows.iter() {
        table.add_row([label(key, row)].into_iter().chain(cells(rows, row)));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// The first line.
pub fn header(rows: &Rows) -> Vec<&'static str> {
    let first = match rows.per() {
        Per::Timer => "timer",
        Per::Process => "process",
        Per::All => "",
    };
    let mut header = vec![first];
    header.extend(COLUMNS);
    header.extend(rare(rows).map(|(name, _)| name));
    header
}

/// Those of [`RARE`] that there are.
fn rare(rows: &Rows) -> impl Iterator<Item = Column> {
    RARE.into_iter().filter(|(_, of)| rows.iter().any(|(_, row)| of(row) > 0))
}

/// What a row is for.
pub fn label(key: Option<&Key>, row: &Row) -> String {
    let name = |owner: Option<&Owner>| {
        let mut name = Vec::new();
        write_name(&mut name, owner.map_or("?", |owner| &owner.comm));
        String::from_utf8_lossy(&name).into_owned()
    };
    // One that has no id here is told by that of the host.
    let id = |owner: &Owner| {
        owner.pid().or(owner.host_pid).map_or_else(|| "?".to_owned(), |pid| pid.to_string())
    };
    match key {
        Some(Key::Timer(timer)) => format!("{timer} {}", name(row.owner.as_deref())),
        Some(Key::Process(Some(owner))) => format!("{} {}", id(owner), name(Some(owner))),
        Some(Key::Process(None)) => "?".to_owned(),
        Some(Key::All) => "all".to_owned(),
        None => "others".to_owned(),
    }
}

/// A row's cells behind the first.
pub fn cells(rows: &Rows, row: &Row) -> Vec<String> {
    let [armed, fired] = [row.armings, row.firings].map(|count| count.to_string());
    let counts = [
        row.overruns,
        row.rearmed,
        row.disarmed,
        row.cancelled,
        row.past,
        row.slept,
        row.clock_set,
    ];
    let mut cells = vec![armed, fired];
    cells.extend([times(&row.handler), times(&row.waiter)].into_iter().flatten());
    cells.extend(counts.map(|count| count.to_string()));
    cells.extend(rare(rows).map(|(_, of)| of(row).to_string()));
    cells
}

fn times(histogram: &Histogram) -> [String; 3] {
    let Some(percentiles) = Percentiles::of(histogram) else { return [const { String::new() }; 3] };
    [percentiles.p50_ns, percentiles.p99_ns, percentiles.max_ns].map(words::rounded_ns)
}
