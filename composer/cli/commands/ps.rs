//! `compose ps`: a stack's containers, in Docker Compose's columns and keys, with the pid and the address beside.

use std::collections::{BTreeMap, BTreeSet};

use composer_supervisor::protocol::{ContainerStatus, Health, State};
use serde::Serialize;

use super::context::{self, Context};
use super::{Error, Result};
use crate::options::{Ps, StateName};
use crate::render::format::{Format, Listed};
use crate::render::{ports, table};
use crate::time;

const COLUMNS: [&str; 8] = ["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS", "ADDRESS"];
/// Docker shortens commands to this many characters, and ids to the next.
const COMMAND: usize = 20;
const ID: usize = 12;
/// The same of what is mounted.
const MOUNT: usize = 15;

/// Lists containers.
pub fn run(context: &mut Context, verb: &Ps) -> Result {
    let format = Format::parse(&verb.format.text)?;
    let stack = context.project()?;
    let mut containers = context::containers(&stack)?;
    context.check_services(&verb.services, &containers)?;
    let states: Vec<State> = verb.status.iter().chain(&verb.filter).map(|name| state(*name)).collect();
    containers.retain(|container| {
        let wanted = verb.services.is_empty() || verb.services.contains(&container.service);
        let shown = match states.as_slice() {
            // As Docker Compose, containers of `run` are among all only.
            [] => verb.all || (container.state.is_live() && !container.oneoff),
            // One that is about to be held is none that runs.
            states => states.iter().any(|state| match container.state {
                State::Pausing => *state == State::Paused,
                known => *state == known,
            }),
        };
        wanted && shown
    });
    let now = time::now();
    let is_table = !verb.quiet && !verb.names && matches!(format, Format::Table);
    let text = if verb.quiet {
        containers.iter().map(|container| container.id.clone() + "\n").collect()
    } else if verb.names {
        let names: BTreeSet<&str> = containers.iter().map(|container| container.service.as_str()).collect();
        names.into_iter().map(|name| format!("{name}\n")).collect()
    } else {
        let line = |container| Line::new(&stack, container, now, verb.no_trunc);
        let lines: Vec<Line<'_>> = containers.iter().map(line).collect();
        format.render(&lines, |lines| {
            let rows: Vec<_> = lines.iter().map(row).collect();
            table::render(&COLUMNS, &rows)
        })?
    };
    context.out.data(text.as_bytes()).and_then(|()| context.out.flush()).map_err(Error::Output)?;
    // The table has no room for what lets them go on.
    let is_held = |one: &&ContainerStatus| matches!(one.state, State::Pausing | State::Paused);
    for container in containers.iter().filter(is_held).filter(|_| is_table) {
        if let Some(why) = &container.reason {
            context.out.note(&format!("{} is held: {why}", container.name));
        }
    }
    Ok(0)
}

fn state(name: StateName) -> State {
    match name {
        StateName::Created => State::Created,
        StateName::Running => State::Running,
        StateName::Restarting => State::Restarting,
        StateName::Paused => State::Paused,
        StateName::Exited => State::Exited,
    }
}

fn row(line: &Line<'_>) -> Vec<String> {
    let Line { name, image, command, service, running_for, status, ports, address, .. } = line;
    [*name, *image, command, service, running_for, status, ports, address].map(str::to_owned).into()
}

fn command(container: &ContainerStatus, full: bool) -> String {
    // Quoted as moby does, where a word has spaces.
    let quoted = |word: &String| if word.contains(' ') { format!("'{word}'") } else { word.clone() };
    let words = container.argv.iter().map(quoted).collect::<Vec<_>>().join(" ");
    let words = if full { words } else { table::shorten(&words, COMMAND) };
    // One line, whatever a script in it contains.
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("\"{words}\"")
}

fn mounts(container: &ContainerStatus, full: bool) -> String {
    let shown = |mount: &String| if full { mount.clone() } else { table::shorten(mount, MOUNT) };
    container.mounts.iter().map(shown).collect::<Vec<_>>().join(",")
}

fn ago(from: u64, now: u64) -> String {
    format!("{} ago", time::human(time::between(from, now)))
}

/// `Up 3 minutes (healthy)`, `Restarting (1) 3 seconds ago`, `Exited (0) 2 seconds ago`, `Created`.
fn status(container: &ContainerStatus, now: u64) -> String {
    match container.state {
        State::Created => "Created".to_owned(),
        State::Running => {
            let health = match container.health {
                None => "",
                Some(Health::Starting) => " (health: starting)",
                Some(Health::Healthy) => " (healthy)",
                Some(Health::Unhealthy) => " (unhealthy)",
            };
            let since = container.started.unwrap_or(container.created);
            format!("Up {}{health}", time::human(time::between(since, now)))
        }
        State::Pausing => {
            let since = container.started.unwrap_or(container.created);
            format!("Up {} (Pausing: out of memory)", time::human(time::between(since, now)))
        }
        State::Paused => {
            let since = container.started.unwrap_or(container.created);
            let why = if container.out_of_memory { "Paused: out of memory" } else { "Paused" };
            format!("Up {} ({why})", time::human(time::between(since, now)))
        }
        State::Restarting => ended("Restarting", container, now),
        State::Exited => ended("Exited", container, now),
    }
}

/// `Exited (0) 2 seconds ago`.
fn ended(word: &str, container: &ContainerStatus, now: u64) -> String {
    let code = container.exit_code.map_or("unknown".to_owned(), |code| code.to_string());
    let ended = container.finished.map(|at| format!(" {}", ago(at, now))).unwrap_or_default();
    let why = if container.out_of_memory { " (out of memory)" } else { "" };
    format!("{word} ({code}){ended}{why}")
}

/// One object of `--format json`: Docker Compose's keys, then ours.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Line<'a> {
    command: String,
    created_at: String,
    exit_code: i32,
    health: &'static str,
    #[serde(rename = "ID")]
    id: &'a str,
    image: &'a str,
    labels: String,
    local_volumes: String,
    mounts: String,
    name: &'a str,
    names: &'a str,
    networks: String,
    ports: String,
    project: &'a str,
    publishers: Vec<Publisher>,
    running_for: String,
    service: &'a str,
    size: &'static str,
    state: State,
    status: String,
    /// In the host's PID namespace; 0 while nothing runs, as `docker inspect` has it.
    pid: i32,
    /// The CPUs that it has alone (`x-cpus-exclusive`).
    #[serde(rename = "ExclusiveCPUs", skip_serializing_if = "Option::is_none")]
    exclusive_cpus: Option<&'a str>,
    /// On the stack's network.
    address: String,
    /// Why it ended or did not start, where that is not its own doing.
    reason: &'a str,
    #[serde(skip)]
    labelled: &'a BTreeMap<String, String>,
}

impl Listed for Line<'_> {
    const FIELDS: &'static [(&'static str, &'static str)] = &[
        ("Command", "COMMAND"),
        ("CreatedAt", "CREATED AT"),
        ("ExitCode", "EXIT CODE"),
        ("Health", "HEALTH"),
        ("ID", "CONTAINER ID"),
        ("Image", "IMAGE"),
        ("Labels", "LABELS"),
        ("LocalVolumes", "LOCAL VOLUMES"),
        ("Mounts", "MOUNTS"),
        ("Name", "NAME"),
        ("Names", "NAMES"),
        ("Networks", "NETWORKS"),
        ("Ports", "PORTS"),
        ("Project", "PROJECT"),
        ("Publishers", "PUBLISHERS"),
        ("RunningFor", "CREATED"),
        ("Service", "SERVICE"),
        ("Size", "SIZE"),
        ("State", "STATE"),
        ("Status", "STATUS"),
        ("Pid", "PID"),
        ("ExclusiveCPUs", "EXCLUSIVE CPUS"),
        ("Address", "ADDRESS"),
        ("Reason", "REASON"),
    ];

    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        Some(self.labelled)
    }
}

/// One of `Publishers`, with Docker Compose's keys.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Publisher {
    #[serde(rename = "URL")]
    url: String,
    target_port: u16,
    published_port: u16,
    protocol: String,
}

impl Publisher {
    /// Each port of a range.
    fn of(port: &composer_supervisor::protocol::Publisher) -> impl Iterator<Item = Self> {
        (port.target..=port.target.saturating_add(port.more)).map(|target_port| Self {
            url: ports::url(port),
            target_port,
            published_port: port.published,
            protocol: port.protocol.clone(),
        })
    }
}

impl<'a> Line<'a> {
    fn new(stack: &'a str, container: &'a ContainerStatus, now: u64, full: bool) -> Self {
        let mut publishers: Vec<Publisher> = container.publishers.iter().flat_map(Publisher::of).collect();
        publishers.sort_by_key(|publisher| publisher.target_port);
        let labels: Vec<String> =
            container.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Self {
            command: command(container, full),
            created_at: time::created_at(container.created),
            exit_code: container.exit_code.unwrap_or(0),
            health: match container.health {
                None => "",
                Some(Health::Starting) => "starting",
                Some(Health::Healthy) => "healthy",
                Some(Health::Unhealthy) => "unhealthy",
            },
            id: if full { &container.id } else { container.id.get(..ID).unwrap_or(&container.id) },
            image: &container.rootfs,
            labels: labels.join(","),
            local_volumes: container.local_volumes.to_string(),
            mounts: mounts(container, full),
            name: &container.name,
            names: &container.name,
            networks: container.networks.join(","),
            ports: ports::line(&container.publishers),
            project: stack,
            publishers,
            running_for: ago(container.created, now),
            service: &container.service,
            size: "0B",
            state: container.state,
            status: status(container, now),
            pid: container.pid.unwrap_or(0),
            exclusive_cpus: container.cores.as_deref(),
            address: container.address.map(|address| address.to_string()).unwrap_or_default(),
            reason: container.reason.as_deref().unwrap_or_default(),
            labelled: &container.labels,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn container(state: State) -> ContainerStatus {
        ContainerStatus {
            id: "0123456789abcdef".to_owned(),
            name: "shop-api-1".to_owned(),
            service: "api".to_owned(),
            index: 1,
            rootfs: "host".to_owned(),
            argv: ["sh", "-c", "one\ntwo three four five"].map(str::to_owned).to_vec(),
            labels: BTreeMap::from([("a".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())]),
            mounts: Vec::new(),
            local_volumes: 0,
            state,
            health: None,
            exit_code: None,
            reason: None,
            out_of_memory: false,
            restarts: 0,
            pid: Some(7),
            address: None,
            networks: vec!["shop_default".to_owned()],
            publishers: Vec::new(),
            created: 10 * SECOND,
            started: Some(10 * SECOND),
            finished: None,
            attach: true,
            oneoff: false,
            log: "/log".into(),
            cores: None,
            keeps_log: true,
        }
    }

    #[test]
    fn states_are_told_as_docker_does() {
        let mut one = container(State::Running);
        one.health = Some(Health::Healthy);
        assert_eq!(status(&one, 190 * SECOND), "Up 3 minutes (healthy)");
        let mut one = container(State::Exited);
        (one.exit_code, one.finished) = (Some(0), Some(20 * SECOND));
        assert_eq!(status(&one, 22 * SECOND), "Exited (0) 2 seconds ago");
        one.exit_code = None;
        assert_eq!(status(&one, 22 * SECOND), "Exited (unknown) 2 seconds ago");
        (one.exit_code, one.out_of_memory) = (Some(137), true);
        assert_eq!(status(&one, 22 * SECOND), "Exited (137) 2 seconds ago (out of memory)");
        assert_eq!(status(&container(State::Created), 0), "Created");
        let mut one = container(State::Restarting);
        (one.exit_code, one.finished) = (Some(1), Some(20 * SECOND));
        assert_eq!(status(&one, 23 * SECOND), "Restarting (1) 3 seconds ago");
    }

    #[test]
    fn objects_have_dockers_keys() {
        let one = container(State::Running);
        let value = serde_json::to_value(Line::new("shop", &one, 20 * SECOND, false)).unwrap();
        let keys =
            ["ID", "ExitCode", "LocalVolumes", "RunningFor", "CreatedAt", "Publishers", "Pid", "Address"];
        for key in keys {
            assert!(value.get(key).is_some(), "{key} is missing in {value}");
        }
        assert_eq!(value["ID"], "0123456789ab");
        assert_eq!(value["Command"], "\"sh -c 'one two thre…\"");
        assert_eq!(value["Labels"], "a=1,b=2");
        assert_eq!(value["Networks"], "shop_default");
        assert_eq!(value["State"], "running");
    }
}
