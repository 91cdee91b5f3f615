//! Values of services that are one of a few words, or have a form of their own.

use super::project::{Named, Project};
use crate::diagnostic::Report;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        if let (Some(mode), Some(networks)) = (service.get("network_mode"), service.get("networks"))
            && mode.text_value() != Some("")
            && networks.entries().next().is_some()
        {
            report
                .error(mode.span, "a service has either `network_mode` or `networks`")
                .help("remove one of them")
                .also(networks.span, "its networks");
        }
        if project.running() {
            for (key, words) in WORDS {
                word(service, key, words, report);
            }
            volumes_from(service, report);
            host_name(service, report);
            environment(service, report);
        }
    }
}

/// What namespaces may be; `service:NAME` and `container:NAME` besides.
const WORDS: [(&str, &[&str]); 6] = [
    ("network_mode", &["none", "host", "bridge", "default"]),
    ("ipc", &["none", "private", "shareable", "host"]),
    ("pid", &["host"]),
    ("uts", &["host"]),
    ("cgroup", &["host", "private"]),
    ("userns_mode", &["host"]),
];

fn word(service: Named<'_>, key: &str, words: &[&'static str], report: &mut Report) {
    let Some(node) = service.get(key) else { return };
    let Some(text) = node.text_value().filter(|text| !text.is_empty()) else { return };
    let (kind, name) = text.split_once(':').unwrap_or((text, ""));
    let is_shared = !matches!(key, "userns_mode" | "uts" | "cgroup");
    let other = matches!(kind, "service" | "container") && !name.is_empty() && is_shared;
    if !other && !words.contains(&text) {
        let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let more = match key {
            // Docker Engine takes the name of a network of its own here.
            "network_mode" => {
                ", `service:NAME` or `container:NAME`; a network is joined by its name under `networks`, and has \
                 `external: true` where the file does not make it"
            }
            _ if is_shared => ", `service:NAME` or `container:NAME`",
            _ => "",
        };
        report.error(node.span, format!("`{text}` is not a value of `{key}`")).meant(
            text,
            words.iter().copied(),
            format!("it may be {}{more}", list.join(", ")),
        );
    }
}

/// With the host's UTS namespace there is the host's name.
fn host_name(service: Named<'_>, report: &mut Report) {
    let uts = service.get("uts").filter(|node| node.text_value() == Some("host"));
    let name = service
        .entry("hostname")
        .filter(|entry| entry.node.text_value().is_some_and(|text| !text.is_empty()));
    if let (Some(uts), Some(name)) = (uts, name) {
        report
            .error(name.key, "the name is the host's, so there is no `hostname` here")
            .help("remove `hostname`, or `uts`")
            .also(uts.span, "the host's name");
    }
}

fn volumes_from(service: Named<'_>, report: &mut Report) {
    for node in service.list("volumes_from") {
        let Some(text) = node.text_value() else { continue };
        let rest = text.strip_prefix("container:").unwrap_or(text);
        let mode = rest.split_once(':').map(|(_, mode)| mode);
        if let Some(mode) = mode.filter(|mode| !matches!(*mode, "ro" | "rw")) {
            report
                .error(node.span, format!("`{mode}` is not a mode of `volumes_from`"))
                .help("`NAME`, `NAME:ro` or `NAME:rw`");
        }
    }
}

/// execve(2) takes no name with `=` in it.
fn environment(service: Named<'_>, report: &mut Report) {
    for (key, entry) in service.map("environment") {
        if key.contains(['=', '\0']) || entry.node.text_value().is_some_and(|text| text.contains('\0')) {
            report
                .error(entry.key, "an environment variable cannot have a zero byte, nor `=` in its name")
                .help("write `KEY=value`");
        }
    }
}
