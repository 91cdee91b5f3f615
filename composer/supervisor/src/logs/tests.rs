//! What is written through pipes is what is read, from wherever the reading begins.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{Line, Reader, Stream, Taken, Writer};

struct Log {
    folder: PathBuf,
    writer: Writer,
    pipes: [(OwnedFd, fs::File); 2],
}

impl Log {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("compose-logs-{name}-{}", std::process::id()));
        let pipe = || {
            let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
            (read, write.into())
        };
        let writer = Writer::open(&folder).unwrap();
        Self { folder, writer, pipes: [pipe(), pipe()] }
    }

    fn write(&mut self, stream: Stream, text: &str) {
        let (read, write) = &mut self.pipes[stream as usize];
        write.write_all(text.as_bytes()).unwrap();
        assert_eq!(self.writer.take(stream, read.as_fd(), usize::MAX).unwrap(), Some(Taken::Drained));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn rest(reader: &mut Reader) -> Vec<Line> {
    let mut lines = Vec::new();
    while reader.read(7, &mut lines).unwrap() {}
    lines.extend(reader.unfinished());
    lines
}

fn all(folder: &Path) -> Vec<Line> {
    rest(&mut Reader::open(folder).unwrap())
}

fn texts(lines: &[Line]) -> Vec<String> {
    lines.iter().map(|line| String::from_utf8_lossy(&line.bytes).into_owned()).collect()
}

#[test]
fn reading_from_anywhere_agrees_with_reading_it_all() {
    let mut log = Log::new("anywhere");
    // Pieces that end inside lines, and lines of several pieces, in an order that is always the same.
    let mut seed: u32 = 7;
    let mut dice = |sides: u32| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 16) % sides
    };
    for number in 0..4000 {
        let stream = Stream::ALL[dice(4) as usize / 3];
        let fill = "x".repeat(dice(60) as usize);
        let end = if dice(3) == 0 { "" } else { "\n" };
        log.write(stream, &format!("{number}\n{number}{fill}{end}"));
    }
    let whole = all(&log.folder);
    for count in [0, 1, 2, 3, 100, 3000, whole.len(), whole.len() + 5] {
        let mut reader = Reader::open(&log.folder).unwrap();
        let last: Vec<Line> = reader.last(count, true, |_| true).unwrap().into();
        assert_eq!(last, whole[whole.len().saturating_sub(count)..], "last {count}");
        assert!(rest(&mut reader).is_empty());
    }
    for from in [0, 1, 17, whole.len() / 2, whole.len() - 1] {
        let since = whole[from].time;
        let mut reader = Reader::open(&log.folder).unwrap();
        reader.seek(since).unwrap();
        let is_late = |line: &&Line| line.time >= since;
        let found: Vec<Line> = rest(&mut reader).iter().filter(is_late).cloned().collect();
        let wanted: Vec<Line> = whole.iter().filter(is_late).cloned().collect();
        assert_eq!(found, wanted, "since line {from}");
    }
}

#[test]
fn what_nobody_indexed_is_found_again() {
    let mut log = Log::new("found");
    log.write(Stream::Stdout, "one\n");
    for stream in Stream::ALL {
        let mut file =
            fs::OpenOptions::new().create(true).append(true).open(log.folder.join(stream.file())).unwrap();
        writeln!(file, "moved, then killed").unwrap();
    }
    // A record that was cut short.
    let index = fs::OpenOptions::new().append(true).open(log.folder.join("log.index")).unwrap();
    (&index).write_all(&[1, 2, 3]).unwrap();
    log.writer = Writer::open(&log.folder).unwrap();
    log.write(Stream::Stderr, "two\n");
    assert_eq!(texts(&all(&log.folder)), ["one", "moved, then killed", "moved, then killed", "two"]);
}

#[test]
fn another_run_begins_a_line_of_its_own() {
    let mut log = Log::new("runs");
    log.write(Stream::Stdout, "half");
    log.write(Stream::Stderr, "whole\n");
    log.writer = Writer::open(&log.folder).unwrap();
    log.write(Stream::Stdout, " of it");
    log.writer = Writer::open_for_run(&log.folder).unwrap();
    log.write(Stream::Stdout, "new\n");
    assert_eq!(texts(&all(&log.folder)), ["whole", "half of it", "new"]);
}

#[test]
fn a_line_of_many_pieces_is_found_from_its_end() {
    let mut log = Log::new("long");
    log.write(Stream::Stderr, "first\n");
    let piece = "0123456789abcde|".repeat(1 << 11);
    for _ in 0..40 {
        log.write(Stream::Stdout, &piece);
    }
    let mut reader = Reader::open(&log.folder).unwrap();
    let last = reader.last(1, true, |_| true).unwrap();
    assert!(last.len() == 1 && last[0].bytes == piece.repeat(40).into_bytes());
    let mut reader = Reader::open(&log.folder).unwrap();
    assert_eq!(reader.last(2, true, |_| true).unwrap()[0].bytes, b"first");
}
