//! What is found while a string is expanded, and how it is said.

use std::collections::BTreeSet;
use std::ops::Range;

use crate::diagnostic::Report;
use crate::source::Span;

/// Something about an expression, at a byte range of the string.
#[derive(Debug, PartialEq)]
pub(crate) enum Finding {
    /// A variable without a value and without a default.
    Unset { name: String, at: Range<usize> },
    /// An expression that has no value.
    Wrong { message: String, help: Option<String>, at: Range<usize> },
}

impl Finding {
    pub fn range(&self) -> Range<usize> {
        match self {
            Self::Unset { at, .. } | Self::Wrong { at, .. } => at.clone(),
        }
    }

    /// Puts it into the report; one warning for each variable is enough.
    pub fn say(self, span: Span, warned: &mut BTreeSet<String>, report: &mut Report) {
        match self {
            Self::Unset { name, .. } => {
                if warned.insert(name.clone()) {
                    let message =
                        format!("the variable `{name}` is not set; it stands for an empty string here");
                    report
                        .warning(span, message)
                        .help(format!("set it, or say what it defaults to: `${{{name}:-value}}`"));
                }
            }
            Self::Wrong { message, help, .. } => {
                let found = report.error(span, message);
                if let Some(help) = help {
                    found.help(help);
                }
            }
        }
    }
}
