//! The scoreboard as one HTML page that needs nothing else: the table, what is wrong in words, and
//! a plot of cost against exactness.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::plot;
use super::score::{FACTS, Fact, Row, Scoreboard, Shown};
use crate::words::grouped;

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2430; background: #fff; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { margin-top: 2.2rem; margin-bottom: 0; } h3 { margin: 1.8rem 0 .2rem; }
p { margin: .3rem 0; } p.sub, p.key, figcaption { color: #5b6675; } p.again { font-size: .85rem; }
figure { margin: 1rem 0 2rem; } figcaption { white-space: pre-wrap; font-size: .85rem; padding-left: 5rem; }
.exact { color: #0b7a3b; } .faulty { color: #b3261e; } .undecided { color: #5a6370; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e3e8ee; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: #fff; }
td.right { color: #0b7a3b; } td.wrong { color: #b3261e; font-weight: 600; background: #fdf1f0; } .silent { color: #9aa4b1; }
tr.group td { border-top: 2px solid #c7d0da; }
code, pre { font-family: ui-monospace, monospace; background: #f3f5f8; border-radius: 4px; }
code { font-size: .85rem; padding: .1rem .3rem; } h1 code { font-size: 1.5rem; }
pre { padding: .6rem .8rem; overflow-x: auto; font-size: .8rem; margin: .4rem 0; }
details { margin: .3rem 0; padding-left: .6rem; border-left: 3px solid #f0c9c6; } summary { cursor: pointer; white-space: pre-wrap; }
svg { max-width: 100%; height: auto; }
";

/// The page of one or several kernels.
pub fn page(boards: &[Scoreboard]) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "Tracers of timerfd_settime32, compared" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                h1 { "Tracers of " code { "timerfd_settime32" } ", compared" }
                p.sub { "Each tracer saw the same calls in a virtual machine of its own. Each fact of each event is compared with what was passed, by an oracle outside that machine." }
                @for board in boards { (of_kernel(board)) }
            }
        }
    };
    page.into_string()
}

fn of_kernel(board: &Scoreboard) -> Markup {
    let ran: Vec<&Row> = board.rows.iter().filter(|row| row.not_run.is_none()).collect();
    html! {
        h2 { "Linux " (board.kernel) }
        p.sub { (grouped(board.calls)) " calls, seed " (board.seed) }
        @if let Some(plot) = plot::svg(board) {
            figure {
                (PreEscaped(plot))
                figcaption { span.exact { "●" } " all that it claims is right, nothing lost   " span.faulty { "●" } " wrong, or lost without a word   " span.undecided { "●" } " right, but not of every call" }
            }
        }
        div.wide { (facts_table(&ran)) }
        p.key { "✓ right in every event.  ✗ wrong in so many.  · not claimed, or not told by so many." }
        @for row in &board.rows { (section(row)) }
    }
}

fn facts_table(rows: &[&Row]) -> Markup {
    let line = |name: &str, class: &str, of: &dyn Fn(&Row) -> (u64, bool)| {
        html! {
            tr class=(class) {
                td { (name) }
                @for row in rows {
                    @let (number, is_bad) = of(row);
                    td.wrong[is_bad && number > 0] { @if number > 0 { (grouped(number)) } }
                }
            }
        }
    };
    let figure = |figure: Option<i64>| (figure.map_or(0, i64::unsigned_abs), false);
    html! {
        table {
            tr { th { "fact" } @for row in rows { th { (row.name) } } }
            @for (index, fact) in FACTS.iter().enumerate() {
                tr { td { (fact) } @for row in rows { (fact_cell(&row.facts[index])) } }
            }
            (line("events", "group", &|row| (row.events, false)))
            (line("lost, and counted", "", &|row| (row.lost_counted, false)))
            (line("lost silently", "", &|row| (row.lost_silently, true)))
            (line("of no call", "", &|row| (row.invented, true)))
            (line("out of order", "", &|row| (row.out_of_order, true)))
            (line("unreadable lines", "", &|row| (row.unreadable_lines, true)))
            (line("instructions a call", "group", &|row| figure(row.cost.instructions)))
            (line("ns a call", "", &|row| figure(row.cost.time_ns)))
            tr.group { td { "verdict" } @for row in rows { td { (row.verdict) } } }
        }
    }
}

fn fact_cell(fact: &Fact) -> Markup {
    let title = fact.first.as_ref().map(|shown| shown.fault.as_str()).unwrap_or_default();
    match (fact.claimed, fact.wrong, fact.right, fact.not_reported) {
        (false, ..) => html! { td.silent { "·" } },
        (true, 0, 0, _) => html! { td.wrong { "none" } },
        (true, 0, _, 0) => html! { td.right { "✓" } },
        (true, 0, _, silent) => html! { td.right { "✓ " span.silent { "· " (grouped(silent)) } } },
        (true, wrong, ..) => html! { td.wrong title=(title) { "✗ " (grouped(wrong)) } },
    }
}

fn section(row: &Row) -> Markup {
    html! {
        h3 { (row.name) }
        p { (row.about) ": " strong { (row.outcome()) } "." }
        @for shown in row.faults() { (fault(shown)) }
        @if let Some(note) = &row.cost.note { p { "The cost was not measured: " (note) } }
        p.again { "Again: " code { (row.reproduce) } }
    }
}

fn fault(shown: &Shown) -> Markup {
    html! {
        details {
            summary { (shown.fault) }
            p.sub { (shown.whereabouts()) }
            @if let Some(asked) = &shown.asked { p.sub { "The call: " (asked) } }
            @if !shown.lines.is_empty() { pre { (shown.lines) } }
            p.again { "Again: " code { (shown.again) } }
        }
    }
}
