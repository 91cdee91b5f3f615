//! `compose stats`: what a stack and its containers take, anew every second.

mod line;
mod listing;
mod plot;
mod record;
mod row;

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use composer_supervisor::host::{Figures, Meters, Shaping};
use composer_supervisor::protocol::ContainerStatus;
use nix::sys::signal::Signal;
use rustix::event::PollFlags;

use super::context::Context;
use super::exec::terminal;
use super::signals::Signals;
use super::{Error, INTERRUPTED, Result, wait};
use crate::host;
use crate::options::Stats;
use crate::render::amount::{binary, decimal};
use crate::render::bars::{self, Cell, Column};
use crate::render::format::Format;
use crate::render::table;
use line::{COLUMNS, Line, OF_BANDWIDTH};
use listing::Listing;
use record::Recorder;
use row::{Bounds, Row, Subject};

/// Time between two looks: CPU time is known as a difference only, and a reader wants to follow.
const PERIOD: Duration = Duration::from_secs(1);

/// The columns of the live table, and in which order they go where there is no room.
const LIVE: [Column; 8] = [
    ("NAME", 0),
    ("CPU", 0),
    ("MEMORY", 0),
    ("THROTTLED", 4),
    ("NET RX / TX", 3),
    ("DISK R / W", 5),
    ("PIDS", 1),
    ("PRESSURE", 2),
];

/// What came of waiting.
enum Woken {
    /// It is time for another look.
    Tick,
    /// The terminal has another size.
    Resized,
    Interrupted,
}

/// Shows figures until it is interrupted; with `--no-stream` once.
pub fn run(context: &mut Context, verb: &Stats) -> Result {
    match (&verb.plot, &verb.from, &verb.record) {
        (Some(picture), Some(recording), _) => return plot::draw(recording, picture).map(|()| 0),
        (Some(_), None, None) => {
            let why = "--plot draws a recording: give one by --from, or make one by --record";
            return Err(Error::Usage(why.to_owned()));
        }
        _ => {}
    }
    let format = Format::parse(&verb.format.text)?;
    let stack = context.project()?;
    let mut stats = Watched::open(&stack, verb, !matches!(format, Format::Table))?;
    let named: Vec<String> = verb.service.iter().cloned().collect();
    context.check_services(&named, &stats.listing.containers)?;
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM, Signal::SIGWINCH])?;
    let mut show = Show::new(verb, format, context)?;
    let outcome = watch(&mut stats, &signals, &mut show, context);
    show.end(context)?;
    if let (Some(picture), Some(recording), Ok(_)) = (&verb.plot, &verb.record, &outcome) {
        plot::draw(recording, picture)?;
    }
    outcome
}

fn watch(stats: &mut Watched<'_>, signals: &Signals, show: &mut Show<'_>, context: &mut Context) -> Result {
    stats.look()?;
    let mut next = Instant::now() + PERIOD;
    let mut rows = Vec::new();
    loop {
        match stats.wait_until(next, signals)? {
            Woken::Interrupted => return Ok(INTERRUPTED),
            Woken::Resized => {
                if show.is_live && !rows.is_empty() {
                    show.frame(&rows, context)?;
                }
                continue;
            }
            Woken::Tick => {}
        }
        next = (next + PERIOD).max(Instant::now());
        rows = stats.look()?;
        if let Some(recorder) = &mut show.recorder {
            recorder.take(&rows)?;
        }
        show.rows(&rows, context)?;
        if stats.verb.no_stream {
            return Ok(0);
        }
    }
}

/// A stack that is looked at again and again.
struct Watched<'a> {
    verb: &'a Stats,
    stack: String,
    listing: Listing,
    meters: Meters,
    shaping: Shaping,
    bounds: Bounds,
    /// What the last look has found, by id; the stack has none.
    before: BTreeMap<String, Figures>,
    /// Whether all is read, and not only what a table shows.
    details: bool,
}

impl<'a> Watched<'a> {
    fn open(stack: &str, verb: &'a Stats, details: bool) -> Result<Self> {
        let listing = Listing::open(stack)?;
        let meters = Meters::open(stack)?;
        let cpus = host::facts().map_or(1, |facts| facts.cpus_online.len());
        #[expect(clippy::cast_precision_loss, reason = "numbers of CPUs are small")]
        let bounds = Bounds { cpu: cpus as f64 * 100.0, memory: meters.host_memory() };
        Ok(Self {
            verb,
            stack: stack.to_owned(),
            listing,
            meters,
            shaping: Shaping::read(stack)?,
            bounds,
            before: BTreeMap::new(),
            details: details || verb.record.is_some(),
        })
    }

    /// Waits for the next look, and hears of what happens meanwhile.
    fn wait_until(&mut self, next: Instant, signals: &Signals) -> Result<Woken> {
        loop {
            let now = Instant::now();
            if now >= next {
                return Ok(Woken::Tick);
            }
            let stdout = std::io::stdout();
            let mut fds = vec![(signals.as_fd(), PollFlags::IN), (stdout.as_fd(), PollFlags::empty())];
            fds.extend(self.listing.as_fd().map(|fd| (fd, PollFlags::IN)));
            let ready = wait::any(&fds, Some(next - now))?;
            if ready.get(1) == Some(&true) {
                return Err(Error::Output(std::io::ErrorKind::BrokenPipe.into()));
            }
            if ready.get(2) == Some(&true) {
                self.listing.hear()?;
            }
            // Taken, so that it does not end us in another way once it is no longer blocked.
            match signals.next()? {
                Some(Signal::SIGWINCH) => return Ok(Woken::Resized),
                Some(_) => return Ok(Woken::Interrupted),
                None => {}
            }
        }
    }

    /// Looks at the stack and the containers that are wanted.
    fn look(&mut self) -> Result<Vec<Row>> {
        if self.listing.refresh()? {
            self.shaping = Shaping::read(&self.stack)?;
            let running = self.listing.containers.iter();
            let running: Vec<(String, i32)> =
                running.filter_map(|one| Some((one.name.clone(), one.pid?))).collect();
            self.meters.retain(&running);
        }
        let limited = self.shaping.limited()?;
        let mut of_stack = self.meters.stack(self.details)?;
        let bounds = of_stack.as_ref().map_or(self.bounds, |figures| self.bounds.within(figures));
        let mut before = BTreeMap::new();
        let mut rows = Vec::new();
        for container in &self.listing.containers {
            let wanted = self.verb.service.as_ref().is_none_or(|service| *service == container.service);
            // The stack's line is for the whole of it, and for nothing else.
            if !wanted {
                continue;
            }
            let Some(pid) = container.pid else {
                if self.verb.all {
                    rows.push(Row::at_rest(subject(container)));
                }
                continue;
            };
            let figures = self.meters.container(&container.name, pid, self.details)?;
            if let Some(of_stack) = of_stack.as_mut() {
                let sum = of_stack.net.entry("containers".to_owned()).or_default();
                figures.net.values().for_each(|traffic| *sum += *traffic);
                if figures.has_blocks_apart {
                    let all = of_stack.group.io.get_or_insert_default();
                    for (device, more) in figures.group.io.iter().flatten() {
                        let sum = all.entry(device.clone()).or_default();
                        (sum.read, sum.written) = (sum.read + more.read, sum.written + more.written);
                        (sum.reads, sum.writes) = (sum.reads + more.reads, sum.writes + more.writes);
                    }
                }
            }
            let mut row =
                Row::new(subject(container), figures.clone(), self.before.get(&container.id), bounds);
            row.limited = limited.get(&container.name).copied();
            before.insert(container.id.clone(), figures);
            rows.push(row);
        }
        if let Some(figures) = of_stack.filter(|_| self.verb.service.is_none()) {
            let whole = Subject { name: self.stack.clone(), service: None, id: String::new() };
            rows.insert(0, Row::new(whole, figures.clone(), self.before.get(""), self.bounds));
            before.insert(String::new(), figures);
        }
        self.before = before;
        Ok(rows)
    }
}

fn subject(container: &ContainerStatus) -> Subject {
    Subject {
        name: container.name.clone(),
        service: Some(container.service.clone()),
        id: container.id.clone(),
    }
}

/// How figures are shown.
struct Show<'a> {
    verb: &'a Stats,
    format: Format,
    /// A table that is drawn anew in the same place.
    is_live: bool,
    recorder: Option<Recorder>,
    /// Something has been shown.
    begun: bool,
}

impl<'a> Show<'a> {
    fn new(verb: &'a Stats, format: Format, context: &Context) -> Result<Self> {
        let can_draw = std::io::stdout().is_terminal() && context.draws();
        let is_table = matches!(format, Format::Table | Format::Columns(_));
        let is_live = is_table && !verb.no_stream && can_draw;
        let recorder = verb.record.as_deref().map(Recorder::open).transpose()?;
        Ok(Self { verb, format, is_live, recorder, begun: false })
    }

    fn rows(&mut self, rows: &[Row], context: &mut Context) -> Result<()> {
        if self.is_live {
            return self.frame(rows, context);
        }
        if self.recorder.is_some() {
            return Ok(());
        }
        let text = self.text(rows)?;
        let has_headers = matches!(self.format, Format::Table | Format::Columns(_));
        let text = if self.begun && has_headers { format!("\n{text}") } else { text };
        self.begun = true;
        context.out.data(text.as_bytes()).and_then(|()| context.out.flush()).map_err(Error::Output)
    }

    fn text(&self, rows: &[Row]) -> Result<String> {
        let lines: Vec<Line<'_>> = rows.iter().map(|row| Line::new(row, self.verb.no_trunc)).collect();
        let text = self.format.render(&lines, |lines| {
            let limits = rows.iter().any(|row| row.limited.is_some());
            let more = OF_BANDWIDTH.into_iter().filter(|_| limits);
            let columns: Vec<&str> = COLUMNS.into_iter().chain(more).collect();
            let cells: Vec<_> = lines.iter().map(|line| line.cells(limits)).collect();
            table::render(&columns, &cells)
        })?;
        Ok(text)
    }

    /// Draws over what was drawn last.
    fn frame(&mut self, rows: &[Row], context: &mut Context) -> Result<()> {
        let (height, width) = terminal::size();
        let lines = if matches!(self.format, Format::Table) {
            live_lines(rows, (width.into(), height.into()), context.out.color)
        } else {
            let text = self.text(rows)?;
            text.lines().take(height.into()).map(|line| table::shorten(line, width.into())).collect()
        };
        // To the corner, the cursor hidden, each line's rest away, and everything below (ECMA-48).
        let begin = if self.begun { "\x1b[H" } else { "\x1b[?25l\x1b[2J\x1b[H" };
        let text = format!("{begin}{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"));
        self.begun = true;
        context.out.data(text.as_bytes()).and_then(|()| context.out.flush()).map_err(Error::Output)
    }

    /// Leaves the last frame as it is, with the cursor below it.
    fn end(&self, context: &mut Context) -> Result<()> {
        if !self.is_live || !self.begun {
            return Ok(());
        }
        context.out.data(b"\r\n\x1b[?25h").and_then(|()| context.out.flush()).map_err(Error::Output)
    }
}

/// The live table with bars.
fn live_lines(rows: &[Row], size: (usize, usize), color: bool) -> Vec<String> {
    // Where the kernel does not tell of pressure, its place is others'.
    let tells_pressure = rows.iter().any(|row| row.pressure.is_some());
    let columns = if tells_pressure { &LIVE[..] } else { &LIVE[..LIVE.len() - 1] };
    let cells: Vec<Vec<Cell>> = rows.iter().map(live).collect();
    bars::frame(columns, &cells, size, color)
}

/// A row of the live table.
fn live(row: &Row) -> Vec<Cell> {
    let pids = &row.figures.group.pids;
    let of = |text: String, limit: Option<u64>| match limit {
        Some(limit) => format!("{text} / {limit}"),
        None => text,
    };
    let cpu = format!("{:.1} / {:.0}%", row.cpu, row.cpu_limit);
    let (rx, tx) = (decimal(row.net_rates.0), decimal(row.net_rates.1));
    let (read, written) = (decimal(row.block_rates.0), decimal(row.block_rates.1));
    let share = if row.cpu_limit > 0.0 { row.cpu / row.cpu_limit * 100.0 } else { 0.0 };
    vec![
        Cell::text(row.subject.name.clone()),
        Cell::bar(share, cpu),
        Cell::bar(row.memory_percent(), format!("{} / {}", binary(row.memory), binary(row.memory_limit))),
        Cell::text(row.throttled.map_or_else(|| "--".to_owned(), |percent| format!("{percent:.0}%"))),
        Cell::text(format!("{rx} / {tx} /s")),
        Cell::text(format!("{read} / {written} /s")),
        Cell::text(of(pids.current.to_string(), pids.limit)),
        Cell::text(row.pressure.as_ref().map_or_else(|| "--".to_owned(), line::pressure)),
    ]
}
