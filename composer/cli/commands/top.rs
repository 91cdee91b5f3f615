//! `compose top`: the processes of containers, as Docker Compose shows them.

use std::time::Duration;

use composer_supervisor::host::{self, Process};

use super::context::{self, Context};
use super::{Error, Result};
use crate::options::Top;
use crate::render::amount::binary;
use crate::render::table;
use crate::time;

/// Docker's, and before the command, which may have anything in it, its share of the container's CPU time, and of
/// the memory that the container may have.
const COLUMNS: [&str; 13] =
    ["SERVICE", "#", "UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "%CPU", "%MEM", "MEM", "CMD"];
/// ps(1) shows no more of a user's name.
const USER: usize = 8;

/// Lists processes.
pub fn run(context: &mut Context, verb: &Top) -> Result {
    let stack = context.project()?;
    let mut containers = context::containers(&stack)?;
    context.check_services(&verb.services, &containers)?;
    containers.retain(|container| {
        container.pid.is_some() && (verb.services.is_empty() || verb.services.contains(&container.service))
    });
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let now = time::now();
    let mut rows = Vec::new();
    for container in &containers {
        for process in host::processes(&stack, &container.name)? {
            rows.push(row(&container.service, container.index, &process, now));
        }
    }
    if !rows.is_empty() {
        let text = table::render_narrow(&COLUMNS, &rows);
        context.out.data(text.as_bytes()).map_err(Error::Output)?;
    }
    Ok(0)
}

fn row(service: &str, index: u32, process: &Process, now: u64) -> Vec<String> {
    let user = if process.user.chars().count() > USER {
        process.user.chars().take(USER - 1).chain(['+']).collect()
    } else {
        process.user.clone()
    };
    vec![
        service.to_owned(),
        index.to_string(),
        user,
        process.pid.to_string(),
        process.parent.to_string(),
        process.percent.to_string(),
        time::start(process.started, now),
        process.terminal.clone().unwrap_or_else(|| "?".to_owned()),
        cpu(process.cpu),
        format!("{:.1}", process.cpu_share),
        format!("{:.1}", process.memory_share),
        binary(process.memory),
        process.command.clone(),
    ]
}

/// `[DAYS-]HH:MM:SS`.
fn cpu(time: Duration) -> String {
    let seconds = time.as_secs();
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let days = if days > 0 { format!("{days}-") } else { String::new() };
    format!("{days}{hours:02}:{:02}:{:02}", seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_what_ps_shows() {
        let process = Process {
            pid: 7,
            parent: 1,
            user: "verylongname".to_owned(),
            started: 0,
            cpu: Duration::from_secs(90061),
            percent: 3,
            cpu_share: 12.34,
            memory: 3 << 20,
            memory_share: 50.0,
            terminal: None,
            command: "sleep 1000".to_owned(),
        };
        let row = row("web", 2, &process, 0);
        assert_eq!(row[..6], ["web", "2", "verylon+", "7", "1", "3"]);
        assert_eq!(row[7..], ["?", "1-01:01:01", "12.3", "50.0", "3MiB", "sleep 1000"]);
    }
}
