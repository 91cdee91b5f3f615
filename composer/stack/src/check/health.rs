//! Health checks: the first word says how the others are run.

use std::time::Duration;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::values;
use crate::yaml::Node;

/// Docker's least interval.
const LEAST: Duration = Duration::from_millis(1);
const EXAMPLE: &str = "for example `test: [\"CMD\", \"curl\", \"-f\", \"http://localhost\"]`";

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for service in project.services() {
        test(service, report);
        times(service, report);
    }
}

/// Words that Docker Compose passes over.
fn test(service: Named<'_>, report: &mut Report) {
    let Some(test) = service.at(&["healthcheck", "test"]) else { return };
    let words = test.items();
    let complaint = match words.first().and_then(Node::text_value) {
        Some("NONE") if words.len() > 1 => "`NONE` takes no further words",
        Some("CMD-SHELL") if words.len() > 2 => "`CMD-SHELL` needs one string, a shell's command line",
        Some(_) | None => return,
    };
    report.error(test.span, complaint).help(EXAMPLE);
}

fn times(service: Named<'_>, report: &mut Report) {
    for key in ["interval", "timeout", "start_period", "start_interval"] {
        let Some(node) = service.at(&["healthcheck", key]) else { continue };
        if values::time(node).is_some_and(|time| !time.is_zero() && time < LEAST) {
            report.error(node.span, format!("`{key}` is too short")).help("the least is `1ms`");
        }
    }
}
