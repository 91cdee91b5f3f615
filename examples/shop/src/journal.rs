//! The store's memory: a file of JSON lines, each a change, replayed at the start.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::Value;

use crate::Result;

/// A change.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "do", rename_all = "lowercase")]
pub enum Change {
    /// The store was started.
    Run,
    /// A key has a value.
    Set {
        /// The key.
        key: String,
        /// The value.
        value: Value,
    },
    /// Something was put at the end of a queue.
    Push {
        /// The queue.
        queue: String,
        /// What.
        value: Value,
    },
    /// The first of a queue has been dealt with.
    Done {
        /// The queue.
        queue: String,
        /// What.
        value: Value,
    },
}

/// The file, open at its end.
pub struct Journal {
    file: File,
}

impl Journal {
    /// Opens the file, made where it is missing, and the changes in it.
    ///
    /// A last line without its end was being written when the power went: it never took effect and is cut off.
    ///
    /// # Errors
    /// When it cannot be read, or a line before the last is damaged.
    pub fn open(path: &Path) -> Result<(Self, Vec<Change>)> {
        let mut file = OpenOptions::new().create(true).read(true).write(true).truncate(false).open(path)?;
        let text = std::fs::read(path)?;
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        let mut changes = Vec::new();
        for (number, line) in
            text[..whole].split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
        {
            let change = serde_json::from_slice(line);
            changes.push(change.map_err(|error| format!("{}:{}: {error}", path.display(), number + 1))?);
        }
        file.set_len(whole as u64)?;
        file.seek(SeekFrom::End(0))?;
        Ok((Self { file }, changes))
    }

    /// Writes a change down for good.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, change: &Change) -> Result<()> {
        let mut line = serde_json::to_vec(change)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        Ok(self.file.sync_data()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("shop-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_writing_goes_on() {
        let path = file("torn", "{\"do\":\"run\"}\n{\"do\":\"set\",\"key\":\"a\",\"val");
        let (mut journal, changes) = Journal::open(&path).unwrap();
        assert_eq!(changes, [Change::Run]);
        journal.write(&Change::Run).unwrap();
        assert_eq!(Journal::open(&path).unwrap().1, [Change::Run, Change::Run]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn damage_before_the_end_is_refused_by_its_line() {
        let path = file("damaged", "{\"do\":\"run\"}\nnonsense\n{\"do\":\"run\"}\n");
        let error = Journal::open(&path).err().unwrap().to_string();
        assert!(error.contains(":2: "), "{error}");
        std::fs::remove_file(path).unwrap();
    }
}
