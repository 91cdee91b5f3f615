//! Why loading failed.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::diagnostic::{Diagnostic, Severity};

/// Why there is no stack.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The files say something wrong: every error found, and the warnings beside them.
    #[error("{}", Rendered(.0))]
    Diagnostics(Vec<Diagnostic>),
    /// No file was named and none was found.
    #[error("no Compose file found: looked for {} in {} and the folders above it", names.join(", "), directory.display())]
    NotFound {
        /// Where the search began.
        directory: PathBuf,
        /// The file names looked for.
        names: Vec<String>,
    },
    /// A file that was named cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
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
            Self::Diagnostics(found) => render_all(found, color),
            Self::NotFound { .. } | Self::Io { .. } | Self::Name { .. } => format!("error: {self}"),
        }
    }
}

fn render_all(found: &[Diagnostic], color: bool) -> String {
    let mut parts: Vec<String> = found.iter().map(|diagnostic| diagnostic.render(color)).collect();
    let errors = found.iter().filter(|d| d.severity == Severity::Error).count();
    if errors > 1 {
        parts.push(format!("{errors} errors"));
    }
    parts.join("\n\n")
}

struct Rendered<'a>(&'a [Diagnostic]);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&render_all(self.0, false))
    }
}
