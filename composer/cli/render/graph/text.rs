//! A stack as text: services by the steps in which they start, then what they share.

use std::iter;

use composer_stack::NetworkMode;
use composer_stack::graph::{Content, Graph, Service};
use unicode_width::UnicodeWidthStr;

use super::words::{self, Ports, inline};

/// What stands in front of every name.
const MARGIN: usize = 3;
const GAP: usize = 2;

/// A service, or something that services share.
struct Entry {
    /// The number of the step, where it is the first of it.
    step: Option<usize>,
    name: String,
    /// Each with the key it goes by; without one it stands in the place of the key.
    facts: Vec<(String, String)>,
}

/// The whole stack; `steps` are those of the plan, `color`: names stand out.
pub fn text(graph: &Graph, steps: &[Vec<&str>], color: bool) -> String {
    let groups: Vec<(&str, Vec<Entry>)> =
        services(graph, steps).map(|entries| ("", entries)).chain(shared(graph)).collect();
    let all = || groups.iter().flat_map(|(_, entries)| entries);
    let name = all().map(|entry| entry.name.width()).max().unwrap_or(0) + GAP;
    let keys = all().flat_map(|entry| &entry.facts).filter(|(_, value)| !value.is_empty());
    let key = keys.map(|(key, _)| key.width()).max().unwrap_or(0) + GAP;
    let mut text = title(graph, steps) + "\n";
    for (title, entries) in groups.iter().filter(|(_, entries)| !entries.is_empty()) {
        text.push('\n');
        if !title.is_empty() {
            text.push_str(&format!("{title}\n"));
        }
        for entry in entries {
            text.push_str(&lines(entry, name, key, color));
        }
    }
    text
}

fn title(graph: &Graph, steps: &[Vec<&str>]) -> String {
    let count = |number: usize, what: &str| match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    };
    match graph.services.len() {
        0 => format!("{}: no service whose profile is active", graph.name),
        services => {
            let (services, steps) = (count(services, "service"), count(steps.len(), "step"));
            format!("{}: {services}, started in {steps}", graph.name)
        }
    }
}

fn lines(entry: &Entry, name_width: usize, key_width: usize, color: bool) -> String {
    let step = entry.step.map(|step| step.to_string()).unwrap_or_default();
    let bold = |text: &str| if color { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    let pad = |text: &str, width: usize| " ".repeat(width.saturating_sub(text.width()));
    let mut front =
        format!("{step}{}{}{}", pad(&step, MARGIN), bold(&entry.name), pad(&entry.name, name_width));
    let mut text = String::new();
    for (key, value) in &entry.facts {
        let line = match value.is_empty() {
            true => format!("{front}{key}"),
            false => format!("{front}{key}{}{value}", pad(key, key_width)),
        };
        text.push_str(line.trim_end());
        text.push('\n');
        front = " ".repeat(MARGIN.max(step.width()) + name_width);
    }
    text
}

/// The services of each step.
fn services<'a>(graph: &'a Graph, steps: &'a [Vec<&'a str>]) -> impl Iterator<Item = Vec<Entry>> + 'a {
    steps.iter().zip(1..).map(move |(names, number)| {
        let known = names.iter().filter_map(|name| Some((*name, graph.services.get(*name)?)));
        let entry = |(at, (name, service)): (usize, (&str, &Service))| Entry {
            step: (at == 0).then_some(number),
            name: inline(name),
            facts: facts(graph, service).into_iter().map(|(key, value)| (key, inline(&value))).collect(),
        };
        known.enumerate().map(entry).collect()
    })
}

fn facts(graph: &Graph, service: &Service) -> Vec<(String, String)> {
    let (key, from) = words::root(graph, &service.root);
    let mut facts = vec![(key.to_owned(), from)];
    let mut add = |key: &str, value: String| facts.push((key.to_owned(), value));
    if service.replicas != 1 {
        add("replicas", service.replicas.to_string());
    }
    if !service.profiles.is_empty() {
        add("profiles", service.profiles.join(", "));
    }
    for (name, need) in &service.needs {
        let absent = if graph.services.contains_key(name) { "" } else { " (not active)" };
        add("needs", format!("{name}: {}{absent}", words::need(need).join(", ")));
    }
    networks(graph, &service.network).into_iter().for_each(|words| add("network", words));
    for ports in Ports::of(&service.ports) {
        add("port", format!("{}->{}", ports.host(), ports.target()));
    }
    for mount in &service.mounts {
        let (kind, source) = words::source(graph, mount);
        let arrow = if source.is_empty() { "" } else { " -> " };
        add(kind, format!("{source}{arrow}{}", words::target(mount)));
    }
    service.volumes_from.iter().for_each(|name| add("mounts", format!("those of container {name}")));
    service.configs.iter().for_each(|config| add("config", words::file(config)));
    service.secrets.iter().for_each(|secret| add("secret", words::file(secret)));
    facts
}

fn networks(graph: &Graph, mode: &NetworkMode) -> Vec<String> {
    match mode {
        NetworkMode::Networks(_) => {
            // A provider's service is on none, whatever it is read as.
            let known = mode.in_order().into_iter().filter(|(key, _)| graph.networks.contains_key(*key));
            let words = known.map(|(key, at)| {
                iter::once(key.to_owned()).chain(words::attachment(at)).collect::<Vec<String>>().join(", ")
            });
            words.collect()
        }
        NetworkMode::Host => vec!["the host's".to_owned()],
        NetworkMode::None => vec!["none".to_owned()],
        NetworkMode::Service(name) => vec![format!("that of {name}")],
        NetworkMode::Container(name) => vec![format!("that of container {name}")],
    }
}

/// What services share, by section.
fn shared(graph: &Graph) -> impl Iterator<Item = (&'static str, Vec<Entry>)> {
    let entry = |name: &str, words: String| Entry {
        step: None,
        name: inline(name),
        facts: vec![(inline(&words), String::new())],
    };
    let networks = graph.networks.iter().map(|(key, network)| entry(key, words::network(network).join(", ")));
    let volumes = graph.volumes.iter().map(|(key, volume)| entry(key, words::volume(volume).join(", ")));
    let contents = |(key, content): (&String, &Content)| entry(key, words::content(graph, content));
    [
        ("networks", networks.collect()),
        ("volumes", volumes.collect()),
        ("configs", graph.configs.iter().map(contents).collect()),
        ("secrets", graph.secrets.iter().map(contents).collect()),
    ]
    .into_iter()
}
