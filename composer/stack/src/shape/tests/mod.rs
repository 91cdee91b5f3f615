//! Every short form, and what is refused. What is expected was taken from Docker Compose v2.40.3 where it reads the
//! same.

mod accepted;
mod expressions;
mod refused;

use std::path::Path;

use serde_json::Value as Json;

use super::{Brought, Shaper, complete};
use crate::diagnostic::{Report, Severity};
use crate::spec::{FILE, Shape};
use crate::yaml::{self, Node, limits};
use crate::{emit, merge, print};

static ROOT: Shape = Shape::Record(&FILE);

/// A document through shaping, merging and completing.
pub(crate) fn shaped(texts: &[&str], interpolated: bool) -> (Option<Node>, Report) {
    shaped_for(texts, interpolated, false)
}

fn shaped_for(texts: &[&str], interpolated: bool, lenient: bool) -> (Option<Node>, Report) {
    let mut report = Report::default();
    let mut root: Option<Node> = None;
    for text in texts {
        let documents = yaml::parse(Path::new("test.yaml"), (*text).to_owned(), &mut report);
        for document in documents.into_iter().flatten() {
            let mut shaper = Shaper {
                folder: Path::new("/w"),
                home: Some(Path::new("/home/u")),
                resolve_paths: true,
                lenient,
                interpolated,
                ports: &mut Some(limits::PORTS),
                report: &mut report,
            };
            let Some(document) = shaper.shape(document, &ROOT, "the file") else { continue };
            root = Some(match root {
                Some(root) => merge::records(root, document, &FILE, false, &mut report),
                None => document,
            });
        }
    }
    if let Some(root) = &mut root {
        merge::settle(root, &FILE, false);
        complete(root, &FILE, &Brought::All, &mut report);
    }
    (root, report)
}

/// What is wrong.
pub(crate) fn messages(report: &Report, severity: Severity) -> Vec<&str> {
    report
        .found
        .iter()
        .filter(|found| found.severity == severity)
        .map(|found| found.message.as_str())
        .collect()
}

/// The document as JSON.
pub(crate) fn json(root: &Node) -> Json {
    let text = emit::json(&print::document(root, &FILE, print::Format::Json, false)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The only service of a file, one fragment a file, without what is always there.
pub(crate) fn service(fragments: &[&str]) -> Result<Json, String> {
    service_for(fragments, false)
}

/// The same as it is shown, or as it is run.
fn service_for(fragments: &[&str], lenient: bool) -> Result<Json, String> {
    let texts: Vec<String> = fragments
        .iter()
        .map(|fragment| format!("services:\n  a:\n    {}\n", fragment.replace('\n', "\n    ")))
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let (root, report) = shaped_for(&texts, true, lenient);
    let errors = messages(&report, Severity::Error);
    if !errors.is_empty() {
        return Err(errors.join("; "));
    }
    let mut service = json(&root.unwrap())["services"]["a"].take();
    if let Some(map) = service.as_object_mut() {
        map.retain(|key, value| !(value.is_null() && (key == "command" || key == "entrypoint")));
    }
    Ok(service)
}

#[test]
fn every_key_has_one_sentence_of_help() {
    fn look(shape: &'static Shape, path: &str) {
        match shape {
            Shape::OrNull(shape) | Shape::Either(_, shape) => look(shape, path),
            Shape::List(shape) | Shape::Set(shape) | Shape::Map(shape) | Shape::Names(shape) => {
                look(shape, path)
            }
            Shape::Short(conversion) | Shape::Late(conversion) => look(&conversion.long, path),
            Shape::Record(record) => {
                for field in record.fields {
                    let path = format!("{path}.{}", field.key);
                    assert!(
                        field.help.ends_with(['.', '…']) && field.help.len() > 10,
                        "{path}: {}",
                        field.help
                    );
                    assert!(record.required.iter().all(|key| record.field(key).is_some()), "{path}");
                    look(&field.shape, &path);
                }
            }
            _ => {}
        }
    }
    look(&ROOT, "");
}
