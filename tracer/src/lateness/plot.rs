//! How late, against how many: the share of firings that were later than a time, as a curve for
//! handlers and one for waiters.

use plotters::prelude::*;

use super::histogram::Histogram;
use super::row::Row;
use super::rows::Rows;
use crate::words;

const SIZE: (u32, u32) = (900, 420);
/// The least time and the least share that a logarithmic axis can show.
const LEAST_NS: f64 = 100.0;

/// The plot as SVG; `None` when nothing fired.
pub fn svg(rows: &Rows) -> Option<String> {
    let sum = |of: fn(&Row) -> &Histogram| {
        let mut sum = Histogram::default();
        rows.iter().for_each(|(_, row)| sum.add(of(row)));
        sum
    };
    let (handler, waiter) = (sum(|row| &row.handler), sum(|row| &row.waiter));
    if handler.count() == 0 {
        return None;
    }
    let mut text = String::new();
    // Drawing into memory cannot fail but by a fault of this function, which its test would show.
    draw(&mut text, &handler, &waiter).expect("a plot can be drawn into memory");
    Some(text)
}

fn draw(
    text: &mut String,
    handler: &Histogram,
    waiter: &Histogram,
) -> Result<(), Box<dyn std::error::Error>> {
    let most_ns = (handler.max().max(waiter.max()) as f64 * 1.5).max(LEAST_NS * 10.0);
    let least_share = (0.5 / handler.count() as f64).min(0.01);
    let area = SVGBackend::with_string(text, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(70)
        .build_cartesian_2d((LEAST_NS..most_ns).log_scale(), (least_share..1.0).log_scale())?;
    chart
        .configure_mesh()
        .x_desc("late by more than")
        .y_desc("share of firings")
        .x_label_formatter(&|ns| words::rounded_ns(*ns as u64))
        .y_label_formatter(&|share| format!("{} %", (share * 100.0 * 1000.0).round() / 1000.0))
        .draw()?;
    for (histogram, colour, name) in [
        (handler, RGBColor(0, 114, 178), "the kernel's handler"),
        (waiter, RGBColor(213, 94, 0), "who waits"),
    ] {
        let series = LineSeries::new(curve(histogram, least_share), colour.stroke_width(2));
        chart.draw_series(series)?.label(name).legend(move |(x, y)| {
            PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2))
        });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

/// Points from the left: which share is later.
fn curve(histogram: &Histogram, least_share: f64) -> Vec<(f64, f64)> {
    let total = histogram.count() as f64;
    let mut points = vec![(LEAST_NS, 1.0)];
    let mut seen = 0;
    for (value, count) in histogram.iter() {
        seen += count;
        let share = 1.0 - seen as f64 / total;
        points.push(((value as f64).max(LEAST_NS), share.max(least_share)));
    }
    points
}
