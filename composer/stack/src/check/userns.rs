//! `x-userns: auto`: what a service with a user namespace of its own cannot have of the host's.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::values;
use crate::yaml::Node;

/// How many users there are inside.
const COUNT: u64 = 1 << 16;

/// Keys that lead out of the namespace, and what they share.
const SHARED: [(&str, &str); 6] = [
    ("cgroup", "the host's control groups"),
    ("ipc", "the IPC namespace"),
    ("network_mode", "the host's network"),
    ("pid", "the processes"),
    ("userns_mode", "the host's users"),
    ("uts", "the host's name"),
];

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for service in project.services() {
        let wanted = service.get("x-userns").filter(|node| node.text_value() == Some("auto"));
        if let Some(wanted) = wanted {
            shared(service, wanted, report);
            users(service, wanted, report);
        }
    }
}

fn shared(service: Named<'_>, wanted: &Node, report: &mut Report) {
    let mut refuse = |node: &Node, message: String| {
        report.error(node.span, message).help("remove one of the two").also(wanted.span, "users of its own");
    };
    if let Some(node) = service.get("privileged").filter(|node| values::flag(Some(node))) {
        refuse(node, "a privileged service has the host's users, and cannot have its own".to_owned());
    }
    for (key, what) in SHARED {
        let Some(node) = service.get(key) else { continue };
        let text = node.text_value().unwrap_or_default();
        let is_others = text.starts_with("service:") || text.starts_with("container:");
        // A network of another service is used without rights over it.
        if text == "host" || (is_others && key != "network_mode") {
            refuse(node, format!("a service with users of its own cannot share {what} (`{key}: {text}`)"));
        }
    }
}

fn users(service: Named<'_>, wanted: &Node, report: &mut Report) {
    let user = service.get("user").into_iter();
    for node in user.chain(service.list("group_add")) {
        let text = node.text_value().unwrap_or_default();
        let is_high = |id: &str| id.parse::<u64>().is_ok_and(|id| id >= COUNT);
        if text.split(':').any(is_high) {
            report
                .error(node.span, format!("`{text}` is too high for `x-userns: auto`"))
                .help(format!("ids go from 0 to {}", COUNT - 1))
                .also(wanted.span, "users of its own");
        }
    }
}
