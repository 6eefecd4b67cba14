//! The table and a plot as a page that is whole by itself.

use std::collections::BTreeMap;

use maud::{DOCTYPE, PreEscaped, html};

use super::row::Row;
use super::table::{COLUMNS, cells, first_column, label};
use super::{Key, plot};
use crate::cli::Per;

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; font-size: 14px; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .5rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.early { color: #b00020; font-weight: bold; }
.table { overflow-x: auto; }
svg { max-width: 100%; height: auto; }";

/// The page.
pub fn text(per: Per, rows: &BTreeMap<Key, Row>) -> String {
    let early: u64 = rows.values().map(|row| row.early).sum();
    let firings: u64 = rows.values().map(|row| row.firings).sum();
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "How late timers fire" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "How late timers fire" }
                p { (firings) " firings, as settime32-tracer saw them." }
                @if early > 0 {
                    p.early { (early) " fired before their time, which the kernel rules out: please report it." }
                } @else {
                    p { "None fired before its time." }
                }
                @match plot::svg(rows) {
                    Some(svg) => (PreEscaped(svg)),
                    None => p { "Nothing fired that could be plotted." },
                }
                div.table {
                    table {
                        thead { tr { th { (first_column(per)) } @for column in COLUMNS { th { (column) } } } }
                        tbody {
                            @for (key, row) in rows {
                                tr { td { (label(per, key)) } @for cell in cells(row) { td { (cell) } } }
                            }
                        }
                    }
                }
                p {
                    "Late is counted from when a timer was due: the kernel's handler, and the first thread that was told. Timers that were due \
                     before they were armed (past) or that the machine slept through (slept) are counted, and not in the times."
                }
            }
        }
    };
    page.into_string()
}
