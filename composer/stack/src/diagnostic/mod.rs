//! What is said about files: messages with a place, the way an error took to get where it counts, and a way out.
//!
//! [`Report`] collects them while files are read; [`Diagnostics`] is what it hands over; `render` shows them.

mod place;
mod render;
mod report;

use serde::Serialize;

use crate::source::StepKind;

pub use place::Place;
pub use render::{clean, one_line};
pub(crate) use report::{Found, REFUSED, Report};

/// So many errors, and as many warnings, are shown as text: nobody reads more at once.
const SHOWN: usize = 50;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, perhaps not as meant.
    Warning,
    /// All is well, and worth knowing.
    Note,
}

impl Severity {
    /// The worst first.
    const ALL: [Self; 3] = [Self::Error, Self::Warning, Self::Note];

    /// Several of it.
    fn many(self) -> &'static str {
        match self {
            Self::Error => "errors",
            Self::Warning => "warnings",
            Self::Note => "notes",
        }
    }
}

/// One thing that is wrong, or doubtful, with where it is.
#[derive(Clone, Debug, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong: lower case, no full stop.
    pub message: String,
    /// Where; `None` where no file is to blame.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// A few words for the caret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// A further fact.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Other places that take part.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<Related>,
    /// How what is at the place came to count: from there outward.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Link>,
}

/// Another place that takes part in a diagnostic.
#[derive(Clone, Debug, Serialize)]
pub struct Related {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// What is there.
    pub label: String,
}

/// One step of a chain.
#[derive(Clone, Debug, Serialize)]
pub struct Link {
    /// What kind of step it is.
    pub kind: StepKind,
    /// Where it is taken.
    #[serde(flatten)]
    pub place: Place,
    /// What is there.
    pub label: String,
}

/// What is said about the place of a step.
fn step_label(kind: StepKind, line: &str) -> String {
    match kind {
        StepKind::Alias => "used through this alias".to_owned(),
        StepKind::Extends => "extended here".to_owned(),
        StepKind::Include => "included here".to_owned(),
        StepKind::EnvFile => "read as an env file".to_owned(),
        StepKind::LabelFile => "read as a label file".to_owned(),
        StepKind::Variable => format!("`{}` is set here", variable_name(line)),
        StepKind::Environment => "from the environment".to_owned(),
        StepKind::Default => "not set".to_owned(),
    }
}

/// The name in a line of an env file.
pub(crate) fn variable_name(line: &str) -> &str {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    line.split(['=', ':', ' ', '\t', '\n']).next().unwrap_or(line)
}

/// Everything that was found, in the order of the files and of the places in them.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    found: Vec<Diagnostic>,
    /// By severity, those that are counted, but not kept: a file with 100,000 of them costs no more than one with 1,000.
    more: [usize; 3],
}

impl Diagnostics {
    /// Those that are kept: the first thousand of each severity.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.found.iter()
    }

    /// Whether there is none at all.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many there are of a severity, with those that are not kept.
    pub fn count(&self, severity: Severity) -> usize {
        self.found.iter().filter(|each| each.severity == severity).count() + self.more[severity as usize]
    }

    /// Text for people, one below the other; `color` uses ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        let mut parts = Vec::new();
        let mut shown = [0; 3];
        for each in &self.found {
            let count = &mut shown[each.severity as usize];
            *count += 1;
            if *count <= SHOWN {
                parts.push(each.render(color));
            }
        }
        for severity in Severity::ALL.into_iter().rev() {
            let (count, word) = (self.count(severity), severity.many());
            if count > SHOWN {
                parts.push(format!("and {} more {word}: {count} in all", count - SHOWN));
            } else if count > 1 && severity == Severity::Error {
                parts.push(format!("{count} errors"));
            }
        }
        parts.join("\n\n")
    }

    /// The same for programs: one JSON object a line.
    pub fn render_json(&self) -> String {
        let mut lines: Vec<String> = self.found.iter().map(Diagnostic::render_json).collect();
        for severity in Severity::ALL {
            let (more, word) = (self.more[severity as usize], severity.many());
            if more > 0 {
                lines.push(
                    Diagnostic::without_place(severity, format!("and {more} more {word}")).render_json(),
                );
            }
        }
        lines.join("\n")
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.found.iter()
    }
}

impl Diagnostic {
    /// One that no place in a file is to blame for.
    pub fn without_place(severity: Severity, message: String) -> Self {
        Self {
            severity,
            message,
            place: None,
            label: None,
            help: None,
            note: None,
            related: Vec::new(),
            chain: Vec::new(),
        }
    }

    /// One line of JSON.
    pub fn render_json(&self) -> String {
        // Keys are strings and values plain: there is nothing that JSON could not hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}
