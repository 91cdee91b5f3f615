//! What watching leaves to a second look: actions that need a target.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    for service in project.services() {
        watch(service, report);
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
