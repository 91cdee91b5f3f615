//! `--format` of verbs that list and of those that inspect, as Docker has it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::table;
use super::template::{Error, Subject, Template};

/// What begins all formats that are tables.
pub const TABLE: &str = "table";
const JSON: &str = "json";

/// One line of a listing.
pub trait Listed: Serialize {
    /// Its fields, with the headers of their columns.
    const FIELDS: &'static [(&'static str, &'static str)];

    /// What `.Label` finds, where there is that.
    fn labels(&self) -> Option<&BTreeMap<String, String>> {
        None
    }
}

/// Why lines cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Template(#[from] Error),
    #[error("write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// How lines are printed.
pub enum Format {
    /// With the columns that there are anyway.
    Table,
    /// One object a line.
    Json,
    /// Each as the template has it.
    Lines(Box<Template>),
    /// The same in columns with headers.
    Columns(Box<Template>),
}

impl Format {
    /// Reads what was given.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Ok(match text.trim_end_matches(' ') {
            "" | TABLE => Self::Table,
            JSON => Self::Json,
            _ if text.starts_with(TABLE) => Self::Columns(Box::new(Template::of_listing(text)?)),
            _ => Self::Lines(Box::new(Template::of_listing(text)?)),
        })
    }

    /// The lines as text; `table` makes the usual one.
    pub fn render<T: Listed>(
        &self,
        lines: &[T],
        table: impl FnOnce(&[T]) -> String,
    ) -> Result<String, Failure> {
        match self {
            Self::Table => Ok(table(lines)),
            Self::Json => {
                let line = |line| serde_json::to_string(line).map(|text| text + "\n");
                Ok(lines.iter().map(line).collect::<Result<_, _>>()?)
            }
            Self::Lines(template) => rows(template, lines),
            Self::Columns(template) => {
                let rows = rows(template, lines)?;
                Ok(table::tabbed(&format!("{}\n{rows}", template.header(T::FIELDS))))
            }
        }
    }
}

fn rows<T: Listed>(template: &Template, lines: &[T]) -> Result<String, Failure> {
    let row = |line: &T| {
        let mut subject = Subject::line(line, T::FIELDS)?;
        subject.labels = line.labels().cloned();
        Ok(template.row(subject)? + "\n")
    };
    lines.iter().map(row).collect()
}

/// How documents are printed.
pub enum Inspection {
    /// An array, indented.
    Indented,
    /// The same on one line.
    Json,
    /// Each as the template has it.
    Lines(Box<Template>),
}

impl Inspection {
    /// Reads what was given.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        Ok(match text {
            "" => Self::Indented,
            JSON => Self::Json,
            _ => Self::Lines(Box::new(Template::of_inspection(text)?)),
        })
    }

    /// The documents as text, and those that the template fails for. The example has all fields of their type.
    pub fn render<T: Serialize>(
        &self,
        documents: &[T],
        example: &str,
    ) -> Result<(String, Vec<Failure>), Failure> {
        let template = match self {
            Self::Indented => return Ok((serde_json::to_string_pretty(documents)? + "\n", Vec::new())),
            Self::Json => return Ok((serde_json::to_string(documents)? + "\n", Vec::new())),
            Self::Lines(template) => template,
        };
        let (mut text, mut failures) = (String::new(), Vec::new());
        for document in documents {
            match template.row(Subject::document(document, example)?) {
                Ok(row) => text += &(row + "\n"),
                Err(error) => failures.push(error.into()),
            }
        }
        // Docker's: whoever reads a line gets one.
        if text.is_empty() {
            text.push('\n');
        }
        Ok((text, failures))
    }
}
