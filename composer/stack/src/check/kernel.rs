//! What only the kernel knows: capabilities, its parameters, limits of processes.

use std::collections::HashMap;

use super::project::{Named, Project};
use crate::capabilities::{NAMES, bare};
use crate::diagnostic::Report;
use crate::size;
use crate::source::Span;
use crate::values;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        report.doubting(!project.running(), |report| limits(service, report));
    }
    if !project.running() {
        return;
    }
    for service in project.services() {
        for key in ["cap_add", "cap_drop"] {
            service.list(key).iter().for_each(|node| capability(node, report));
        }
        opposites(service, report);
        parameters(service, report);
        storage(service, report);
    }
}

/// The options of Docker's storage driver for overlayfs.
fn storage(service: Named<'_>, report: &mut Report) {
    for (key, entry) in service.map("storage_opt") {
        if key != "size" {
            report.warning(
                entry.key,
                format!("`{key}` has no effect: it is an option of another storage driver of Docker's"),
            );
            continue;
        }
        let text = values::scalar(&entry.node).unwrap_or_default();
        if size::parse(&text).is_none() {
            report
                .error(entry.node.span, format!("`{text}` is not an amount of bytes"))
                .help("write a number with a unit: `10g`");
        }
    }
}

fn capability(node: &Node, report: &mut Report) {
    let Some(text) = node.text_value() else { return };
    let name = bare(text);
    if !NAMES.contains(&name.as_str()) {
        report.error(node.span, format!("`{text}` is not a capability")).meant(
            &name,
            NAMES,
            "capabilities(7) lists them: `NET_ADMIN`, `SYS_TIME`…",
        );
    }
}

/// What is both added and dropped.
fn opposites(service: Named<'_>, report: &mut Report) {
    let added =
        service.list("cap_add").iter().filter_map(|added| Some((bare(added.text_value()?), added.span)));
    let added: HashMap<String, Span> = added.collect();
    for dropped in service.list("cap_drop") {
        let Some(text) = dropped.text_value().filter(|text| bare(text) != "ALL") else { continue };
        if let Some(span) = added.get(&bare(text)) {
            report
                .warning(dropped.span, format!("the capability `{text}` is both added and dropped"))
                .help("keep one of them")
                .also(*span, "added here");
        }
    }
}

/// Parameters of the IPC namespace, which a container has of its own.
const IPC: [&str; 8] = [
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
];

fn parameters(service: Named<'_>, report: &mut Report) {
    for (key, entry) in service.map("sysctls") {
        // sysctl(8) takes slashes for dots.
        let name = key.replace('/', ".");
        if leads_elsewhere(key) {
            report
                .error(entry.key, format!("`{key}` is not the name of a parameter"))
                .help("words between dots: `net.core.somaxconn`");
            continue;
        }
        let mode = |key: &str| service.get(key).filter(|node| node.text_value() == Some("host"));
        let foreign = if name.starts_with("net.") {
            mode("network_mode").map(|node| (node, "network"))
        } else if name.starts_with("fs.mqueue.") || IPC.contains(&name.as_str()) {
            mode("ipc").map(|node| (node, "IPC namespace"))
        } else if matches!(name.as_str(), "kernel.hostname" | "kernel.domainname") {
            let field = name.trim_start_matches("kernel.");
            report
                .error(entry.key, format!("`{key}` is set with a key of its own"))
                .help(format!("write `{field}:` in the service"));
            continue;
        } else {
            report
                .error(entry.key, format!("`{key}` belongs to the whole host, not to a container"))
                .meant(
                    &name,
                    IPC,
                    "a container has `net.*`, `fs.mqueue.*`, `kernel.msg*`, `kernel.sem` and `kernel.shm*` of its own",
                );
            continue;
        };
        if let Some((node, what)) = foreign {
            report
                .error(entry.key, format!("`{key}` cannot be set: the {what} is the host's"))
                .also(node.span, "shared with the host");
        }
    }
}

/// Whether a key, read as sysctl(8) does, is a path with an empty part, `.` or `..`.
fn leads_elsewhere(key: &str) -> bool {
    // What comes first separates, and stands within a part for the other.
    let swapped = |c: char| match c {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    let by_dots = key.find(['.', '/']).is_some_and(|first| key[first..].starts_with('.'));
    let path: String = key.chars().map(|c| if by_dots { swapped(c) } else { c }).collect();
    path.split('/').any(|part| ["", ".", ".."].contains(&part))
}

/// setrlimit(2), in Docker's spelling.
const LIMITS: [&str; 15] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

fn limits(service: Named<'_>, report: &mut Report) {
    for (name, entry) in service.map("ulimits") {
        if !LIMITS.contains(&name.as_str()) {
            report.error(entry.key, format!("`{name}` is not a limit of processes")).meant(
                name,
                LIMITS,
                format!("it may be {}", LIMITS.join(", ")),
            );
        }
        let part = |key: &str| entry.node.get(key).and_then(|node| Some((node, values::whole(node)?)));
        let either = |node: &Node| if node.as_map().is_some() { None } else { values::whole(node) };
        let alone = either(&entry.node).map(|value| (&entry.node, value));
        for (node, value) in [alone, part("soft"), part("hard")].into_iter().flatten() {
            if value < -1 {
                report
                    .error(node.span, format!("the limit of `{name}` cannot be {value}"))
                    .help("a number from 0 on, or -1 for no limit");
            }
        }
        // -1 is no limit.
        if let (Some((soft, least)), Some((hard, most))) = (part("soft"), part("hard"))
            && most >= 0
            && (least > most || least < 0)
        {
            report
                .error(soft.span, format!("the soft limit of `{name}` is above the hard one"))
                .help("a process may raise its soft limit up to the hard one")
                .also(hard.span, "the hard limit");
        }
    }
}
