//! Charts of a recording, one below the other, as SVG and as a page that stands alone.

use std::fmt::Write as _;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::amount::{binary, decimal};

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
    pub limit: Option<f64>,
}

/// One line: seconds and values.
pub struct Line {
    /// Its place among the names.
    pub color: usize,
    pub is_stack: bool,
    pub points: Vec<(f64, f64)>,
}

/// The table of a page.
pub struct Summary {
    pub header: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// The charts, with the names of their lines beside them.
pub fn svg(title: &str, names: &[String], charts: &[Chart]) -> Result<String, String> {
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
            draw(area, chart).map_err(words)?;
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

fn draw(area: &Area<'_>, chart: &Chart) -> Result<(), DrawingAreaErrorKind<std::io::Error>> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let end = points().map(|(time, _)| *time).fold(1.0, f64::max);
    let most = points().map(|(_, value)| *value).chain(chart.limit).fold(0.0, f64::max);
    // So that lines across are at whole numbers of the unit that is shown.
    let scale = if chart.unit == Unit::Bytes { unit_of(most) } else { 1.0 };
    let most = if most > 0.0 { most * 1.08 / scale } else { 1.0 };
    let mut context = ChartBuilder::on(area)
        .caption(&chart.title, (FONT, 18))
        .margin_left(8)
        .margin_right(16)
        .margin_bottom(6)
        .x_label_area_size(22)
        .y_label_area_size(78)
        .build_cartesian_2d(0.0..end, 0.0..most)?;
    let grid = RGBColor(225, 225, 225);
    context
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(grid)
        .light_line_style(TRANSPARENT)
        .axis_style(RGBColor(150, 150, 150))
        .label_style((FONT, 15))
        .x_labels(8)
        .y_labels(5)
        .x_label_formatter(&|seconds| clock(*seconds, end))
        .y_label_formatter(&|value| labelled(*value * scale, chart.unit))
        .draw()?;
    // The stack's is below the others.
    let mut lines: Vec<&Line> = chart.lines.iter().collect();
    lines.sort_by_key(|line| !line.is_stack);
    for line in lines {
        let style = style(line.color, line.is_stack);
        // One look alone is a point.
        if let [(time, value)] = line.points.as_slice() {
            context.draw_series([Circle::new((*time, value / scale), 3, style.filled())])?;
        }
        context.draw_series(LineSeries::new(
            line.points.iter().map(|(time, value)| (*time, value / scale)),
            style,
        ))?;
    }
    if let Some(limit) = chart.limit {
        let across = [(0.0, limit / scale), (end, limit / scale)];
        let red = RGBColor(200, 30, 30).stroke_width(1);
        context.draw_series(DashedLineSeries::new(across, 6, 4, red))?;
        let position = Pos::new(HPos::Right, VPos::Bottom);
        let style = (FONT, 14).into_font().color(&RGBColor(200, 30, 30)).pos(position);
        let text = format!("the stack's limit, {}", labelled(limit, chart.unit));
        context.draw_series([Text::new(text, (end, limit / scale), style)])?;
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

fn labelled(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Percent => format!("{value:.0}%"),
        Unit::Bytes => binary(value as u64),
        Unit::Rate => format!("{}/s", decimal(value as u64)),
        Unit::Count => format!("{value:.0}"),
    }
}

/// `90 s`, `5:30`, `2:05:00`: since the beginning of a recording that is so long.
fn clock(seconds: f64, end: f64) -> String {
    if end < 20.0 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    match seconds {
        0..120 => format!("{seconds} s"),
        120..3600 => format!("{}:{:02}", seconds / 60, seconds % 60),
        _ => format!("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
    }
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
        let line = Line { color: 1, is_stack: false, points: vec![(0.0, 1.0), (5.0, 3.0)] };
        let stack = Line { color: 0, is_stack: true, points: vec![(0.0, 2.0)] };
        let chart = Chart {
            title: "Memory".to_owned(),
            unit: Unit::Bytes,
            lines: vec![stack, line],
            limit: Some(4096.0),
        };
        let names = ["shop".to_owned(), "<shop-api-1>".to_owned()];
        let drawn = svg("shop & more", &names, &[chart]).unwrap();
        for part in [
            "<svg",
            "Memory",
            "shop &amp; more",
            "&lt;shop-api-1&gt;",
            "the stack&apos;s limit, 4KiB",
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
        assert!(svg("empty", &[], &[]).is_ok());
    }

    #[test]
    fn times_are_short() {
        assert_eq!([5.0, 119.6, 7384.0].map(|time| clock(time, 9000.0)), ["5 s", "2:00", "2:03:04"]);
        assert_eq!(clock(5.0, 10.0), "5.0 s");
    }
}
