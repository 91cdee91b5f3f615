//! Logging: options that mean nothing, and drivers that are not here.

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::logging::{self, Driver};
use crate::values;
use crate::yaml::Node;

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for service in project.services() {
        let Some(node) = service.at(&["logging"]) else { continue };
        match logging::driver(node) {
            Driver::JsonFile => options("json-file", service, report),
            Driver::Local => options("local", service, report),
            Driver::Nowhere => {}
            Driver::Other(name) => {
                let span = node.get("driver").map_or(node.span, |driver| driver.span);
                report
                    .warning(
                        span,
                        format!("there is no logging driver `{name}` here: output is kept on this host"),
                    )
                    .help("`compose logs` shows it; `json-file`, `local` and `none` are known");
            }
        }
    }
}

fn options(driver: &str, service: Named<'_>, report: &mut Report) {
    let Some(options) = service.at(&["logging", "options"]) else { return };
    for (key, entry) in options.entries() {
        if !logging::OPTIONS.contains(&key.as_str()) {
            let known = logging::OPTIONS;
            let all = format!("it has {}", known.map(|name| format!("`{name}`")).join(", "));
            report
                .error(entry.key, format!("the logging driver `{driver}` has no option `{key}`"))
                .meant(key, known, all);
            continue;
        }
        value(key, &entry.node, report);
    }
}

fn value(key: &str, node: &Node, report: &mut Report) {
    let Some(text) = values::scalar(node).filter(|text| !text.is_empty()) else { return };
    match key {
        "max-size" if logging::max_size(&text).is_err() => {
            report
                .error(node.span, format!("`max-size` must be an amount of bytes above zero, not `{text}`"))
                .help("for example `max-size: 10m`; `\"-1\"` is no limit");
        }
        "max-file" if logging::max_file(&text).is_err() => {
            report
                .error(node.span, format!("`max-file` must be a number of files above zero, not `{text}`"))
                .help("for example `max-file: 3`");
        }
        _ => {}
    }
}
