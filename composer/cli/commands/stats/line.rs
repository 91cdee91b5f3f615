//! Figures as Docker prints them: a row of its table, an object with its keys; ours come after.

use composer_supervisor::host::{Figures, Limited};
use serde::Serialize;

use super::row::Row;
use crate::render::amount::{binary, decimal, scaled};
use crate::render::format::Listed;

pub const COLUMNS: [&str; 10] = [
    "CONTAINER ID",
    "NAME",
    "CPU %",
    "MEM USAGE / LIMIT",
    "MEM %",
    "NET I/O",
    "BLOCK I/O",
    "PIDS",
    "THROTTLED",
    "PRESSURE",
];
/// After the others, where the bandwidth of any container is limited.
pub const OF_BANDWIDTH: [&str; 2] = ["NET LIMIT", "NET DROPS"];
/// Docker shortens ids to this many digits.
const ID: usize = 12;

/// One container, or the stack.
#[derive(Serialize)]
pub struct Line<'a> {
    #[serde(rename = "BlockIO")]
    block_io: String,
    #[serde(rename = "CPUPerc")]
    cpu: String,
    #[serde(rename = "Container")]
    container: &'a str,
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MemPerc")]
    memory_percent: String,
    #[serde(rename = "MemUsage")]
    memory: String,
    #[serde(rename = "Name")]
    name: &'a str,
    #[serde(rename = "NetIO")]
    net_io: String,
    #[serde(rename = "PIDs")]
    pids: String,
    #[serde(rename = "NetLimit", skip_serializing_if = "Option::is_none")]
    net_limit: Option<String>,
    #[serde(rename = "NetDrops", skip_serializing_if = "Option::is_none")]
    net_drops: Option<String>,
    #[serde(rename = "Kind")]
    kind: &'static str,
    #[serde(rename = "Service", skip_serializing_if = "Option::is_none")]
    service: Option<&'a str>,
    #[serde(rename = "Throttled")]
    throttled: String,
    #[serde(rename = "Pressure")]
    pressure: String,
    /// All of it, in numbers.
    #[serde(rename = "Figures")]
    figures: &'a Figures,
}

impl Listed for Line<'_> {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("BlockIO", "BLOCK I/O"),
        ("CPUPerc", "CPU %"),
        ("Container", "CONTAINER"),
        ("ID", "CONTAINER ID"),
        ("MemPerc", "MEM %"),
        ("MemUsage", "MEM USAGE / LIMIT"),
        ("Name", "NAME"),
        ("NetIO", "NET I/O"),
        ("PIDs", "PIDS"),
        ("NetLimit", "NET LIMIT"),
        ("NetDrops", "NET DROPS"),
        ("Kind", "KIND"),
        ("Service", "SERVICE"),
        ("Throttled", "THROTTLED"),
        ("Pressure", "PRESSURE"),
        ("Figures", "FIGURES"),
    ];
}

impl<'a> Line<'a> {
    /// `full` leaves the id as it is.
    pub fn new(row: &'a Row, full: bool) -> Self {
        let subject = &row.subject;
        let none = || "--".to_owned();
        Self {
            block_io: format!("{} / {}", decimal(row.blocks.0), decimal(row.blocks.1)),
            cpu: format!("{:.2}%", row.cpu),
            container: &subject.id,
            id: if full { subject.id.clone() } else { subject.id.chars().take(ID).collect() },
            memory_percent: format!("{:.2}%", row.memory_percent()),
            memory: format!("{} / {}", binary(row.memory), binary(row.memory_limit)),
            name: &subject.name,
            net_io: format!("{} / {}", decimal(row.net.0), decimal(row.net.1)),
            pids: row.figures.group.pids.current.to_string(),
            net_limit: row.limited.as_ref().map(limits),
            net_drops: row.limited.as_ref().map(drops),
            kind: if row.is_stack() { "stack" } else { "container" },
            service: subject.service.as_deref(),
            throttled: row.throttled.map_or_else(none, |percent| format!("{percent:.2}%")),
            pressure: row.pressure.as_ref().map_or_else(none, pressure),
            figures: &row.figures,
        }
    }

    /// A row of the table; `limits` where bandwidth is shown.
    pub fn cells(&self, limits: bool) -> Vec<String> {
        // The stack has no id.
        let id = if self.id.is_empty() { self.kind } else { &self.id };
        let mut row = vec![
            id,
            self.name,
            &self.cpu,
            &self.memory,
            &self.memory_percent,
            &self.net_io,
            &self.block_io,
            &self.pids,
            &self.throttled,
            &self.pressure,
        ];
        if limits {
            row.extend([&self.net_limit, &self.net_drops].map(|cell| cell.as_deref().unwrap_or("--")));
        }
        row.into_iter().map(str::to_owned).collect()
    }
}

/// `cpu 12%`: what was waited for most, and how much of the last 10 seconds.
pub fn pressure((of, percent): &(String, f64)) -> String {
    if *percent > 0.0 { format!("{of} {percent:.0}%") } else { "0%".to_owned() }
}

/// Received and sent, as a file has it: `1.5mbit / --`.
fn limits(limited: &Limited) -> String {
    let limit = |limit: Option<u64>| limit.map_or_else(|| "--".to_owned(), rate);
    format!("{} / {}", limit(limited.rates.ingress), limit(limited.rates.egress))
}

fn drops(limited: &Limited) -> String {
    format!("{} / {}", limited.dropped_in, limited.dropped_out)
}

fn rate(bits: u64) -> String {
    scaled(bits, 1000.0, &["bit", "kbit", "mbit", "gbit"], 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_written_as_files_have_them() {
        assert_eq!(rate(20_000_000), "20mbit");
        assert_eq!(rate(1_500_000), "1.5mbit");
    }
}
