//! The scoreboard on a terminal: facts down, tracers across, then what is to be said of each.

use std::fmt::Write;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};

use super::score::{FACTS, Fact, Row, Scoreboard, Shown};
use crate::words::grouped;

impl Scoreboard {
    /// For people.
    pub fn text(&self) -> String {
        let ran: Vec<&Row> = self.rows.iter().filter(|row| row.not_run.is_none()).collect();
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(["fact"].into_iter().chain(ran.iter().map(|row| row.name.as_str())));
        for (index, fact) in FACTS.iter().enumerate() {
            table.add_row(
                [Cell::new(fact)]
                    .into_iter()
                    .chain(ran.iter().map(|row| fact_cell(&row.facts[index]))),
            );
        }
        let mut line = |name: &str, of: &dyn Fn(&Row) -> Cell| {
            table.add_row([Cell::new(name)].into_iter().chain(ran.iter().map(|row| of(row))));
        };
        line("events", &|row| Cell::new(grouped(row.events)));
        line("lost, and counted", &|row| count(row.lost_counted));
        line("lost silently", &|row| bad(row.lost_silently));
        line("of no call", &|row| bad(row.invented));
        line("out of order", &|row| bad(row.out_of_order));
        line("unreadable lines", &|row| bad(row.unreadable_lines));
        line("instructions a call", &|row| figure(row.cost.instructions));
        line("ns a call", &|row| figure(row.cost.time_ns));
        line("verdict", &|row| Cell::new(row.verdict));
        let mut text = format!(
            "{}, {} calls, seed {}\n{table}\n",
            self.kernel,
            grouped(self.calls),
            self.seed
        );
        text.push_str(
            "✓ right in every event   ✗ wrong in so many   · not told by so many, or not claimed\n",
        );
        self.rows.iter().for_each(|row| remarks(&mut text, row));
        text
    }
}

fn fact_cell(fact: &Fact) -> Cell {
    match (fact.claimed, fact.wrong, fact.right, fact.not_reported) {
        (false, ..) => Cell::new("·").fg(Color::DarkGrey),
        (true, 0, 0, _) => Cell::new("· none").fg(Color::Red),
        (true, 0, _, 0) => Cell::new("✓").fg(Color::Green),
        (true, 0, _, silent) => Cell::new(format!("✓ · {}", grouped(silent))).fg(Color::Green),
        (true, wrong, ..) => Cell::new(format!("✗ {}", grouped(wrong))).fg(Color::Red),
    }
}

fn count(number: u64) -> Cell {
    Cell::new(if number == 0 { String::new() } else { grouped(number) })
}

fn bad(number: u64) -> Cell {
    count(number).fg(Color::Red)
}

fn figure(figure: Option<i64>) -> Cell {
    Cell::new(figure.map_or_else(String::new, |figure| grouped(figure.unsigned_abs())))
}

/// What a row's cells do not say.
fn remarks(text: &mut String, row: &Row) {
    // Writing to a string does not fail.
    if !row.is_exact() {
        _ = writeln!(text, "\n{}: {}", row.name, row.outcome());
        row.faults().for_each(|shown| fault(text, row, shown));
    }
    if let Some(note) = &row.cost.note {
        _ = writeln!(text, "\n{}: the cost was not measured: {note}", row.name);
    }
}

fn fault(text: &mut String, row: &Row, shown: &Shown) {
    _ = writeln!(text, "  {}", shown.fault.replace('\n', ";"));
    _ = writeln!(text, "    {}", shown.whereabouts());
    if let Some(asked) = &shown.asked {
        _ = writeln!(text, "    the call: {asked}");
    }
    for line in shown.lines.lines() {
        _ = writeln!(text, "    {} said: {line}", row.name);
    }
    _ = writeln!(text, "    again: {}", shown.again);
}
