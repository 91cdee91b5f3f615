//! What watching and devices leave to a second look: keys that need or exclude each other.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        watch(service, report);
    }
}

/// What devices by themselves may not be.
pub(super) fn devices(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        let reserved = service.at(&["deploy", "resources", "reservations", "devices"]);
        let reserved = reserved.map(Node::items).unwrap_or_default();
        for device in reserved.iter().chain(service.list("gpus")) {
            if let (Some(count), Some(ids)) = (device.get("count"), device.get("device_ids")) {
                report
                    .error(ids.span, "a device has both `count` and `device_ids`")
                    .help("keep one of them")
                    .also(count.span, "the other one");
            }
        }
    }
}

fn watch(service: Named<'_>, report: &mut Report) {
    for rule in service.at(&["develop", "watch"]).map(Node::items).unwrap_or_default() {
        let Some(action) = rule.get("action") else { continue };
        let word = action.text_value().unwrap_or_default();
        let has_target = rule.get("target").and_then(Node::text_value).is_some_and(|text| !text.is_empty());
        if !has_target && !matches!(word, "rebuild" | "restart") {
            report
                .error(action.span, format!("`{word}` needs a `target`"))
                .help("`target: PATH` says where the files go inside the container");
        }
    }
}
