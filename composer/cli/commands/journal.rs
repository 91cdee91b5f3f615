//! The logs of containers on standard output, each line with its container's name.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use super::context::Context;
use super::marks::Marks;
use super::sources::{Sources, Span};
use super::{Error, Result};
use crate::render::{LineStyle, Prefixes};

/// Shows logs.
pub struct Journal {
    sources: Sources,
    prefixes: Prefixes,
    marks: Option<Marks>,
    /// One line: kept for its memory.
    buffer: Vec<u8>,
}

impl Journal {
    /// Of a stack's containers; none yet.
    pub fn new(stack: &str, style: LineStyle, span: Span, follow: bool) -> Result<Self> {
        let sources = Sources::new(span, follow).map_err(reading)?;
        Ok(Self { sources, prefixes: Prefixes::new(style, stack), marks: None, buffer: Vec::new() })
    }

    /// Shows what happens to containers between their lines.
    pub fn show_marks(&mut self, marks: Marks) {
        self.marks = Some(marks);
    }

    /// Makes room for a container's name, so that the lines of those that come later line up.
    pub fn announce(&mut self, container: &str) {
        self.prefixes.add(container);
    }

    /// Adds a container; one that has no log yet is no mistake.
    pub fn add(&mut self, container: &str, folder: &Path) -> Result<()> {
        self.prefixes.add(container);
        match self.sources.add(container, folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(reading),
        }
    }

    /// Forgets a container whose log is no more.
    pub fn remove(&mut self, container: &str) {
        self.sources.remove(container);
    }

    /// Says that a container's program has ended, or that it runs again.
    pub fn set_ended(&mut self, container: &str, ended: bool) {
        self.sources.set_ended(container, ended);
    }

    /// Skips everything but the last lines of each container.
    pub fn skip_to_last(&mut self, count: usize) -> Result<()> {
        let first = self.sources.skip_to_last(count).map_err(reading)?;
        if let Some(marks) = &mut self.marks {
            marks.begin_at(first);
        }
        Ok(())
    }

    /// Prints all that was written up to a moment: what grows meanwhile is none of it, so that this comes to an end.
    pub fn show_until(&mut self, time: u64, context: &mut Context) -> Result<()> {
        while self.show_some(time, context)? {}
        Ok(())
    }

    /// Prints some of what was written up to a moment; whether there is more.
    pub fn show_some(&mut self, until: u64, context: &mut Context) -> Result<bool> {
        let Self { sources, prefixes, marks, buffer } = self;
        let out = &mut context.out;
        // Of the same moment as the lines that follow, or earlier: what is told of has been before they were read.
        if let Some(marks) = marks {
            marks.read().map_err(reading)?;
        }
        let shown = sources.drain(until, |container, line| {
            buffer.clear();
            if let Some(marks) = marks {
                marks.append(line.time, prefixes, buffer);
            }
            prefixes.line(container, line.time, &line.bytes, buffer);
            out.data(buffer).map_err(Failed::Writing)
        });
        let more = shown.map_err(|failed| match failed {
            Failed::Reading(error) => reading(error),
            Failed::Writing(error) => Error::Output(error),
        })?;
        if let Some(marks) = marks
            && !more
        {
            buffer.clear();
            marks.append(until, prefixes, buffer);
            context.out.data(buffer).map_err(Error::Output)?;
        }
        context.out.flush().map_err(Error::Output)?;
        Ok(more)
    }

    /// Prints how a container has ended, and whether it is started again.
    pub fn tell_end(
        &mut self,
        container: &str,
        code: Option<i32>,
        restarting: bool,
        starved: bool,
        context: &mut Context,
    ) -> Result<()> {
        let code = code.map_or("an unknown code".to_owned(), |code| format!("code {code}"));
        let again = if restarting { " (restarting)" } else { "" };
        self.buffer.clear();
        let why = if starved { " (out of memory)" } else { "" };
        self.prefixes.about(container, &format!("exited with {code}{why}{again}"), &mut self.buffer);
        context.out.data(&self.buffer).and_then(|()| context.out.flush()).map_err(Error::Output)
    }

    /// What wakes when a log grows; nothing where they are not followed.
    pub fn as_watch(&self) -> Option<BorrowedFd<'_>> {
        self.sources.as_watch()
    }

    /// What wakes when something has happened to a container; nothing where that is not shown.
    pub fn as_mark_watch(&self) -> Option<BorrowedFd<'_>> {
        self.marks.as_ref().map(AsFd::as_fd)
    }

    /// Takes the pending wake-ups.
    pub fn woken(&mut self) -> Result<()> {
        if let Some(marks) = &mut self.marks {
            marks.woken().map_err(reading)?;
        }
        self.sources.woken().map_err(reading)
    }
}

enum Failed {
    Reading(io::Error),
    Writing(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        Self::Reading(error)
    }
}

fn reading(error: io::Error) -> Error {
    Error::Io("read the logs".to_owned(), error)
}
