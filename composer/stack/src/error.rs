//! Why loading failed.

use std::fmt;
use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Diagnostics, Severity, clean};

/// Why there is no stack.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The files say something wrong: every error found, and the warnings beside them.
    #[error("{}", Rendered(.0))]
    Diagnostics(Diagnostics),
    /// No file was named and none was found.
    #[error("no Compose file found: looked for {} in {} and the folders above it", names.join(", "), directory.display())]
    NotFound {
        /// Where the search began.
        directory: PathBuf,
        /// The file names looked for.
        names: Vec<String>,
    },
    /// The stack's name is not one.
    #[error("{message}")]
    Name {
        /// What is wrong with it and where it came from.
        message: String,
    },
}

impl LoadError {
    /// Every diagnostic, one below the other. `color` uses ANSI escapes.
    pub fn render(&self, color: bool) -> String {
        match self {
            Self::Diagnostics(found) => found.render(color),
            Self::NotFound { .. } | Self::Name { .. } => self.alone().render(color),
        }
    }

    /// The same for programs: one JSON object a line.
    pub fn render_json(&self) -> String {
        match self {
            Self::Diagnostics(found) => found.render_json(),
            Self::NotFound { .. } | Self::Name { .. } => self.alone().render_json(),
        }
    }

    fn alone(&self) -> Diagnostic {
        // Paths may be long, and hold anything.
        Diagnostic::without_place(Severity::Error, clean(&self.to_string(), 5000))
    }
}

struct Rendered<'a>(&'a Diagnostics);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.render(false))
    }
}
