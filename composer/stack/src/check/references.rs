//! What a service names in other sections: networks, volumes, configs, secrets, models.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::source::Span;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        for (name, entry) in service.map("networks") {
            // What it has besides is wrong by itself.
            if name == "default" && service.get("network_mode").is_some() {
                continue;
            }
            defined(project, "network", name, entry.key, report);
        }
        for (name, entry) in service.map("models") {
            defined(project, "model", name, entry.key, report);
        }
        volumes(project, service, report);
        let build = service.at(&["build", "secrets"]).map(Node::items).unwrap_or_default();
        for (kind, items) in
            [("config", service.list("configs")), ("secret", service.list("secrets")), ("secret", build)]
        {
            for item in items {
                match item.get("source") {
                    Some(source) => {
                        defined(project, kind, source.text_value().unwrap_or_default(), source.span, report);
                    }
                    None if item.as_map().is_some() => {
                        let found =
                            report.error(item.span, format!("a {kind} of a service needs a `source`"));
                        found.help(format!("`source: NAME`, which is under `{kind}s:` at the top level"));
                    }
                    None => {}
                }
            }
        }
    }
}

fn defined(project: Project<'_>, kind: &str, name: &str, span: Span, report: &mut Report) {
    let section = format!("{kind}s");
    if project.find(&section, name).is_none() {
        let known = project.section(&section).map(|known| known.name);
        report.error(span, format!("the {kind} `{name}` is not defined")).meant(
            name,
            known,
            format!("name it under `{section}:` at the top level"),
        );
    }
}

/// A mount without a source has a volume of its own.
fn volumes(project: Project<'_>, service: Named<'_>, report: &mut Report) {
    let mounts = service.list("volumes").iter();
    for mount in mounts.filter(|mount| mount.get("type").and_then(|node| node.text_value()) == Some("volume"))
    {
        let Some(source) = mount.get("source") else { continue };
        let Some(name) = source.text_value().filter(|name| !name.is_empty()) else { continue };
        if project.find("volumes", name).is_some() {
            continue;
        }
        let known = project.section("volumes").map(|known| known.name);
        let folder = format!("name it under `volumes:` at the top level, or write `./{name}` for a folder");
        report.error(source.span, format!("the volume `{name}` is not defined")).meant(name, known, folder);
    }
}
