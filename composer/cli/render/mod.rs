//! The only place that prints. Data goes to standard output, everything else to standard error.

pub mod amount;
pub mod bars;
pub mod chart;
pub mod format;
pub mod graph;
pub mod lines;
mod plain;
pub mod ports;
mod prefix;
mod progress;
mod pulls;
pub mod table;
pub mod template;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};

pub use lines::FRAME;
pub use prefix::{LineStyle, Prefixes};
pub use progress::Progress;
pub use pulls::{Pulls, Step, Way};

use crate::options::Ansi;

/// Both standard streams.
pub struct Output {
    stdout: BufWriter<StdoutLock<'static>>,
    /// Whether standard output takes escapes.
    pub color: bool,
    /// Whether standard error takes escapes.
    pub color_errors: bool,
}

impl Output {
    /// Decides about colours: as told, or, left to us, where there is a terminal and the caller's NO_COLOR
    /// (no-color.org) and TERM do not speak against them.
    pub fn new(ansi: Ansi, environment: &BTreeMap<String, String>) -> Self {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let wanted = set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb");
        let decide = |terminal: bool| match ansi {
            Ansi::Never => false,
            Ansi::Always => true,
            Ansi::Auto => terminal && wanted,
        };
        Self {
            color: decide(io::stdout().is_terminal()),
            color_errors: decide(io::stderr().is_terminal()),
            stdout: BufWriter::with_capacity(1 << 16, io::stdout().lock()),
        }
    }

    /// Writes data; it is on its way after [`Output::flush`].
    pub fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stdout.write_all(bytes)
    }

    /// Writes a line of data.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(text.as_bytes())?;
        self.stdout.write_all(b"\n")
    }

    /// Sends all data on its way.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }

    /// Writes data that belongs on standard error.
    pub fn error_data(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().write_all(bytes)
    }

    /// Tells the user something on standard error.
    pub fn note(&mut self, text: &str) {
        // Where standard error is gone, there is nobody to tell.
        let _ = writeln!(io::stderr(), "{text}");
    }

    /// Tells the user of something doubtful.
    pub fn warning(&mut self, text: &str) {
        let label = if self.color_errors { "\x1b[1;33mwarning\x1b[0m" } else { "warning" };
        self.note(&format!("{label}: {}", plain::plain(text)));
    }

    /// Tells the user why a command failed.
    pub fn error(&mut self, text: &str) {
        let label = if self.color_errors { "\x1b[1;31merror\x1b[0m" } else { "error" };
        self.note(&format!("{label}: {}", plain::plain(text)));
    }
}
