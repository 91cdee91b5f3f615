//! From a recording to what is drawn of it: a chart for each thing that is taken, a line in it for each container.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use composer_supervisor::host::Figures;

use super::record::{self, Sample};
use super::row::{Bounds, Row, Subject};
use crate::commands::{Result, doing};
use crate::render::amount::{binary, decimal};
use crate::render::chart::{Chart, Limit, Line, Summary, Unit, html, svg};

/// So many containers have lines of their own: those that take most.
const MOST: usize = 10;

/// Draws a recording to a file, as its name says.
pub fn draw(recording: &Path, picture: &Path) -> Result<()> {
    let samples = record::read(recording)?;
    let plot = Plot::of(&samples);
    let drawn = svg(&plot.title, plot.begun, &plot.names, &plot.charts).map_err(|why| {
        crate::commands::Error::Usage(format!("cannot draw {}: {why}", recording.display()))
    })?;
    let is_html = picture.extension().is_some_and(|ending| ending == "html");
    let text = if is_html { html(&plot.title, &drawn, &plot.summary) } else { drawn };
    fs::write(picture, text).map_err(doing(format!("write {}", picture.display())))
}

struct Plot {
    title: String,
    /// When the recording begins: nanoseconds since the Unix epoch.
    begun: u64,
    /// Of the lines, by their colours: the stack's first.
    names: Vec<String>,
    charts: Vec<Chart>,
    summary: Summary,
}

/// How a chart's line comes from what was seen.
type Figure = fn(&Row) -> f64;

/// Its title and unit, what is drawn, and the limit of it where there is one.
type Kind = (&'static str, Unit, Figure, Option<Figure>);

const CHARTS: [Kind; 9] = [
    ("CPU", Unit::Percent, |row| row.cpu, Some(cpu_limit)),
    ("Memory", Unit::Bytes, |row| row.memory as f64, Some(memory_limit)),
    ("Throttled", Unit::Percent, |row| row.throttled.unwrap_or_default(), None),
    ("Network, received", Unit::Rate, |row| row.net_rates.0 as f64, None),
    ("Network, sent", Unit::Rate, |row| row.net_rates.1 as f64, None),
    ("Disks, read", Unit::Rate, |row| row.block_rates.0 as f64, None),
    ("Disks, written", Unit::Rate, |row| row.block_rates.1 as f64, None),
    ("Processes and threads", Unit::Count, |row| row.figures.group.pids.current as f64, Some(pids_limit)),
    (
        "Pressure (some, 10 s)",
        Unit::Percent,
        |row| row.pressure.as_ref().map_or(0.0, |(_, share)| *share),
        None,
    ),
];

/// Its own limit of CPU time in percent of a CPU; 0 where it has none.
fn cpu_limit(row: &Row) -> f64 {
    row.figures.group.cpu.limit.unwrap_or_default() * 100.0
}

/// The same in bytes of memory.
fn memory_limit(row: &Row) -> f64 {
    row.figures.group.memory.limit.unwrap_or_default() as f64
}

/// The same in processes and threads.
fn pids_limit(row: &Row) -> f64 {
    row.figures.group.pids.limit.unwrap_or_default() as f64
}

impl Plot {
    fn of(samples: &[Sample]) -> Self {
        let gap = gap(samples);
        let rows = rows(samples, gap);
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
        let stack = names.iter().find(|name| is_stack(name)).map_or("containers", |name| name.as_str());
        let shown: Vec<String> = names
            .iter()
            .map(|name| name.strip_prefix(&format!("{stack}-")).unwrap_or(name).to_owned())
            .collect();
        let charts = CHARTS.iter().filter_map(|(title, unit, figure, limit)| {
            let lines = names.iter().enumerate().map(|(color, name)| {
                let seconds = |row: &Row| (row.figures.time.saturating_sub(begun)) as f64 / 1e9;
                let mut pieces: Vec<Vec<(f64, f64)>> = Vec::new();
                for piece in rows[*name].chunk_by(|a, b| b.figures.time - a.figures.time <= gap) {
                    pieces.push(piece.iter().map(|row| (seconds(row), figure(row))).collect());
                }
                Line { color, is_stack: is_stack(name), pieces }
            });
            let lines: Vec<Line> = lines.collect();
            // What nobody takes, or this host does not tell, needs no room.
            let is_empty =
                lines.iter().all(|line| line.pieces.iter().flatten().all(|(_, value)| *value == 0.0));
            let limits = limit.map(|limit| limits(&rows, &names, &shown, limit)).unwrap_or_default();
            (!is_empty).then(|| Chart { title: (*title).to_owned(), unit: *unit, lines, limits })
        });
        let more = match hidden {
            0 => String::new(),
            1 => "; 1 more container, which takes less, is not drawn".to_owned(),
            hidden => format!("; {hidden} more containers, which take less, are not drawn"),
        };
        Self {
            title: format!("{stack}, from {}{more}", crate::time::with_zone(begun - begun % 1_000_000_000)),
            charts: charts.collect(),
            summary: summary(&rows, &names),
            names: shown,
            begun,
        }
    }
}

/// The limits that are drawn across a chart: the last of each line, one for all that have the same.
fn limits(
    rows: &BTreeMap<String, Vec<Row>>,
    names: &[&String],
    shown: &[String],
    limit: Figure,
) -> Vec<Limit> {
    let mut limits: Vec<Limit> = Vec::new();
    for (place, (name, shown)) in names.iter().zip(shown).enumerate() {
        let Some(last) = rows[*name].last().filter(|row| limit(row) > 0.0) else { continue };
        let value = limit(last);
        let color = (!last.is_stack()).then_some(place);
        let of = if last.is_stack() { "the stack".to_owned() } else { shown.clone() };
        match limits.iter_mut().find(|known| known.value == value) {
            // Three names have room.
            Some(known) if known.of.matches(", ").count() < 2 => known.of += &format!(", {of}"),
            Some(known) if known.of.ends_with('…') => {}
            Some(known) => known.of += ", …",
            None => limits.push(Limit { value, of, color }),
        }
    }
    limits
}

/// Longer than this between two looks, in nanoseconds, nobody has recorded.
fn gap(samples: &[Sample]) -> u64 {
    let mut last: BTreeMap<&str, u64> = BTreeMap::new();
    let since = |sample: &'_ Sample, last: Option<u64>| Some(sample.figures.time.saturating_sub(last?));
    let mut between: Vec<u64> = Vec::new();
    for sample in samples {
        let before = last.insert(&sample.name, sample.figures.time);
        between.extend(since(sample, before));
    }
    between.sort_unstable();
    let usual = between.get(between.len() / 2).copied().unwrap_or_default();
    (usual * 5).max(5_000_000_000)
}

/// What was recorded, by name, each with what has come since the line before.
fn rows(samples: &[Sample], gap: u64) -> BTreeMap<String, Vec<Row>> {
    let unbounded = Bounds { cpu: f64::INFINITY, memory: u64::MAX };
    let mut rows: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    let (mut first, mut last) = (BTreeMap::new(), BTreeMap::<&str, Figures>::new());
    for Sample { name, service, figures } in samples {
        let before = last.insert(name, figures.clone());
        let before = before.filter(|before| figures.time.saturating_sub(before.time) <= gap);
        let subject = Subject { name: name.clone(), service: service.clone(), id: String::new() };
        let row = Row::new(subject, figures.clone(), before.as_ref(), unbounded);
        match before {
            Some(_) => rows.entry(name.clone()).or_default().push(row),
            // There is no rate of a first look: where there are others, it would be a line from nothing.
            None => drop(first.entry(name.clone()).or_insert(row)),
        }
    }
    for (name, row) in first {
        rows.entry(name).or_insert_with(|| vec![row]);
    }
    rows
}

fn summary(rows: &BTreeMap<String, Vec<Row>>, names: &[&String]) -> Summary {
    let header = [
        "Name",
        "CPU, mean",
        "CPU, most",
        "CPU, limit",
        "Memory, mean",
        "Memory, most",
        "Memory, limit",
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
        let bound = |limit: Figure, show: &dyn Fn(f64) -> String| {
            let own = last.map(limit).filter(|limit| *limit > 0.0);
            own.map_or_else(|| "--".to_owned(), show)
        };
        let kills = last.and_then(|row| row.figures.group.memory.events.get("oom_kill")).copied();
        let net = last.map(|row| row.net).unwrap_or_default();
        let blocks = last.map(|row| row.blocks).unwrap_or_default();
        vec![
            (*name).clone(),
            format!("{:.1}%", mean(|row| row.cpu)),
            format!("{:.1}%", most(|row| row.cpu)),
            bound(cpu_limit, &|percent| format!("{percent:.0}%")),
            bytes(mean(|row| row.memory as f64)),
            bytes(most(|row| row.memory as f64)),
            bound(memory_limit, &bytes),
            format!("{} / {}", decimal(net.0), decimal(net.1)),
            format!("{} / {}", decimal(blocks.0), decimal(blocks.1)),
            kills.unwrap_or_default().to_string(),
        ]
    };
    Summary { header: header.map(str::to_owned).to_vec(), rows: names.iter().map(line).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, service: Option<&str>, second: u64, memory: u64) -> Sample {
        let mut figures = Figures { time: second * 1_000_000_000, ..Figures::default() };
        figures.group.cpu.usage_usec = second * 1000;
        figures.group.memory.usage = memory;
        figures.group.memory.limit = service.map(|_| 64 << 20);
        Sample { name: name.to_owned(), service: service.map(str::to_owned), figures }
    }

    #[test]
    fn what_nobody_has_recorded_is_no_line_and_each_limit_is_drawn() {
        let seconds = [1, 2, 3, 4, 100, 101, 102];
        let both = |second| [sample("s", None, second, 7), sample("s-web-1", Some("web"), second, 5)];
        let samples: Vec<Sample> = seconds.into_iter().flat_map(both).collect();
        let plot = Plot::of(&samples);
        let memory = plot.charts.iter().find(|chart| chart.title == "Memory").unwrap();
        let times: Vec<Vec<f64>> = memory.lines[1]
            .pieces
            .iter()
            .map(|piece| piece.iter().map(|(time, _)| *time).collect())
            .collect();
        assert_eq!(times, [vec![1.0, 2.0, 3.0], vec![100.0, 101.0]]);
        let limits: Vec<_> =
            memory.limits.iter().map(|limit| (limit.of.as_str(), limit.value, limit.color)).collect();
        assert_eq!(limits, [("web-1", f64::from(64 << 20), Some(1))]);
        let row = &plot.summary.rows[1];
        assert_eq!((row[0].as_str(), row[3].as_str(), row[6].as_str()), ("s-web-1", "--", "64MiB"));
        assert_eq!(plot.charts.iter().filter(|chart| chart.title.starts_with("Network")).count(), 0);
    }
}
