//! The scoreboard as one HTML page that needs nothing else: the table, what is wrong in words, and a plot of cost against
//! exactness.

use maud::{DOCTYPE, Markup, PreEscaped, html};
use plotters::prelude::*;

use super::score::{FACTS, Fact, Row, Scoreboard};
use crate::report::grouped;

/// Size of the plot, pixels.
const PLOT: (u32, u32) = (960, 520);

const STYLE: &str = "
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1c2430; }
h1 { font-size: 1.7rem; margin-bottom: 0; } h2 { margin-top: 2.2rem; }
p.sub { color: #5b6675; margin-top: .2rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #e3e8ee; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; font-family: ui-monospace, monospace; position: sticky; left: 0; background: #fff; }
td.right { color: #0b7a3b; } td.wrong { color: #b3261e; font-weight: 600; background: #fdf1f0; } td.silent { color: #9aa4b1; }
tr.group td { border-top: 2px solid #c7d0da; }
code { font-family: ui-monospace, monospace; font-size: .85rem; background: #f3f5f8; padding: .1rem .3rem; border-radius: 3px; }
pre { background: #f3f5f8; padding: .6rem .8rem; overflow-x: auto; font-size: .8rem; border-radius: 4px; }
svg { max-width: 100%; height: auto; }
";

impl Scoreboard {
    /// The page.
    pub fn page(&self) -> String {
        let ran: Vec<&Row> = self.rows.iter().filter(|row| row.not_run.is_none()).collect();
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
                    p.sub { "The same " (grouped(self.calls)) " calls for each, kernel " (self.kernel) ", seed " (self.seed) ". Each fact of each event is compared with what was passed." }
                    @if let Some(plot) = self.plot(&ran) {
                        h2 { "Cost against exactness" }
                        (PreEscaped(plot))
                    }
                    h2 { "Facts" }
                    div.wide { (facts_table(&ran)) }
                    p { "✓ right in every event; ✗ wrong in so many; · not claimed, or not told." }
                    @for row in &self.rows { (section(row)) }
                }
            }
        };
        page.into_string()
    }

    /// Instructions to the right, on a logarithmic scale, exactness upwards. `None` where nothing was measured.
    fn plot(&self, rows: &[&Row]) -> Option<String> {
        let points: Vec<(f64, f64, &str)> = rows
            .iter()
            .filter_map(|row| {
                row.cost.instructions.map(|added| (added.max(1) as f64, 100.0 * row.exactness(self.calls), row.name.as_str()))
            })
            .collect();
        let most = points.iter().map(|(added, ..)| *added).fold(f64::NAN, f64::max);
        let least = points.iter().map(|(added, ..)| *added).fold(f64::NAN, f64::min);
        if points.is_empty() {
            return None;
        }
        let mut svg = String::new();
        draw(&mut svg, &points, (least / 2.0)..(most * 4.0)).ok()?;
        Some(svg)
    }
}

fn draw(svg: &mut String, points: &[(f64, f64, &str)], cost: std::ops::Range<f64>) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, PLOT).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart =
        ChartBuilder::on(&root).margin(16).x_label_area_size(48).y_label_area_size(64).build_cartesian_2d(cost.log_scale(), 0.0..108.0)?;
    chart
        .configure_mesh()
        .x_desc("guest instructions added to a call (logarithmic)")
        .y_desc("facts told right, % of all facts of all calls")
        .label_style(("sans-serif", 15))
        .light_line_style(TRANSPARENT)
        .draw()?;
    let color = |exactness: f64| if exactness > 90.0 { RGBColor(11, 122, 59) } else { RGBColor(60, 90, 150) };
    chart.draw_series(points.iter().map(|(added, exactness, name)| {
        let style = color(*exactness);
        EmptyElement::at((*added, *exactness))
            + Circle::new((0, 0), 6, style.filled())
            + Text::new((*name).to_owned(), (10, -8), ("sans-serif", 16).into_font().color(&style))
    }))?;
    root.present()?;
    drop(chart);
    Ok(())
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
    let tally = &fact.tally;
    let title = tally.first.clone().unwrap_or_default();
    match (fact.claimed, tally.wrong, tally.right, tally.not_reported) {
        (false, ..) | (true, 0, 0, _) => html! { td.silent { "·" } },
        (true, 0, _, 0) => html! { td.right { "✓" } },
        (true, 0, _, silent) => html! { td.right { "✓ " span style="color:#9aa4b1" { "· " (grouped(silent)) } } },
        (true, wrong, ..) => html! { td.wrong title=(title) { "✗ " (grouped(wrong)) } },
    }
}

fn section(row: &Row) -> Markup {
    let examples = row.facts.iter().filter_map(|fact| fact.tally.first.as_deref()).chain(row.first.iter().map(String::as_str));
    let examples: Vec<&str> = examples.collect();
    html! {
        h2 { (row.name) }
        p { (row.about) ". " strong { (row.outcome()) } "." }
        @if !examples.is_empty() { pre { (examples.join("\n")) } }
        @if let Some(note) = &row.cost.note { p { "Cost not measured: " (note) } }
        p { "Again: " code { (row.reproduce) } }
    }
}
