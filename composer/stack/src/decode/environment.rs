//! `env_file` and `environment`: files first, the service's own values above them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Context;
use super::fields::{Fields, boolean, expect_list, pairs, string, wrong_type};
use crate::diagnostic::Report;
use crate::interpolate::Lookup;
use crate::source::Span;
use crate::yaml::{Entry, Node, Value};
use crate::{dotenv, files, keys};

/// The environment; a value is `None` where the caller's environment lacks what the file names.
pub(super) fn decode(
    env_file: Option<&Entry>,
    environment: Option<&Entry>,
    context: &Context<'_>,
    report: &mut Report,
) -> BTreeMap<String, Option<String>> {
    let own: BTreeMap<String, Option<String>> = environment
        .and_then(|entry| pairs("environment", &entry.node, report))
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let value = value.value.or_else(|| context.variables.get(&key).map(str::to_owned));
            (key, value)
        })
        .collect();
    // What a `${VAR}` in a file refers to, as Docker Compose has it: the caller's, the service's own, then the files'.
    let lookup = |name: &str| context.variables.get(name).or_else(|| own.get(name)?.as_deref());
    let mut read_so_far = BTreeMap::new();
    for file in env_file.and_then(|entry| expect_list("env_file", &entry.node, report)).into_iter().flatten()
    {
        read(file, &lookup, &mut read_so_far, context, report);
    }
    let mut out: BTreeMap<String, Option<String>> =
        read_so_far.into_iter().map(|(key, variable)| (key, Some(variable.value))).collect();
    out.extend(own);
    out
}

struct EnvFile {
    path: PathBuf,
    span: Span,
    required: bool,
    raw: bool,
}

fn read(
    node: &Node,
    lookup: Lookup<'_, '_>,
    variables: &mut BTreeMap<String, dotenv::Variable>,
    context: &Context<'_>,
    report: &mut Report,
) {
    let Some(file) = entry(node, context, report) else { return };
    match files::read(&file.path) {
        Ok(text) if file.raw => dotenv::parse_raw(&file.path, text, lookup, variables, report),
        Ok(text) => dotenv::parse(&file.path, text, lookup, variables, report),
        Err(_) if !file.required && !file.path.exists() => {}
        Err(error) => {
            report
                .error(file.span, error.to_string())
                .help("a file that may be missing: `- path: FILE` with `required: false`");
        }
    }
}

fn entry(node: &Node, context: &Context<'_>, report: &mut Report) -> Option<EnvFile> {
    match &node.value {
        Value::Scalar(_) => {
            let path = context.path(&string("env_file", node, report)?);
            Some(EnvFile { path, span: node.span, required: true, raw: false })
        }
        Value::Map(_) => {
            let mut fields = Fields::open("env_file", node, report)?;
            let path = fields.take("path");
            let required = fields.with("required", report, boolean).unwrap_or(true);
            let format = fields.take("format");
            fields.finish("an entry of `env_file`", keys::ENV_FILE, report);
            let raw = match format.map(|entry| (string("format", &entry.node, report), entry)) {
                Some((Some(text), entry)) if text != "raw" => {
                    report
                        .error(entry.node.span, format!("`{text}` is not a format of env files"))
                        .help("`raw` is");
                    false
                }
                Some((text, _)) => text.is_some(),
                None => false,
            };
            let Some(path) = path else {
                report.error(node.span, "an entry of `env_file` needs a `path`");
                return None;
            };
            let text = string("path", &path.node, report)?;
            Some(EnvFile { path: context.path(&text), span: path.node.span, required, raw })
        }
        Value::List(_) => {
            wrong_type("env_file", "a string or a mapping", node, report);
            None
        }
    }
}
