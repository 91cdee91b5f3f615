//! Health checks: the first word says how the others are run; there is one way for each service.

use std::time::Duration;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::logging::{self, Driver};
use crate::values;
use crate::yaml::Node;

/// Docker's least interval.
const LEAST: Duration = Duration::from_millis(1);
const PROBE_EXAMPLE: &str = "`tcp: 5432`, `http: {port: 8000, path: /health}` or `log: \"ready to accept\"`";
const EXAMPLE: &str = "for example `test: [\"CMD\", \"curl\", \"-f\", \"http://localhost\"]`";

pub(super) fn check(project: Project<'_>, report: &mut Report) {
    if !project.running() {
        return;
    }
    for service in project.services() {
        test(service, report);
        times(service, report);
        probe(service, report);
        hooks(service, report);
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

/// `x-probe` tries something, and it alone.
fn probe(service: Named<'_>, report: &mut Report) {
    let Some(entry) = service.entry("x-probe") else { return };
    let probe = &entry.node;
    if ["tcp", "http", "log"].iter().all(|key| probe.get(key).is_none()) {
        report.error(entry.key, "`x-probe` tries nothing").help(PROBE_EXAMPLE);
    }
    if let Some(log) = probe.get("log") {
        let text = log.text_value().unwrap_or_default();
        if text.is_empty() || text.contains('\n') {
            report.error(log.span, "`log` must be a part of one line").help("`log: \"ready to accept\"`");
        }
    }
    if let (Some(log), Some(logging)) = (probe.get("log"), service.get("logging"))
        && logging::driver(logging) == Driver::Nowhere
        && let Some(driver) = logging.get("driver")
    {
        report
            .error(log.span, "this waits for a line of a log that is not kept: it could never be healthy")
            .help("remove `driver: none`, or try the service with `tcp` or `http`")
            .also(driver.span, "no log is kept");
    }
    if let Some(path) = probe.get("http").and_then(|http| http.get("path")) {
        let text = path.text_value().unwrap_or_default();
        let strange = |letter: char| !letter.is_ascii_graphic() || letter == '#';
        if !text.is_empty() && (!text.starts_with('/') || text.contains(strange)) {
            report.error(path.span, format!("{text:?} is not the path of a request")).help(
                "it begins with `/` and has no spaces: `path: /health?full=1`; others are written as `%20`",
            );
        }
    }
    let test = service.at(&["healthcheck", "test"]);
    let first = test.and_then(|test| test.items().first()?.text_value());
    if let Some(test) = test.filter(|_| first.is_some_and(|first| first != "NONE")) {
        report
            .error(entry.key, format!("`{}` has two health checks", service.name))
            .help("remove one of them; `interval`, `timeout` and the like of `healthcheck` hold for `x-probe` too")
            .also(test.span, "the other one");
    }
}

/// A hook has a program, whatever an image would bring.
fn hooks(service: Named<'_>, report: &mut Report) {
    for key in ["pre_start", "post_start", "pre_stop"] {
        for hook in service.list(key) {
            let command = hook.get("command");
            let image =
                hook.get("image").filter(|image| image.text_value().is_some_and(|text| !text.is_empty()));
            if let Some((image, wrong)) =
                image.and_then(|image| Some((image, crate::image::wrong(image.text_value()?)?)))
            {
                report.error(image.span, &*wrong.message).help(&*wrong.help);
            }
            // Of the others the table says it.
            let missing = command.is_none() && key == "pre_start";
            if missing || command.is_some_and(|command| command.items().is_empty()) {
                report
                    .error(command.unwrap_or(hook).span, format!("this step of `{key}` has no command"))
                    .help("for example `command: [\"./prepare\", \"now\"]`");
            }
        }
    }
}
