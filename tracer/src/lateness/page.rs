//! The table and a plot as a page that is whole by itself.

use maud::{DOCTYPE, PreEscaped, html};

use super::plot;
use super::rows::Rows;
use super::table::{cells, header, label};

const STYLE: &str = "\
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; color: #1b1b1b; }
table { border-collapse: collapse; font-size: 14px; margin: 1rem 0; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .5rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
.early { color: #b00020; font-weight: bold; }
.table { overflow-x: auto; }
svg { max-width: 100%; height: auto; }";

/// The page; `doubt` says where the whole is not whole.
pub fn text(rows: &Rows, doubt: Option<&str>) -> String {
    let early: u64 = rows.iter().map(|(_, row)| row.early).sum();
    let firings: u64 = rows.iter().map(|(_, row)| row.firings).sum();
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
                @if let Some(doubt) = doubt {
                    p.early { (doubt) }
                }
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
                        thead { tr { @for column in header(rows) { th { (column) } } } }
                        tbody {
                            @for (key, row) in rows.iter() {
                                tr { td { (label(key, row)) } @for cell in cells(rows, row) { td { (cell) } } }
                            }
                        }
                    }
                }
                p {
                    "Late is counted from when a timer was due: the kernel's handler, and the first thread that was told. Timers that were due \
                     before they were armed (past), or that came due while the machine slept (slept) or by setting their clock (clock set) are \
                     counted, and not in the times."
                }
            }
        }
    };
    page.into_string()
}
