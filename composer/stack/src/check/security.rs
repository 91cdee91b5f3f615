//! `security_opt`: each item is one, and a profile of system calls can be read.

use std::path::Path;

use serde_json::Value;

use super::project::{Named, Project};
use crate::diagnostic::Report;
use crate::read;
use crate::security::{self, Item, KEYS, Problem};
use crate::source::Span;

pub(super) fn check(project: Project<'_>, folder: &Path, report: &mut Report) {
    if !project.running() {
        return;
    }
    for service in project.services() {
        items(service, folder, report);
    }
}

fn items(service: Named<'_>, folder: &Path, report: &mut Report) {
    for node in service.list("security_opt") {
        let Some(text) = node.text_value() else { continue };
        match security::parse(text) {
            Err(Problem::Key(key)) => {
                report.error(node.span, format!("`{key}` is not an option of `security_opt`")).meant(
                    key,
                    KEYS,
                    format!("it may be {}", KEYS.join(", ")),
                );
            }
            Err(Problem::Value(key, value)) => {
                let ways = match key {
                    "no-new-privileges" => "write `no-new-privileges:true`",
                    "seccomp" => "write `seccomp=unconfined`, or `seccomp=FILE`",
                    _ => "write `systempaths=unconfined`",
                };
                report.error(node.span, format!("`{value}` is not a value of `{key}`")).help(ways);
            }
            Ok(Item::Module(module, true)) => {
                report
                    .warning(
                        node.span,
                        format!("`{text}` has no effect: {module} is not set up by `compose`"),
                    )
                    .help("remove it, if nothing depends on it");
            }
            Ok(Item::Profile(file)) => profile(&security::path(file, folder), node.span, report),
            Ok(
                Item::Module(_, false)
                | Item::NoNewPrivileges(_)
                | Item::AllCalls
                | Item::BuiltinProfile
                | Item::Unmasked,
            ) => {}
        }
    }
}

/// A profile has to be JSON, with actions that there are.
fn profile(path: &Path, span: Span, report: &mut Report) {
    let text = match read::text(path) {
        Ok(text) => text,
        Err(error) => {
            read::cannot(path, &error, Some(span), report);
            return;
        }
    };
    let wrong = match serde_json::from_str::<Value>(&text) {
        Ok(profile) => wrong_in(&profile),
        Err(error) => Some(error.to_string()),
    };
    if let Some(wrong) = wrong {
        report
            .error(span, format!("{} is not a seccomp profile: {wrong}", path.display()))
            .help("docs.docker.com describes the format under \"Seccomp security profiles for Docker\"");
    }
}

const ACTIONS: [&str; 9] = [
    "SCMP_ACT_ALLOW",
    "SCMP_ACT_ERRNO",
    "SCMP_ACT_KILL",
    "SCMP_ACT_KILL_PROCESS",
    "SCMP_ACT_KILL_THREAD",
    "SCMP_ACT_LOG",
    "SCMP_ACT_NOTIFY",
    "SCMP_ACT_TRACE",
    "SCMP_ACT_TRAP",
];

const COMPARISONS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

fn wrong_in(profile: &Value) -> Option<String> {
    word(profile, "defaultAction", &ACTIONS).or_else(|| {
        let rules = profile.get("syscalls").and_then(Value::as_array).into_iter().flatten();
        rules.clone().find_map(|rule| {
            let arguments = rule.get("args").and_then(Value::as_array).into_iter().flatten();
            let named = rule.get("names").or_else(|| rule.get("name"));
            let unnamed = named.is_none().then(|| "a rule has no `names`".to_owned());
            let mut arguments = arguments.map(|argument| word(argument, "op", &COMPARISONS));
            unnamed.or_else(|| word(rule, "action", &ACTIONS)).or_else(|| arguments.find_map(|wrong| wrong))
        })
    })
}

/// Whether a key is not one of these words.
fn word(object: &Value, key: &str, words: &[&str]) -> Option<String> {
    match object.get(key).and_then(Value::as_str) {
        None => Some(format!("it has no `{key}`")),
        Some(text) if !words.contains(&text) => Some(format!("`{key}` cannot be `{text}`")),
        Some("SCMP_ACT_NOTIFY") => Some("`SCMP_ACT_NOTIFY` needs an agent, which is not there".to_owned()),
        Some(_) => None,
    }
}
