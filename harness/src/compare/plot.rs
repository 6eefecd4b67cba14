//! The plot of the scoreboard: what a call costs more against how much is told of it and right, as
//! SVG.

use std::error::Error;
use std::ops::Range;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::score::{Row, Scoreboard};

/// Size, pixels.
const SIZE: (u32, u32) = (960, 520);
/// Size of a tracer's name, and the room that it takes, pixels.
const NAME: i32 = 16;
const NAME_WIDTH_PER_LETTER: i32 = 9;
/// From a point to its name, pixels.
const NAME_AT: (i32, i32) = (11, -NAME / 2);

const EXACT: RGBColor = RGBColor(11, 122, 59);
const WRONG: RGBColor = RGBColor(179, 38, 30);
const UNDECIDED: RGBColor = RGBColor(90, 99, 112);

/// A tracer's place.
struct Point<'a> {
    /// Guest instructions added to a call.
    added: f64,
    /// Percent of all facts of all calls.
    told: f64,
    name: &'a str,
    color: RGBColor,
}

/// `None` where no cost was measured.
pub fn svg(board: &Scoreboard) -> Option<String> {
    let mut points: Vec<Point<'_>> =
        board.rows.iter().filter_map(|row| point(row, board.calls)).collect();
    let most = points.iter().map(|point| point.added).fold(f64::NAN, f64::max);
    let least = points.iter().map(|point| point.added).fold(f64::NAN, f64::min);
    if points.is_empty() {
        return None;
    }
    // Names give way downwards, so that the upper ones are set first.
    points.sort_by(|one, other| {
        other.told.total_cmp(&one.told).then(one.added.total_cmp(&other.added))
    });
    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    draw(&root, &points, least / 2.0..most * 6.0).ok()?;
    drop(root);
    Some(svg)
}

fn point(row: &Row, calls: u64) -> Option<Point<'_>> {
    let added = row.cost.instructions?.max(1) as f64;
    let color = match (row.is_exact(), row.is_wrong()) {
        (true, _) => EXACT,
        (_, true) => WRONG,
        _ => UNDECIDED,
    };
    Some(Point { added, told: 100.0 * row.exactness(calls), name: &row.name, color })
}

fn draw(
    root: &DrawingArea<SVGBackend<'_>, Shift>,
    points: &[Point<'_>],
    cost: Range<f64>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let failed = |error: DrawingAreaErrorKind<_>| error.to_string();
    root.fill(&WHITE).map_err(failed)?;
    let mut chart = ChartBuilder::on(root)
        .margin(16)
        .x_label_area_size(48)
        .y_label_area_size(64)
        .build_cartesian_2d(cost.log_scale(), 0.0..105.0)
        .map_err(failed)?;
    chart
        .configure_mesh()
        .x_desc("guest instructions added to a call (logarithmic)")
        .y_desc("told and right, % of all facts of all calls")
        .x_label_formatter(&|instructions| crate::words::grouped(*instructions as u64))
        .label_style(("sans-serif", 15))
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(228, 232, 238))
        .draw()
        .map_err(failed)?;
    let mut taken = Vec::new();
    for point in points {
        let at = (point.added, point.told);
        let name_at = free(chart.backend_coord(&at), point.name, &mut taken);
        let name = Text::new(
            point.name.to_owned(),
            name_at,
            ("sans-serif", NAME).into_font().color(&point.color),
        );
        let dot = Circle::new((0, 0), 6, point.color.filled());
        chart.draw_series([EmptyElement::at(at) + dot + name]).map_err(failed)?;
    }
    root.present().map_err(failed)?;
    Ok(())
}

/// The place of a name beside its point, below the names that are there already.
fn free(point: (i32, i32), name: &str, taken: &mut Vec<(Range<i32>, Range<i32>)>) -> (i32, i32) {
    let left = point.0 + NAME_AT.0;
    let across = left..left + NAME_WIDTH_PER_LETTER * name.len() as i32;
    let mut top = point.1 + NAME_AT.1;
    let meets =
        |one: &Range<i32>, other: &Range<i32>| one.start < other.end && other.start < one.end;
    while taken.iter().any(|(x, y)| meets(x, &across) && meets(y, &(top..top + NAME))) {
        top += NAME;
    }
    taken.push((across, top..top + NAME));
    (NAME_AT.0, top - point.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_points_side_by_side_do_not_cover_each_other() {
        let mut taken = Vec::new();
        let places = [(100, 50), (104, 52), (102, 50), (700, 50)]
            .map(|point| free(point, "strace-seccomp-bpf", &mut taken));
        assert_eq!(places[0], NAME_AT);
        assert_eq!(places[3], NAME_AT, "far from the others");
        for (index, (x, y)) in taken.iter().enumerate() {
            for (other_x, other_y) in &taken[index + 1..] {
                assert!(
                    x.end <= other_x.start
                        || other_x.end <= x.start
                        || y.end <= other_y.start
                        || other_y.end <= y.start
                );
            }
        }
    }
}
