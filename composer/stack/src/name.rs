//! The project's name: `-p`, COMPOSE_PROJECT_NAME, `name:`, or the project directory's own name.

use std::path::Path;

use crate::diagnostic::Report;
use crate::environment::Environment;
use crate::interpolate::Interpolator;
use crate::options::LoadOptions;
use crate::source::{Span, Way};
use crate::yaml::{Node, Value};

/// A project's name.
pub(crate) struct Name {
    pub text: String,
    /// Where it was given, if not by a file or by the folder's name.
    pub given: Option<Span>,
}

/// Chooses the name in the order of Docker Compose; `None` where there is none, which has been reported.
pub(crate) fn choose(
    options: &LoadOptions,
    environment: &Environment,
    documents: &[&Node],
    directory: &Path,
    interpolator: &mut Interpolator,
    report: &mut Report,
) -> Option<Name> {
    let chosen = |text: String| Some(Name { text, given: None });
    let given = options.project_name.as_deref().map(|name| (name, "-p"));
    let given = given.filter(|(name, _)| !name.is_empty());
    let given =
        given.or_else(|| environment.get("COMPOSE_PROJECT_NAME").map(|name| (name, "COMPOSE_PROJECT_NAME")));
    if let Some((name, from)) = given.filter(|(name, _)| !name.is_empty()) {
        if is_valid(name) {
            let outside = |way| Span { way, ..Span::new(0, 0, 0) };
            let at = match (from, environment.definition(from)) {
                ("-p", _) => outside(Way::OPTION),
                (_, None) => outside(Way::CALLER),
                (_, Some(definition)) => definition,
            };
            return Some(Name { text: name.to_owned(), given: Some(at) });
        }
        let fix = normalize(name);
        let fix = if fix.is_empty() { String::new() } else { format!(": `{fix}` would do") };
        report.error_without_place(format!("`{name}` ({from}) is not a project name: {RULE}{fix}"));
        return None;
    }
    let named =
        documents.iter().rev().find_map(|document| Some(document.as_map()?.get("name")?.node.clone()));
    if let Some(mut node) = named.filter(|node| !node.is_null()) {
        if options.interpolate {
            interpolator.tree(&mut node, environment, report);
        }
        if let Value::Scalar(scalar) = &node.value {
            let name = normalize(&scalar.text);
            if !name.is_empty() {
                return chosen(name);
            }
            report.error(node.span, format!("`{}` is not a project name", scalar.text)).help(RULE);
        }
    }
    let base = directory.file_name().map(|name| normalize(&name.to_string_lossy())).unwrap_or_default();
    if base.is_empty() {
        let folder = directory.display();
        // A file that is wrong may have one.
        if !report.has_errors() {
            report
                .error_without_place(format!("no project name can be made from {folder}: give one with -p"));
        }
        return None;
    }
    chosen(base)
}

const RULE: &str = "lower-case letters, digits, `-` and `_`, beginning with a letter or digit";

fn is_valid(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
}

/// Docker Compose's `NormalizeProjectName`.
fn normalize(name: &str) -> String {
    let kept: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_'))
        .collect();
    kept.trim_start_matches(['-', '_']).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_from_folders() {
        assert_eq!(normalize("_My Shop.v2"), "myshopv2");
        assert!(is_valid("a-b_1") && !is_valid("-a") && !is_valid("A"));
    }
}
