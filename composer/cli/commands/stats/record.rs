//! Recordings: a line of JSON for each look at a container or its stack (RESOURCES.md).

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use composer_stack::one_line;
use composer_supervisor::host::Figures;
use serde::{Deserialize, Serialize};

use super::row::Row;
use crate::commands::{Error, Result, doing};

/// One line of a recording.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    /// The container's name, or the stack's.
    pub name: String,
    /// The container's service; absent of the stack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    #[serde(flatten)]
    pub figures: Figures,
}

/// Appends to a recording.
pub struct Recorder {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Recorder {
    /// Opens it: one that is there goes on, without a last line that was cut short.
    pub fn open(path: &Path) -> Result<Self> {
        let failed = || doing(format!("record to {}", path.display()));
        let file = OpenOptions::new().read(true).append(true).create(true).open(path);
        let file = file.map_err(failed())?;
        if file.metadata().map_err(failed())?.is_file() {
            end_last_line(&file).map_err(failed())?;
        }
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Appends what was found by one look.
    pub fn take(&mut self, rows: &[Row]) -> Result<()> {
        let failed = || doing(format!("record to {}", self.path.display()));
        for row in rows.iter().filter(|row| row.figures.time > 0) {
            let (name, service) = (row.subject.name.clone(), row.subject.service.clone());
            let sample = Sample { name, service, figures: row.figures.clone() };
            serde_json::to_writer(&mut self.file, &sample)
                .map_err(|error| failed()(std::io::Error::from(error)))?;
            self.file.write_all(b"\n").map_err(failed())?;
        }
        self.file.flush().map_err(failed())
    }
}

/// How every line begins.
const BEGIN: &[u8] = b"{\"name\":";

/// Sees to it that what is appended begins a line. What is no part of a recording stays as it is, and is refused.
fn end_last_line(mut file: &File) -> std::io::Result<()> {
    let (length, mut last) = (file.metadata()?.len(), Vec::new());
    let mut start = length;
    while start > 0 && !last.contains(&b'\n') {
        let end = start;
        start = end.saturating_sub(4096);
        let mut block = vec![0; usize::try_from(end - start).unwrap_or_default()];
        file.read_exact_at(&mut block, start)?;
        last.splice(..0, block);
    }
    if let Some(at) = last.iter().rposition(|byte| *byte == b'\n') {
        last.drain(..=at);
    }
    let begin = &last[..last.len().min(BEGIN.len())];
    if last.is_empty() {
        Ok(())
    } else if serde_json::from_slice::<Sample>(&last).is_ok() {
        file.write_all(b"\n")
    } else if BEGIN.starts_with(begin) {
        file.set_len(length - last.len() as u64)
    } else {
        Err(std::io::Error::other("what is there is no recording of `compose stats --record`"))
    }
}

/// Reads a recording. A last line that was cut short by a crash is none of it.
pub fn read(path: &Path) -> Result<Vec<Sample>> {
    let failed = || doing(format!("read the recording {}", path.display()));
    let lines = BufReader::new(File::open(path).map_err(failed())?).lines();
    let mut samples = Vec::new();
    let mut broken: Option<(usize, serde_json::Error)> = None;
    for (number, line) in (1..).zip(lines) {
        let line = line.map_err(failed())?;
        if let Some((number, error)) = broken {
            return Err(Error::Usage(format!("{}:{number}: this is no recording: {error}", path.display())));
        }
        match serde_json::from_str::<Sample>(&line) {
            // Anybody may have written it, and it goes into a picture.
            Ok(sample) => samples.push(Sample { name: one_line(&sample.name), ..sample }),
            Err(error) => broken = Some((number, error)),
        }
    }
    if samples.is_empty() {
        let why = match broken {
            Some((_, error)) => format!("it is no recording of `compose stats --record`: {error}"),
            None => "it is empty".to_owned(),
        };
        return Err(Error::Usage(format!("cannot draw {}: {why}", path.display())));
    }
    Ok(samples)
}
