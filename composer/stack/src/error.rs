//! Why loading failed.

use std::fmt;

use crate::diagnostic::Diagnostics;

/// Why there is no stack.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// What was given is wrong: every error found, and the warnings beside them.
    #[error("{}", Rendered(.0))]
    Diagnostics(Diagnostics),
    /// No file was named and none was found: that, and what else is wrong.
    #[error("{}", Rendered(.0))]
    NotFound(Diagnostics),
}

impl LoadError {
    /// Everything that is wrong.
    pub fn diagnostics(&self) -> &Diagnostics {
        match self {
            Self::Diagnostics(found) | Self::NotFound(found) => found,
        }
    }

    /// Every diagnostic, one below the other. `color` uses ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        self.diagnostics().render(color)
    }

    /// The same for programs: one JSON object a line.
    pub fn render_json(&self) -> String {
        self.diagnostics().render_json()
    }
}

struct Rendered<'a>(&'a Diagnostics);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.render(false))
    }
}
