//! Rows as a table for people.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use hdrhistogram::Histogram;

use super::Key;
use super::row::{Percentiles, Row};
use crate::cli::Per;
use crate::pretty::write_name;
use crate::words;

/// The columns behind the first, whose cells are [`cells`].
pub const COLUMNS: [&str; 14] = [
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
];

/// The table, each line with its end.
pub fn text(per: Per, rows: &BTreeMap<Key, Row>) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    let any_early = rows.values().any(|row| row.early > 0);
    let mut header = vec![first_column(per)];
    header.extend(COLUMNS);
    header.extend(any_early.then_some("EARLY"));
    table.set_header(header);
    for (key, row) in rows {
        let mut line = vec![label(per, key)];
        line.extend(cells(row));
        line.extend(any_early.then(|| row.early.to_string()));
        table.add_row(line);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n")
}

/// What the rows are for.
pub const fn first_column(per: Per) -> &'static str {
    match per {
        Per::Timer => "timer",
        Per::Process => "process",
        Per::All => "",
    }
}

/// What a row is for.
pub fn label(per: Per, (id, comm): &Key) -> String {
    match per {
        Per::Timer | Per::Process => {
            let mut name = Vec::new();
            write_name(&mut name, comm);
            format!("{id} {}", String::from_utf8_lossy(&name))
        }
        Per::All => "all".to_owned(),
    }
}

/// A row's cells.
pub fn cells(row: &Row) -> [String; 14] {
    let [handler, waiter] = [times(&row.handler), times(&row.waiter)];
    let [h50, h99, hmax] = handler;
    let [w50, w99, wmax] = waiter;
    let [armed, fired] = [row.armings, row.firings].map(|count| count.to_string());
    let counts = [row.overruns, row.rearmed, row.disarmed, row.cancelled, row.past, row.slept].map(|count| count.to_string());
    let [overruns, rearmed, disarmed, cancelled, past, slept] = counts;
    [armed, fired, h50, h99, hmax, w50, w99, wmax, overruns, rearmed, disarmed, cancelled, past, slept]
}

fn times(histogram: &Histogram<u64>) -> [String; 3] {
    let Some(percentiles) = Percentiles::of(histogram) else { return [const { String::new() }; 3] };
    [percentiles.p50_ns, percentiles.p99_ns, percentiles.max_ns].map(words::rounded_ns)
}
