//! Networks, volumes, configs and secrets by themselves: whence they come, and their names.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::values;

/// What a definition by itself may not be.
pub(super) fn each(project: Project<'_>, report: &mut Report) {
    for volume in project.section("volumes") {
        external("volume", volume, report);
    }
    for config in project.section("configs") {
        content(config, "config", &["file", "environment", "content"], report);
    }
    for secret in project.section("secrets") {
        content(secret, "secret", &["file", "environment"], report);
    }
}

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for secret in project.section("secrets") {
        empty(secret, report);
    }
    if !project.running() {
        return;
    }
    for volume in project.section("volumes") {
        volume_name(volume, report);
    }
    for (section, kind) in [("networks", "network"), ("configs", "config"), ("secrets", "secret")] {
        for item in project.section(section) {
            external(kind, item, report);
        }
    }
}

fn is_external(item: Named<'_>) -> bool {
    values::flag(item.get("external"))
}

/// What others made cannot be described here. Docker Compose refuses that for volumes; elsewhere it looks away.
fn external(kind: &str, item: Named<'_>, report: &mut Report) {
    let Some(external) = item.get("external").filter(|_| is_external(item)) else { return };
    let name = item.name;
    let strict = kind == "volume";
    for (key, entry) in item.node().entries() {
        if matches!(key.as_str(), "name" | "external") || key.starts_with("x-") || is_empty(&entry.node) {
            continue;
        }
        let found = if strict {
            report.error(entry.key, format!("the {kind} `{name}` is external, so it has no `{key}`"))
        } else {
            report.warning(entry.key, format!("the {kind} `{name}` is external: `{key}` has no effect"))
        };
        found.help(format!("remove `{key}`, or `external`")).also(external.span, "made by somebody else");
    }
}

/// What normalizing fills in is empty.
fn is_empty(node: &crate::yaml::Node) -> bool {
    node.is_null() || node.as_map().is_some_and(|map| map.is_empty())
}

/// A config or secret has one source.
fn content(item: Named<'_>, kind: &str, keys: &[&str], report: &mut Report) {
    let given: Vec<_> =
        keys.iter().filter_map(|key| Some((*key, item.node().as_map()?.get(*key)?))).collect();
    let name = item.name;
    match given.as_slice() {
        [(first, place), (second, other), ..] => {
            report
                .error(other.key, format!("the {kind} `{name}` has both `{first}` and `{second}`"))
                .help("keep one of them")
                .also(place.key, "the other one");
        }
        [_] => {}
        [] => {
            // As Docker Compose has it, `external: false` is content enough for a config.
            let elsewhere = is_external(item) || (kind == "config" && item.get("external").is_some());
            if !elsewhere {
                let [others @ .., last] = keys else { return };
                let others: Vec<String> = others.iter().map(|key| format!("`{key}`")).collect();
                report
                    .error(item.entry.key, format!("the {kind} `{name}` has no content"))
                    .help(format!("give it {} or `{last}`", others.join(", ")));
            }
        }
    }
}

/// A secret's source is named, not only its key.
fn empty(secret: Named<'_>, report: &mut Report) {
    let name = secret.name;
    for key in ["file", "environment"] {
        if let Some(node) = secret.get(key).filter(|node| node.text_value() == Some("")) {
            report.error(node.span, format!("`{key}` of the secret `{name}` is empty"));
        }
    }
}

/// It becomes the name of a folder: NAME_MAX of limits.h.
const LONGEST: usize = 255;

/// Also a derived name may be too long.
fn volume_name(volume: Named<'_>, report: &mut Report) {
    let Some(node) = volume.get("name") else { return };
    let length = node.text_value().map_or(0, str::len);
    if length > LONGEST {
        report
            .error(node.span, format!("the volume's name would have {length} characters"))
            .help(format!("{LONGEST} fit: give it a shorter `name`"));
    }
}
