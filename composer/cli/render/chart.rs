//! Charts of a recording, one below the other, as SVG and as a page that stands alone.

use std::fmt::Write as _;
use std::ops::Range;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::amount::{binary, decimal};
use crate::time;

const WIDTH: u32 = 1100;
const HEAD: u32 = 48;
const CHART: u32 = 210;
/// For the names of lines, at the right.
const LEGEND: u32 = 220;
const FONT: &str = "sans-serif";
const STACK: RGBColor = RGBColor(32, 32, 32);
/// Colours that most people can tell apart (Okabe and Ito), and more.
const COLORS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
    RGBColor(140, 109, 49),
    RGBColor(82, 84, 163),
    RGBColor(99, 121, 57),
    RGBColor(173, 73, 74),
];

/// What the values of a chart are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Percent,
    Bytes,
    /// Bytes a second.
    Rate,
    Count,
}

/// One chart.
pub struct Chart {
    pub title: String,
    pub unit: Unit,
    pub lines: Vec<Line>,
    /// Drawn across.
    pub limits: Vec<Limit>,
}

/// One line: its pieces, each of seconds and values.
pub struct Line {
    /// Its place among the names.
    pub color: usize,
    pub is_stack: bool,
    pub pieces: Vec<Vec<(f64, f64)>>,
}

/// A limit of the stack, or of those that have the same.
pub struct Limit {
    pub value: f64,
    /// Whose it is.
    pub of: String,
    /// The place of the first of them among the names; `None` is the stack.
    pub color: Option<usize>,
}

/// The table of a page.
pub struct Summary {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The charts of what begun at a moment, with the names of their lines beside them.
pub fn svg(title: &str, begun: u64, names: &[String], charts: &[Chart]) -> Result<String, String> {
    let words = |error: DrawingAreaErrorKind<std::io::Error>| error.to_string();
    let count = charts.len().max(1);
    let height = HEAD + CHART * u32::try_from(count).unwrap_or(1);
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        root.fill(&WHITE).map_err(words)?;
        root.draw(&Text::new(title.to_owned(), (12, 14), (FONT, 22).into_font())).map_err(words)?;
        let (_, below) = root.split_vertically(HEAD);
        let (areas, legend) = below.split_horizontally(WIDTH - LEGEND);
        for (area, chart) in areas.split_evenly((count, 1)).iter().zip(charts) {
            draw(area, begun, chart).map_err(words)?;
        }
        let stacks: Vec<usize> = charts
            .iter()
            .flat_map(|chart| &chart.lines)
            .filter(|line| line.is_stack)
            .map(|line| line.color)
            .collect();
        for (place, name) in names.iter().enumerate() {
            let (y, is_stack) = (24 + i32::try_from(place).unwrap_or_default() * 20, stacks.contains(&place));
            let style = style(place, is_stack);
            legend.draw(&PathElement::new(vec![(4, y), (28, y)], style)).map_err(words)?;
            let font = (FONT, 16).into_font();
            let position = Pos::new(HPos::Left, VPos::Center);
            legend
                .draw(&Text::new(shortened(name), (34, y), font.into_text_style(&legend).pos(position)))
                .map_err(words)?;
        }
        root.present().map_err(words)?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Seconds, with marks of our own.
struct TimeAxis {
    seconds: RangedCoordf64,
    marks: Vec<f64>,
}

impl Ranged for TimeAxis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.seconds.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.seconds.range()
    }
}

fn draw(area: &Area<'_>, begun: u64, chart: &Chart) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let points = || chart.lines.iter().flat_map(|line| line.pieces.iter().flatten());
    let end = points().map(|(time, _)| *time).fold(1.0, f64::max);
    let most = points().map(|(_, value)| *value).chain(chart.limits.iter().map(|limit| limit.value));
    // A part of what has no parts says nothing.
    let least = if matches!(chart.unit, Unit::Rate | Unit::Count) { 5.0 } else { 0.0 };
    let most = most.fold(least, f64::max);
    // So that lines across are at whole numbers of the unit that is shown.
    let scale = if chart.unit == Unit::Bytes { unit_of(most) } else { 1.0 };
    let most = if most > 0.0 { most * 1.08 / scale } else { 1.0 };
    let (marks, step) = marks(begun, end);
    let count = marks.len();
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, (FONT, 18))
        .margin_left(8)
        .margin_right(16)
        .margin_bottom(6)
        .x_label_area_size(22)
        .y_label_area_size(78)
        .build_cartesian_2d(TimeAxis { seconds: (0.0..end).into(), marks }, 0.0..most)?;
    let grid = RGBColor(225, 225, 225);
    context
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(grid)
        .light_line_style(TRANSPARENT)
        .axis_style(RGBColor(150, 150, 150))
        .label_style((FONT, 15))
        .x_labels(count)
        .y_labels(5)
        .x_label_formatter(&|seconds| {
            let time = begun.saturating_add((seconds * 1e9) as u64);
            time::mark(time, step, end > DAY as f64)
        })
        .y_label_formatter(&|value| labelled(*value * scale, chart.unit, most * scale))
        .draw()?;
    // The stack's is below the others.
    let mut lines: Vec<&Line> = chart.lines.iter().collect();
    lines.sort_by_key(|line| !line.is_stack);
    for line in lines {
        let style = style(line.color, line.is_stack);
        for piece in &line.pieces {
            // One look alone is a point.
            if let [(time, value)] = piece.as_slice() {
                context.draw_series([Circle::new((*time, value / scale), 3, style.filled())])?;
            }
            let points = piece.iter().map(|(time, value)| (*time, value / scale));
            context.draw_series(LineSeries::new(points, style))?;
        }
    }
    for limit in &chart.limits {
        let across = [(0.0, limit.value / scale), (end, limit.value / scale)];
        let color = limit.color.map_or(RGBColor(200, 30, 30), |place| COLORS[place % COLORS.len()]);
        context.draw_series(DashedLineSeries::new(across, 6, 4, color.stroke_width(1)))?;
        let position = Pos::new(HPos::Right, VPos::Bottom);
        let style = (FONT, 14).into_font().color(&color).pos(position);
        let text = format!("{}'s limit, {}", limit.of, labelled(limit.value, chart.unit, limit.value));
        context.draw_series([Text::new(text, (end, limit.value / scale), style)])?;
    }
    Ok(())
}

fn style(color: usize, is_stack: bool) -> ShapeStyle {
    if is_stack { STACK.stroke_width(3) } else { COLORS[color % COLORS.len()].stroke_width(2) }
}

fn shortened(name: &str) -> String {
    super::table::shorten(name, 26)
}

/// The largest binary unit of which there is more than one.
fn unit_of(bytes: f64) -> f64 {
    let units = [1_u64 << 40, 1 << 30, 1 << 20, 1 << 10].map(|unit| unit as f64);
    units.into_iter().find(|unit| bytes >= 2.0 * unit).unwrap_or(1.0)
}

/// As fine as an axis up to `most` asks for.
fn labelled(value: f64, unit: Unit, most: f64) -> String {
    match unit {
        Unit::Percent => {
            let digits = match most {
                ..0.05 => 3,
                0.05..0.5 => 2,
                0.5..5.0 => 1,
                _ => 0,
            };
            format!("{value:.digits$}%")
        }
        Unit::Bytes => binary(value as u64),
        Unit::Rate => format!("{}/s", decimal(value as u64)),
        Unit::Count => format!("{value:.0}"),
    }
}

const DAY: u64 = 86_400;
/// Seconds between two marks.
const STEPS: [u64; 19] =
    [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, DAY, 7 * DAY];
/// Of a time axis.
const MOST_MARKS: f64 = 8.0;

/// Where the clock shows round times within so many seconds from a moment, and how many seconds are between two.
fn marks(begun: u64, end: f64) -> (Vec<f64>, u64) {
    let fits = |step: &u64| end / *step as f64 <= MOST_MARKS;
    let step =
        STEPS.into_iter().find(fits).unwrap_or_else(|| (end / MOST_MARKS / DAY as f64).ceil() as u64 * DAY);
    let clock = time::local_seconds(begun);
    let first = clock.div_ceil(step) * step - clock;
    // What the clock was past its second when it began.
    let past = (begun % 1_000_000_000) as f64 / 1e9;
    let all = (0..=MOST_MARKS as u64).map(|number| (first + number * step) as f64 - past);
    (all.filter(|at| (0.0..=end).contains(at)).collect(), step)
}

/// A page with the drawing and a table, which needs nothing else.
pub fn html(title: &str, drawing: &str, summary: &Summary) -> String {
    let mut table = String::from("<tr>");
    for cell in &summary.header {
        let _ = write!(table, "<th>{}</th>", escaped(cell));
    }
    table.push_str("</tr>\n");
    for row in &summary.rows {
        let cells = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell)));
        let _ = writeln!(table, "<tr>{}</tr>", cells.collect::<String>());
    }
    let title = escaped(title);
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>{title}</title>\n<style>\nbody {{ font: 14px sans-serif; margin: 24px; \
         color: #202020; background: #fff }}\nsvg {{ max-width: 100%; height: auto }}\ntable {{ border-collapse: \
         collapse; margin-top: 16px }}\nth, td {{ padding: 4px 12px; border-bottom: 1px solid #ddd; text-align: right \
         }}\nth:first-child, td:first-child {{ text-align: left }}\n</style>\n{drawing}\n<table>\n{table}</table>\n</html>\n"
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drawing_has_its_lines_names_and_limit() {
        let pieces = vec![vec![(0.0, 1.0), (5.0, 3.0)], vec![(20.0, 3.0), (21.0, 1.0)]];
        let line = Line { color: 1, is_stack: false, pieces };
        let stack = Line { color: 0, is_stack: true, pieces: vec![vec![(0.0, 2.0)]] };
        let chart = Chart {
            title: "Memory".to_owned(),
            unit: Unit::Bytes,
            lines: vec![stack, line],
            limits: vec![
                Limit { value: 4096.0, of: "the stack".to_owned(), color: None },
                Limit { value: 1024.0, of: "api".to_owned(), color: Some(1) },
            ],
        };
        let names = ["shop".to_owned(), "<shop-api-1>".to_owned()];
        let drawn = svg("shop & more", 1_000_000_000, &names, &[chart]).unwrap();
        // Two pieces, and what stands for the line beside its name.
        assert_eq!(drawn.matches("stroke=\"#E69F00\" stroke-width=\"2\"").count(), 3, "{drawn}");
        for part in [
            "<svg",
            "Memory",
            "shop &amp; more",
            "&lt;shop-api-1&gt;",
            "the stack&apos;s limit, 4KiB",
            "api&apos;s limit, 1KiB",
            ":05\n",
            "<polyline",
        ] {
            assert!(drawn.contains(part) || drawn.contains(&part.replace("&apos;", "'")), "{part}: {drawn}");
        }
        let summary = Summary { header: vec!["Name".to_owned()], rows: vec![vec!["<a>".to_owned()]] };
        let page = html("t", &drawn, &summary);
        assert!(page.starts_with("<!doctype html>") && page.contains("<td>&lt;a&gt;</td>"), "{page}");
        assert!(
            !page.contains("http://")
                || page.matches("http").count() == page.matches("http://www.w3.org").count()
        );
        assert!(svg("empty", 0, &[], &[]).is_ok());
    }

    #[test]
    fn marks_are_at_round_times_of_the_clock() {
        // 13 seconds and a half past a full hour, in any zone there is but those of odd quarters.
        let begun = (1_700_002_800 + 13) * 1_000_000_000 + 500_000_000;
        assert_eq!(marks(begun, 20.0), (vec![1.5, 6.5, 11.5, 16.5], 5));
        let (minutes, step) = marks(begun, 600.0);
        assert_eq!((minutes[0], step), (106.5, 120));
        let (days, step) = marks(begun, 20.0 * DAY as f64);
        assert_eq!((days.len(), step), (days.len().min(4), 7 * DAY));
        assert!(marks(begun, 400.0 * DAY as f64).0.len() <= 9);
    }

    #[test]
    fn little_has_as_many_digits_as_tell_it_apart() {
        let percent = |value, most| labelled(value, Unit::Percent, most);
        assert_eq!([percent(0.02, 0.1), percent(0.4, 2.0), percent(40.0, 100.0)], ["0.02%", "0.4%", "40%"]);
    }
}
