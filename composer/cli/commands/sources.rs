//! The logs of some containers as one sequence of lines in the order of their times.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use composer_supervisor::logs::{Line, Reader, Watch};

/// How many bytes of a log are read at once.
const PIECE: usize = 1 << 20;
/// How many bytes are handed out at once: a service that writes without end must not keep others from being heard.
const TURN: usize = 4 << 20;

/// Which lines are wanted, by their times.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// From this moment on.
    pub since: u64,
    /// Up to this moment.
    pub until: u64,
}

impl Span {
    /// All lines.
    pub const ALL: Self = Self { since: 0, until: u64::MAX };

    fn has(self, line: &Line) -> bool {
        (self.since..=self.until).contains(&line.time)
    }
}

/// Logs of containers, by the containers' names.
pub struct Sources {
    span: Span,
    watch: Option<Watch>,
    logs: BTreeMap<String, Log>,
}

struct Log {
    reader: Reader,
    ahead: VecDeque<Line>,
    /// Whether its container has ended, so that a last line without a newline is complete.
    ended: bool,
    /// Whether it has come to lines beyond the wanted ones.
    past: bool,
}

impl Sources {
    /// None yet. Where they are to be followed, [`Sources::as_watch`] wakes when one grows.
    pub fn new(span: Span, follow: bool) -> io::Result<Self> {
        let watch = if follow { Some(Watch::new()?) } else { None };
        Ok(Self { span, watch, logs: BTreeMap::new() })
    }

    /// Adds a container's log; nothing where it is there already.
    pub fn add(&mut self, container: &str, folder: &Path) -> io::Result<()> {
        if self.logs.contains_key(container) {
            return Ok(());
        }
        if let Some(watch) = &mut self.watch {
            watch.add(folder)?;
        }
        let mut reader = Reader::open(folder)?;
        if self.span.since > 0 {
            reader.seek(self.span.since)?;
        }
        let log = Log { reader, ahead: VecDeque::new(), ended: false, past: false };
        self.logs.insert(container.to_owned(), log);
        Ok(())
    }

    /// Forgets a container whose log is no more.
    pub fn remove(&mut self, container: &str) {
        self.logs.remove(container);
    }

    /// Says that a container's program has ended and its log is complete, or that it runs again.
    pub fn set_ended(&mut self, container: &str, ended: bool) {
        if let Some(log) = self.logs.get_mut(container) {
            log.ended = ended;
        }
    }

    /// Skips everything but the last lines of each log; the time of the first that is left, the end of time where none is.
    pub fn skip_to_last(&mut self, count: usize) -> io::Result<u64> {
        let mut first = u64::MAX;
        for log in self.logs.values_mut() {
            log.ahead = log.reader.last(count, log.ended, |line| self.span.has(line))?;
            first = first.min(log.ahead.front().map_or(u64::MAX, |line| line.time));
        }
        Ok(first)
    }

    /// Hands out lines that are there, up to a moment, in the order of their times; whether there are more.
    pub fn drain<E: From<io::Error>>(
        &mut self,
        until: u64,
        mut each: impl FnMut(&str, &Line) -> Result<(), E>,
    ) -> Result<bool, E> {
        let span = self.span;
        let mut left = TURN;
        let mut logs: Vec<(&String, &mut Log)> = self.logs.iter_mut().collect();
        let mut next = BinaryHeap::new();
        for (place, (_, log)) in logs.iter_mut().enumerate() {
            if let Some(time) = log.peek(span)? {
                next.push(Reverse((time, place)));
            }
        }
        while let Some(Reverse((time, place))) = next.pop() {
            if time > until {
                break;
            }
            let Some((name, log)) = logs.get_mut(place) else {
                continue;
            };
            if let Some(line) = log.ahead.pop_front() {
                left = left.saturating_sub(line.bytes.len() + 1);
                each(name, &line)?;
            }
            if left == 0 {
                return Ok(true);
            }
            if let Some(time) = log.peek(span)? {
                next.push(Reverse((time, place)));
            }
        }
        Ok(false)
    }

    /// What wakes when a log grows; nothing where they are not followed.
    pub fn as_watch(&self) -> Option<BorrowedFd<'_>> {
        self.watch.as_ref().map(AsFd::as_fd)
    }

    /// Takes the pending wake-ups.
    pub fn woken(&mut self) -> io::Result<()> {
        self.watch.as_mut().map_or(Ok(()), Watch::drain)
    }
}

impl Log {
    fn peek(&mut self, span: Span) -> io::Result<Option<u64>> {
        while self.ahead.is_empty() && !self.past {
            let mut lines = Vec::new();
            let more = self.reader.read(PIECE, &mut lines)?;
            if !more && self.ended {
                lines.extend(self.reader.unfinished());
            }
            // What a log that grows has from here on is later still.
            self.past = lines.last().is_some_and(|line| line.time > span.until);
            self.ahead.extend(lines.into_iter().filter(|line| span.has(line)));
            if !more {
                break;
            }
        }
        Ok(self.ahead.front().map(|line| line.time))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// A log as the supervisor writes it: bytes in `stdout`, and for each piece its time and the file's length.
    fn log(name: &str, pieces: &[(u64, &str)]) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("compose-sources-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (mut text, mut index) = (String::new(), Vec::new());
        for (time, piece) in pieces {
            text.push_str(piece);
            index.extend(time.to_le_bytes());
            index.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
            index.extend(0u64.to_le_bytes());
        }
        fs::write(folder.join("log.stdout"), text).unwrap();
        fs::write(folder.join("log.index"), index).unwrap();
        folder
    }

    fn lines(sources: &mut Sources) -> Vec<String> {
        let mut found = Vec::new();
        let each = |name: &str, line: &Line| {
            found.push(format!("{name} {} {}", line.time, String::from_utf8_lossy(&line.bytes)));
            Ok::<(), io::Error>(())
        };
        assert!(!sources.drain(u64::MAX, each).unwrap());
        found
    }

    #[test]
    fn lines_of_several_logs_come_by_time() {
        let (a, b) = (log("a", &[(1, "one\n"), (5, "five\n")]), log("b", &[(2, "two\n"), (9, "rest")]));
        let mut sources = Sources::new(Span::ALL, true).unwrap();
        sources.add("a", &a).unwrap();
        sources.add("b", &b).unwrap();
        assert_eq!(lines(&mut sources), ["a 1 one", "b 2 two", "a 5 five"]);
        sources.set_ended("b", true);
        assert_eq!(lines(&mut sources), ["b 9 rest"]);
        assert!(lines(&mut sources).is_empty());
        for folder in [a, b] {
            fs::remove_dir_all(folder).unwrap();
        }
    }

    #[test]
    fn lines_are_chosen_by_time_and_from_the_end() {
        let folder = log("c", &[(1, "one\n"), (2, "two\n"), (3, "three\n"), (4, "four\n")]);
        let mut sources = Sources::new(Span { since: 2, until: 3 }, false).unwrap();
        sources.add("c", &folder).unwrap();
        sources.skip_to_last(1).unwrap();
        assert_eq!(lines(&mut sources), ["c 3 three"]);
        let mut sources = Sources::new(Span::ALL, false).unwrap();
        sources.add("c", &folder).unwrap();
        sources.skip_to_last(0).unwrap();
        assert!(lines(&mut sources).is_empty());
        fs::remove_dir_all(folder).unwrap();
    }
}
