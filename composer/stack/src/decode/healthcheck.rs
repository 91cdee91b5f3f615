//! `healthcheck`.

use super::fields::{Fields, boolean, count, duration, strings, wrong_type};
use super::project::Healthcheck;
use crate::diagnostic::Report;
use crate::keys;
use crate::yaml::{Node, Value};

/// Decodes `healthcheck`.
pub(super) fn decode(name: &str, node: &Node, report: &mut Report) -> Option<Healthcheck> {
    let mut fields = Fields::open(name, node, report)?;
    let test = fields.take("test");
    let out = Healthcheck {
        test: test.and_then(|entry| decode_test(&entry.node, report)),
        disable: fields.with("disable", report, boolean).unwrap_or(false),
        interval: fields.with("interval", report, duration),
        timeout: fields.with("timeout", report, duration),
        retries: fields.with("retries", report, count).map(|at| at.value),
        start_period: fields.with("start_period", report, duration),
        start_interval: fields.with("start_interval", report, duration),
        extensions: fields.finish("`healthcheck`", keys::HEALTHCHECK, report),
    };
    Some(out)
}

fn decode_test(node: &Node, report: &mut Report) -> Option<Vec<String>> {
    match &node.value {
        Value::Scalar(scalar) if !node.is_null() => Some(vec!["CMD-SHELL".to_owned(), scalar.to_text()]),
        Value::List(_) => {
            let test = strings("test", node, report)?;
            let complaint = match test.first().map(String::as_str) {
                None => None,
                Some("NONE") if test.len() == 1 => None,
                Some("NONE") => Some("`NONE` takes no further words"),
                Some("CMD") if test.len() > 1 => None,
                Some("CMD-SHELL") if test.len() == 2 => None,
                Some("CMD") => Some("`CMD` needs a program"),
                Some("CMD-SHELL") => Some("`CMD-SHELL` needs one string, a shell's command line"),
                Some(_) => Some("a `test` list must begin with `CMD`, `CMD-SHELL` or `NONE`"),
            };
            if let Some(complaint) = complaint {
                report
                    .error(node.span, complaint)
                    .help("for example `test: [\"CMD\", \"curl\", \"-f\", \"http://localhost\"]`");
                return None;
            }
            Some(test)
        }
        Value::Scalar(_) | Value::Map(_) => {
            wrong_type("test", "a string or a list", node, report);
            None
        }
    }
}
