//! The live table of `stats`: bars against limits, in as much room as the terminal has.

use unicode_width::UnicodeWidthStr;

use super::lines::{pad, paint};
use super::table::{shorten, shorten_middle};

/// One cell: text, and a bar before it where it has a share of something.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    pub text: String,
    /// In percent.
    pub share: Option<f64>,
}

impl Cell {
    /// Text alone.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), share: None }
    }

    /// Text after a bar.
    pub fn bar(share: f64, text: impl Into<String>) -> Self {
        Self { text: text.into(), share: Some(share) }
    }
}

/// A column: its header, and how soon it goes where there is no room for all; 0 never does.
pub type Column = (&'static str, u8);

/// From where on a share is drawn as a warning, and as an alarm, in percent.
const WARNING: f64 = 70.0;
const ALARM: f64 = 90.0;
/// How wide bars are, in the order in which it is tried.
const BARS: [usize; 3] = [12, 8, 5];
const GAP: usize = 2;
/// So narrow a first column may get at last.
const LEAST_NAME: usize = 12;
/// So wide it is kept before bars and others go: a quarter of the terminal, and no less than this.
const LONG_NAME: usize = 20;

/// The lines of a frame for a terminal of so many columns and rows. The first row is drawn as a title; what does not
/// fit below is counted.
pub fn frame(
    columns: &[Column],
    rows: &[Vec<Cell>],
    (width, height): (usize, usize),
    color: bool,
) -> Vec<String> {
    let room = height.saturating_sub(1).max(1);
    let (shown, hidden) = if rows.len() > room {
        (&rows[..room.saturating_sub(1)], rows.len() - room.saturating_sub(1))
    } else {
        (rows, 0)
    };
    let layout = Layout::fit(columns, rows, width);
    let header: Vec<Cell> = columns.iter().map(|(name, _)| Cell::text(*name)).collect();
    let mut lines = vec![paint(&layout.line(&header, width, false), "2", color)];
    for (number, row) in shown.iter().enumerate() {
        let line = layout.line(row, width, color);
        lines.push(if number == 0 { bold(&line, color) } else { line });
    }
    if hidden > 0 {
        lines.push(paint(
            &shorten(&format!("… {hidden} more: the terminal has no room for them"), width),
            "2",
            color,
        ));
    }
    lines
}

/// Which columns are there, how wide each is, and how wide bars are.
struct Layout {
    bar: usize,
    /// The place of each, and the width of its text.
    columns: Vec<(usize, usize, bool)>,
}

impl Layout {
    fn fit(columns: &[Column], rows: &[Vec<Cell>], width: usize) -> Self {
        let last = columns.iter().map(|(_, rank)| *rank).max().unwrap_or_default();
        for least in 0..=last {
            // The higher the rank, the sooner it goes.
            for bar in BARS {
                let layout = Self::of(columns, rows, last - least, bar);
                if layout.width() <= width {
                    return layout;
                }
            }
            let mut layout = Self::of(columns, rows, last - least, BARS[BARS.len() - 1]);
            layout.narrow(width, LONG_NAME.max(width / 4));
            if layout.width() <= width {
                return layout;
            }
        }
        let mut layout = Self::of(columns, rows, 0, 0);
        layout.narrow(width, LEAST_NAME);
        layout
    }

    /// Has the names give what is too much for a terminal, but for so many places.
    fn narrow(&mut self, width: usize, least: usize) {
        let excess = self.width().saturating_sub(width);
        if let Some((_, name, _)) = self.columns.first_mut() {
            *name = name.saturating_sub(excess).max((*name).min(least));
        }
    }

    fn of(columns: &[Column], rows: &[Vec<Cell>], most: u8, bar: usize) -> Self {
        let kept = columns.iter().enumerate().filter(|(_, (_, rank))| *rank <= most);
        let columns = kept.map(|(place, (header, _))| {
            let cells = rows.iter().filter_map(|row| row.get(place));
            let has_bar = cells.clone().any(|cell| cell.share.is_some());
            let text = cells.map(|cell| cell.text.width()).max().unwrap_or_default();
            let bar = if has_bar && bar > 0 { bar + 1 } else { 0 };
            (place, text.max(header.width().saturating_sub(bar)), has_bar)
        });
        Self { bar, columns: columns.collect() }
    }

    fn width(&self) -> usize {
        let bar = if self.bar > 0 { self.bar + 1 } else { 0 };
        let columns =
            self.columns.iter().map(|(_, text, has_bar)| text + if *has_bar { bar } else { 0 } + GAP);
        columns.sum::<usize>().saturating_sub(GAP)
    }

    fn line(&self, row: &[Cell], width: usize, color: bool) -> String {
        let mut line = String::new();
        let mut used = 0;
        for (number, (place, room, has_bar)) in self.columns.iter().enumerate() {
            let Some(cell) = row.get(*place) else { continue };
            let bar = if *has_bar && self.bar > 0 { self.bar + 1 } else { 0 };
            let all = room + bar + if number == 0 { 0 } else { GAP };
            if used + all > width {
                // Not even the columns that never go have room: cut where the terminal ends.
                let rest = width.saturating_sub(used + GAP);
                if number > 0 && rest > 0 {
                    line.push_str(&" ".repeat(GAP));
                    line.push_str(&shorten(&cell.text, rest));
                } else if number == 0 {
                    line.push_str(&shorten(&cell.text, width));
                }
                break;
            }
            if number > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            match cell.share {
                Some(share) if bar > 0 => {
                    line.push_str(&drawn(share, self.bar, color));
                    line.push(' ');
                    line.push_str(&pad(&cell.text, *room));
                }
                Some(share) => line.push_str(&paint(&pad(&cell.text, *room), tone(share), color)),
                None if number == 0 => line.push_str(&pad(&shorten_middle(&cell.text, *room), *room)),
                None => line.push_str(&pad(&shorten(&cell.text, room + bar), room + bar)),
            }
            used += all;
        }
        line.truncate(line.trim_end().len());
        line
    }
}

/// `━━━━╸─────`: heavy as far as the share goes, to the half of a place.
fn drawn(share: f64, width: usize, color: bool) -> String {
    let whole = share.clamp(0.0, 100.0) / 100.0 * width as f64;
    let halves = (whole * 2.0).round() as usize;
    // Whatever is there at all is seen.
    let halves = if share > 0.0 { halves.max(1) } else { halves };
    let (full, half) = (halves / 2, halves % 2);
    let heavy: String = "━".repeat(full) + if half == 1 { "╸" } else { "" };
    let light = "─".repeat(width - full - half);
    format!("{}{}", paint(&heavy, tone(share), color), paint(&light, "2", color))
}

fn tone(share: f64) -> &'static str {
    if share >= ALARM {
        "31"
    } else if share >= WARNING {
        "33"
    } else {
        "32"
    }
}

/// Bold, whatever is coloured in between.
fn bold(line: &str, color: bool) -> String {
    if !color {
        return line.to_owned();
    }
    format!("\x1b[1m{}\x1b[0m", line.replace("\x1b[0m", "\x1b[0m\x1b[1m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: [Column; 4] = [("NAME", 0), ("CPU", 0), ("MEM", 0), ("PIDS", 1)];

    fn rows() -> Vec<Vec<Cell>> {
        let row = |name: &str, cpu: f64| {
            vec![
                Cell::text(name),
                Cell::bar(cpu, format!("{cpu:.0}%")),
                Cell::bar(50.0, "32MiB / 64MiB"),
                Cell::text("7"),
            ]
        };
        vec![row("shop", 75.0), row("shop-api-1", 0.0), row("shop-web-1", 100.0)]
    }

    fn frame_of(width: usize, height: usize) -> Vec<String> {
        frame(&COLUMNS, &rows(), (width, height), false)
    }

    #[test]
    fn bars_show_shares() {
        assert_eq!(drawn(50.0, 4, false), "━━──");
        assert_eq!(drawn(0.0, 4, false), "────");
        assert_eq!(drawn(0.1, 4, false), "╸───");
        assert_eq!(drawn(300.0, 4, false), "━━━━");
        assert_eq!(drawn(95.0, 2, true), "\x1b[31m━━\x1b[0m\x1b[2m\x1b[0m");
    }

    #[test]
    fn a_frame_in_a_wide_terminal() {
        let expected = [
            "NAME        CPU                MEM                         PIDS",
            "shop        ━━━━━━━━━─── 75%   ━━━━━━────── 32MiB / 64MiB  7",
            "shop-api-1  ──────────── 0%    ━━━━━━────── 32MiB / 64MiB  7",
            "shop-web-1  ━━━━━━━━━━━━ 100%  ━━━━━━────── 32MiB / 64MiB  7",
        ];
        assert_eq!(frame_of(100, 24), expected);
    }

    #[test]
    fn a_long_name_gives_its_middle_before_bars_go() {
        let mut rows = rows();
        rows[1][0] = Cell::text("shop-a-service-with-a-name-that-never-ends-1");
        let lines = frame(&COLUMNS, &rows, (80, 24), false);
        assert_eq!(lines[2], "shop-a-service-with-…me-that-never-ends-1  ───── 0%    ━━╸── 32MiB / 64MiB  7");
        let lines = frame(&COLUMNS, &rows, (60, 24), false);
        assert!(lines[2].starts_with("shop-a-ser…ver-ends-1  ─────"), "{lines:#?}");
        assert!(lines[0].ends_with("PIDS"), "{lines:#?}");
    }

    #[test]
    fn a_frame_is_never_wider_or_higher_than_the_terminal() {
        for width in 1..100 {
            for height in 1..6 {
                let lines = frame_of(width, height);
                assert!(lines.len() <= height.max(2), "{width} x {height}: {lines:?}");
                assert!(lines.iter().all(|line| line.width() <= width), "{width} x {height}: {lines:#?}");
            }
        }
        let narrow = frame_of(40, 3);
        assert_eq!(narrow[0], "NAME        CPU   MEM");
        assert_eq!(narrow[2], "… 2 more: the terminal has no room for …");
        assert!(!narrow.concat().contains('━'));
    }
}
