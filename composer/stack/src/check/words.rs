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
            network_mode(project, service, report);
            volumes_from(service, report);
            host_name(service, report);
            environment(service, report);
        }
    }
}

/// What namespaces may be; `service:NAME` and `container:NAME` besides.
const WORDS: [(&str, &[&str]); 5] = [
    ("ipc", &["none", "private", "shareable", "host"]),
    ("pid", &["host"]),
    ("uts", &["host"]),
    ("cgroup", &["host", "private"]),
    ("userns_mode", &["host"]),
];

/// Whether it is another's namespace: `service:NAME` or `container:NAME`.
fn joins(text: &str) -> bool {
    text.split_once(':')
        .is_some_and(|(kind, name)| matches!(kind, "service" | "container") && !name.is_empty())
}

/// The words that are no names of networks.
const MODES: [&str; 4] = ["none", "host", "bridge", "default"];

/// Docker Engine takes the name of any network of the host as well.
fn network_mode(project: Project<'_>, service: Named<'_>, report: &mut Report) {
    let Some(node) = service.get("network_mode") else { return };
    let Some(text) = node.text_value().filter(|text| !text.is_empty()) else { return };
    if joins(text) || MODES.contains(&text) {
        return;
    }
    let known = project.options.host.as_ref().and_then(|host| host.networks?()).unwrap_or_default();
    if known.contains(text) && project.find("networks", text).is_none() {
        return;
    }
    let list = MODES.map(|word| format!("`{word}`")).join(", ");
    report.error(node.span, format!("`{text}` is not a value of `network_mode`")).meant(
        text,
        MODES.into_iter().chain(known.iter().map(String::as_str)),
        format!(
            "it may be {list}, `service:NAME`, `container:NAME` or the name of a network that the host has; one of this \
             file is joined under `networks`"
        ),
    );
}

fn word(service: Named<'_>, key: &str, words: &[&'static str], report: &mut Report) {
    let Some(node) = service.get(key) else { return };
    let Some(text) = node.text_value().filter(|text| !text.is_empty()) else { return };
    let is_shared = !matches!(key, "userns_mode" | "uts" | "cgroup");
    let is_known = words.contains(&text) || is_shared && joins(text);
    if !is_known {
        let list: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
        let more = if is_shared { ", `service:NAME` or `container:NAME`" } else { "" };
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
