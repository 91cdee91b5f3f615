//! From a recording to what is drawn of it: a chart for each thing that is taken, a line in it for each container.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::record::{self, Sample};
use super::row::{Bounds, Row, Subject};
use crate::commands::{Result, doing};
use crate::render::amount::{binary, decimal};
use crate::render::chart::{Chart, Line, Summary, Unit, html, svg};

/// So many containers have lines of their own: those that take most.
const MOST: usize = 10;

/// Draws a recording to a file, as its name says.
pub fn draw(recording: &Path, picture: &Path) -> Result<()> {
    let samples = record::read(recording)?;
    let plot = Plot::of(&samples);
    let drawn = svg(&plot.title, &plot.names, &plot.charts).map_err(|why| {
        crate::commands::Error::Usage(format!("cannot draw {}: {why}", recording.display()))
    })?;
    let is_html = picture.extension().is_some_and(|ending| ending == "html");
    let text = if is_html { html(&plot.title, &drawn, &plot.summary) } else { drawn };
    fs::write(picture, text).map_err(doing(format!("write {}", picture.display())))
}

struct Plot {
    title: String,
    /// Of the lines, by their colours: the stack's first.
    names: Vec<String>,
    charts: Vec<Chart>,
    summary: Summary,
}

/// How a chart's line comes from what was seen.
type Figure = fn(&Row) -> f64;

/// Its title and unit, what is drawn, and the limit of the stack where it has one.
type Kind = (&'static str, Unit, Figure, Option<Figure>);

const CHARTS: [Kind; 7] = [
    (
        "CPU",
        Unit::Percent,
        |row| row.cpu,
        Some(|row| row.figures.group.cpu.limit.unwrap_or_default() * 100.0),
    ),
    (
        "Memory",
        Unit::Bytes,
        |row| row.memory as f64,
        Some(|row| row.figures.group.memory.limit.unwrap_or_default() as f64),
    ),
    ("Throttled", Unit::Percent, |row| row.throttled.unwrap_or_default(), None),
    ("Network, received and sent", Unit::Rate, |row| row.net_rates.0 as f64 + row.net_rates.1 as f64, None),
    ("Disks, read and written", Unit::Rate, |row| row.block_rates.0 as f64 + row.block_rates.1 as f64, None),
    ("Processes and threads", Unit::Count, |row| row.figures.group.pids.current as f64, None),
    (
        "Pressure (some, 10 s)",
        Unit::Percent,
        |row| row.pressure.as_ref().map_or(0.0, |(_, share)| *share),
        None,
    ),
];

impl Plot {
    fn of(samples: &[Sample]) -> Self {
        let rows = rows(samples);
        let begun = samples.iter().map(|sample| sample.figures.time).min().unwrap_or_default();
        let mut names: Vec<&String> = rows.keys().collect();
        let weight = |name: &String| {
            let rows = &rows[name];
            let mean = |figure: Figure| rows.iter().map(figure).sum::<f64>() / rows.len().max(1) as f64;
            // A gigabyte counts as much as a CPU.
            mean(|row| row.cpu) + mean(|row| row.memory as f64) / f64::from(1 << 30) * 100.0
        };
        let is_stack = |name: &String| rows[name].iter().any(Row::is_stack);
        names.sort_by(|a, b| {
            is_stack(b).cmp(&is_stack(a)).then(weight(b).total_cmp(&weight(a))).then(a.cmp(b))
        });
        let stacks = names.iter().filter(|name| is_stack(name)).count();
        let hidden = names.len().saturating_sub(stacks + MOST);
        names.truncate(stacks + MOST);
        let charts = CHARTS.iter().filter_map(|(title, unit, figure, limit)| {
            let lines = names.iter().enumerate().map(|(color, name)| {
                let seconds = |row: &Row| (row.figures.time.saturating_sub(begun)) as f64 / 1e9;
                let points = rows[*name].iter().map(|row| (seconds(row), figure(row))).collect();
                Line { color, is_stack: is_stack(name), points }
            });
            let lines: Vec<Line> = lines.collect();
            // What nobody takes, or this host does not tell, needs no room.
            let is_empty = lines.iter().all(|line| line.points.iter().all(|(_, value)| *value == 0.0));
            let of_stack = rows.values().flatten().rfind(|row| row.is_stack());
            let limit = limit.zip(of_stack).map(|(limit, row)| limit(row)).filter(|limit| *limit > 0.0);
            (!is_empty).then(|| Chart { title: (*title).to_owned(), unit: *unit, lines, limit })
        });
        let stack = names.iter().find(|name| is_stack(name)).map_or("containers", |name| name.as_str());
        let more = match hidden {
            0 => String::new(),
            1 => "; 1 more container, which takes less, is not drawn".to_owned(),
            hidden => format!("; {hidden} more containers, which take less, are not drawn"),
        };
        Self {
            title: format!("{stack}, from {}{more}", crate::time::with_zone(begun - begun % 1_000_000_000)),
            charts: charts.collect(),
            summary: summary(&rows, &names),
            names: names
                .iter()
                .map(|name| name.strip_prefix(&format!("{stack}-")).unwrap_or(name).to_owned())
                .collect(),
        }
    }
}

/// What was recorded, by name, each with what has come since the line before.
fn rows(samples: &[Sample]) -> BTreeMap<String, Vec<Row>> {
    let unbounded = Bounds { cpu: f64::INFINITY, memory: u64::MAX };
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for Sample { name, service, figures } in samples {
        let known = rows.entry(name.clone()).or_default();
        let before = known.last().map(|row: &Row| row.figures.clone());
        let subject = Subject { name: name.clone(), service: service.clone(), id: String::new() };
        known.push(Row::new(subject, figures.clone(), before.as_ref(), unbounded));
    }
    // There is no rate of a first look; where there are others, it would be a line from nothing.
    for rows in rows.values_mut().filter(|rows| rows.len() > 1) {
        rows.remove(0);
    }
    rows
}

fn summary(rows: &BTreeMap<String, Vec<Row>>, names: &[&String]) -> Summary {
    let header = [
        "Name",
        "CPU, mean",
        "CPU, most",
        "Memory, mean",
        "Memory, most",
        "Network",
        "Disks",
        "Out of memory",
    ];
    let line = |name: &&String| {
        let rows = &rows[*name];
        let count = rows.len().max(1) as f64;
        let most = |figure: Figure| rows.iter().map(figure).fold(0.0, f64::max);
        let mean = |figure: Figure| rows.iter().map(figure).sum::<f64>() / count;
        let bytes = |bytes: f64| binary(bytes as u64);
        let last = rows.last();
        let kills = last.and_then(|row| row.figures.group.memory.events.get("oom_kill")).copied();
        let net = last.map(|row| row.net).unwrap_or_default();
        let blocks = last.map(|row| row.blocks).unwrap_or_default();
        vec![
            (*name).clone(),
            format!("{:.1}%", mean(|row| row.cpu)),
            format!("{:.1}%", most(|row| row.cpu)),
            bytes(mean(|row| row.memory as f64)),
            bytes(most(|row| row.memory as f64)),
            format!("{} / {}", decimal(net.0), decimal(net.1)),
            format!("{} / {}", decimal(blocks.0), decimal(blocks.1)),
            kills.unwrap_or_default().to_string(),
        ]
    };
    Summary { header: header.map(str::to_owned).to_vec(), rows: names.iter().map(line).collect() }
}
