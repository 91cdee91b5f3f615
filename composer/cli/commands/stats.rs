//! `compose stats`: what containers take, in Docker's columns, drawn anew every second.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::time::Duration;

use composer_supervisor::host::{self, Figures, Limited};
use composer_supervisor::protocol::ContainerStatus;
use nix::sys::signal::Signal;
use rustix::event::PollFlags;
use serde::Serialize;

use super::context::{self, Context};
use super::signals::Signals;
use super::{Error, INTERRUPTED, Result, doing, wait};
use crate::options::{Stats, TableFormat};
use crate::render::amount::{binary, decimal, scaled};
use crate::render::table;

const COLUMNS: [&str; 8] =
    ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"];
/// After Docker's, where the bandwidth of any container is limited.
const OF_BANDWIDTH: [&str; 2] = ["NET LIMIT", "NET DROPS"];
/// Time between two looks: CPU time is known as a difference only, and a reader wants to follow.
const PERIOD: Duration = Duration::from_secs(1);
/// Docker shortens ids to this many digits.
const ID: usize = 12;

/// One container, with Docker's keys, and after them those of limited bandwidth: received and sent, as `NetIO`.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    #[serde(rename = "BlockIO")]
    block_io: String,
    #[serde(rename = "CPUPerc")]
    cpu: String,
    #[serde(rename = "Container")]
    container: String,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MemPerc")]
    memory_percent: String,
    #[serde(rename = "MemUsage")]
    memory: String,
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "NetIO")]
    net_io: String,
    #[serde(rename = "PIDs")]
    pids: String,
    #[serde(rename = "NetLimit", skip_serializing_if = "Option::is_none")]
    net_limit: Option<String>,
    #[serde(rename = "NetDrops", skip_serializing_if = "Option::is_none")]
    net_drops: Option<String>,
}

/// Shows figures until it is interrupted; with `--no-stream` once.
pub fn run(context: &mut Context, verb: &Stats) -> Result {
    let stack = context.project()?;
    let named: Vec<String> = verb.service.iter().cloned().collect();
    context.check_services(&named, &context::containers(&stack)?)?;
    let signals = Signals::take(&[Signal::SIGINT, Signal::SIGTERM])?;
    let mut before = look(&stack, verb)?;
    loop {
        let stdout = std::io::stdout();
        let fds = [(signals.as_fd(), PollFlags::IN), (stdout.as_fd(), PollFlags::empty())];
        match wait::any(&fds, Some(PERIOD))?.as_slice() {
            [true, ..] => {
                // Taken, so that it does not end us in another way once it is no longer blocked.
                signals.next()?;
                return Ok(INTERRUPTED);
            }
            [_, true] => return Err(Error::Output(std::io::ErrorKind::BrokenPipe.into())),
            _ => {}
        }
        let now = look(&stack, verb)?;
        let limited = host::limited(&stack)?;
        let lines: Vec<Line> = now
            .iter()
            .map(|(id, (container, figures))| {
                let earlier = before.get(id).and_then(|(_, figures)| figures.as_ref());
                let line = line(container, figures.as_ref(), earlier, verb.no_trunc);
                match limited.get(&container.name) {
                    Some(limited) => with_limits(line, *limited),
                    None => line,
                }
            })
            .collect();
        show(lines, verb, context)?;
        if verb.no_stream {
            return Ok(0);
        }
        before = now;
    }
}

type Seen = BTreeMap<String, (ContainerStatus, Option<Figures>)>;

/// Looks at the containers that are wanted, by their ids.
fn look(stack: &str, verb: &Stats) -> Result<Seen> {
    let mut seen = Seen::new();
    for container in context::containers(stack)? {
        let wanted = verb.service.as_ref().is_none_or(|service| *service == container.service);
        let figures = match container.pid {
            Some(pid) => Some(host::figures(stack, &container.name, pid)?),
            None => None,
        };
        if wanted && (verb.all || figures.is_some()) {
            seen.insert(container.id.clone(), (container, figures));
        }
    }
    Ok(seen)
}

fn show(mut lines: Vec<Line>, verb: &Stats, context: &mut Context) -> Result<()> {
    lines.sort_by(|a, b| a.name.cmp(&b.name));
    let text = match verb.format {
        TableFormat::Json => {
            let objects: std::result::Result<Vec<String>, _> =
                lines.iter().map(serde_json::to_string).collect();
            objects.map_err(doing("write JSON"))?.into_iter().map(|object| object + "\n").collect()
        }
        TableFormat::Table => {
            let is_limited = lines.iter().any(|line| line.net_limit.is_some());
            let columns: Vec<&str> =
                COLUMNS.into_iter().chain(OF_BANDWIDTH.into_iter().filter(|_| is_limited)).collect();
            let rows: Vec<_> = lines.into_iter().map(|line| row(line, is_limited)).collect();
            let text = table::render(&columns, &rows);
            if !verb.no_stream && std::io::stdout().is_terminal() {
                // Over the last one: to the corner, each line's rest away, and everything below it (ECMA-48).
                format!("\x1b[H{}\x1b[J", text.replace('\n', "\x1b[K\n"))
            } else {
                text
            }
        }
    };
    context.out.data(text.as_bytes()).and_then(|()| context.out.flush()).map_err(Error::Output)
}

fn row(line: Line, limits: bool) -> Vec<String> {
    let Line { id, name, cpu, memory, memory_percent, net_io, block_io, pids, .. } = line;
    let mut row = vec![id, name, cpu, memory, memory_percent, net_io, block_io, pids];
    if limits {
        let none = || "--".to_owned();
        row.extend([line.net_limit.unwrap_or_else(none), line.net_drops.unwrap_or_else(none)]);
    }
    row
}

fn with_limits(line: Line, limited: Limited) -> Line {
    let Limited { rates, dropped_in, dropped_out } = limited;
    let limit = |limit: Option<u64>| limit.map_or_else(|| "--".to_owned(), rate);
    Line {
        net_limit: Some(format!("{} / {}", limit(rates.ingress), limit(rates.egress))),
        net_drops: Some(format!("{dropped_in} / {dropped_out}")),
        ..line
    }
}

/// As a file has it: `1.5mbit`.
fn rate(bits: u64) -> String {
    scaled(bits, 1000.0, &["bit", "kbit", "mbit", "gbit"], 4)
}

fn line(container: &ContainerStatus, now: Option<&Figures>, before: Option<&Figures>, full: bool) -> Line {
    let figures = now.copied().unwrap_or_default();
    // A container that has come meanwhile has had no time to speak of.
    let earlier = before.copied().unwrap_or(figures);
    let time = figures.time.saturating_sub(earlier.time) / 1000;
    let cpu = percent(figures.cpu_usec.saturating_sub(earlier.cpu_usec), time);
    Line {
        block_io: format!("{} / {}", decimal(figures.read), decimal(figures.written)),
        cpu: format!("{cpu:.2}%"),
        container: container.id.clone(),
        id: if full { container.id.clone() } else { container.id.chars().take(ID).collect() },
        memory_percent: format!("{:.2}%", percent(figures.memory, figures.memory_limit)),
        memory: format!("{} / {}", binary(figures.memory), binary(figures.memory_limit)),
        name: container.name.clone(),
        net_io: format!("{} / {}", decimal(figures.received), decimal(figures.sent)),
        pids: figures.pids.to_string(),
        net_limit: None,
        net_drops: None,
    }
}

fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_files_have_them() {
        assert_eq!(rate(20_000_000), "20mbit");
        assert_eq!(rate(1_500_000), "1.5mbit");
    }

    #[test]
    fn a_cpu_in_full_use_is_a_hundred_percent() {
        assert_eq!(percent(1_000_000, 1_000_000), 100.0);
        assert_eq!(percent(5, 0), 0.0);
    }
}
