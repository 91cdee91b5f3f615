//! What is written through pipes is what is read, from wherever the reading begins.

use std::fs;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use composer_stack::Logging;

use super::{Line, Reader, Stream, Taken, Writer, generations};

struct Log {
    folder: PathBuf,
    writer: Writer,
    pipes: [(OwnedFd, fs::File); 2],
}

impl Log {
    fn new(name: &str) -> Self {
        Self::keeping(name, Logging::Whole)
    }

    fn keeping(name: &str, keep: Logging) -> Self {
        let folder = std::env::temp_dir().join(format!("compose-logs-{name}-{}", std::process::id()));
        let pipe = || {
            let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_NONBLOCK).unwrap();
            (read, write.into())
        };
        let writer = Writer::open(&folder, keep).unwrap();
        Self { folder, writer, pipes: [pipe(), pipe()] }
    }

    fn write(&mut self, stream: Stream, text: &str) {
        let (read, write) = &mut self.pipes[stream as usize];
        write.write_all(text.as_bytes()).unwrap();
        let mut take = || self.writer.take(stream, read.as_fd(), usize::MAX).unwrap();
        let taken = std::iter::repeat_with(&mut take).find_map(|taken| taken);
        assert_eq!(taken, Some(Taken::Drained));
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
    reading_from_anywhere(Log::new("anywhere"));
}

#[test]
fn reading_from_anywhere_agrees_with_reading_it_all_in_generations() {
    let keep = Logging::Rotated { max_size: 3000, max_file: 1000 };
    reading_from_anywhere(Log::keeping("generations", keep));
}

fn reading_from_anywhere(mut log: Log) {
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
    log.writer = Writer::open(&log.folder, Logging::Whole).unwrap();
    log.write(Stream::Stderr, "two\n");
    assert_eq!(texts(&all(&log.folder)), ["one", "moved, then killed", "moved, then killed", "two"]);
}

#[test]
fn another_run_begins_a_line_of_its_own() {
    let mut log = Log::new("runs");
    log.write(Stream::Stdout, "half");
    log.write(Stream::Stderr, "whole\n");
    log.writer = Writer::open(&log.folder, Logging::Whole).unwrap();
    log.write(Stream::Stdout, " of it");
    log.writer = Writer::open_for_run(&log.folder, Logging::Whole).unwrap();
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

fn rotated(max_size: u64, max_file: u32) -> Logging {
    Logging::Rotated { max_size, max_file }
}

#[test]
fn generations_come_and_go_and_no_line_is_cut() {
    let mut log = Log::keeping("rotate", rotated(1000, 3));
    let mut expected = Vec::new();
    for number in 0..2000 {
        let stream = Stream::ALL[number % 2];
        // Always in the midst of a line when the next comes.
        let start = if number < 2 { "" } else { " end\n" };
        log.write(stream, &format!("{start}line {number}"));
        expected.push(format!("line {number} end"));
    }
    assert_eq!(generations::list(&log.folder).unwrap().len(), 3);
    let size: u64 =
        fs::read_dir(&log.folder).unwrap().map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 3 * (1000 + 2 * 4096 + 24 * 200), "{size} bytes are kept");
    let found = texts(&all(&log.folder));
    assert!(found.len() > 100, "{found:?}");
    // The last two are not complete: they are what is left of them.
    let (whole, rest) = found.split_at(found.len() - 2);
    assert_eq!(rest, ["line 1998", "line 1999"]);
    assert_eq!(whole, &expected[2000 - 2 - whole.len()..1998]);
    let last = Reader::open(&log.folder).unwrap().last(90, false, |_| true).unwrap();
    assert_eq!(texts(&Vec::from(last)), expected[1998 - 90..1998]);
}

#[test]
fn whoever_follows_misses_nothing_though_a_single_file_is_kept() {
    let mut log = Log::keeping("followers", rotated(100, 1));
    let mut followers: Vec<(Reader, Vec<Line>)> =
        (0..20).map(|_| (Reader::open(&log.folder).unwrap(), Vec::new())).collect();
    let mut expected = Vec::new();
    for number in 0..600 {
        let line = format!("line {number} {}", "x".repeat(2000));
        log.write(Stream::ALL[number % 3 / 2], &format!("{line}\n"));
        expected.push(line);
        // Each looks now and then, some seldom.
        for (place, (reader, lines)) in followers.iter_mut().enumerate() {
            if number % (place * place + 1) == 0 {
                while reader.read(100, lines).unwrap() {}
            }
        }
    }
    // Fewer than the lines: they are larger than was asked for as long as somebody lags.
    let there = generations::list(&log.folder).unwrap().len();
    assert!((10..40).contains(&there), "{there} generations");
    for (mut reader, mut lines) in followers {
        lines.extend(rest(&mut reader));
        assert_eq!(texts(&lines), expected);
    }
    // They have gone: what was kept for them goes with the next generation.
    log.write(Stream::Stdout, &"x\n".repeat(500));
    assert_eq!(generations::list(&log.folder).unwrap().len(), 1);
}

#[test]
fn a_turn_ends_after_some_rotations_and_a_reader_that_stands_still_costs_a_bounded_number_of_files() {
    let mut log = Log::keeping("stalled", rotated(1000, 3));
    log.write(Stream::Stdout, "first\n");
    let stalled = Reader::open(&log.folder).unwrap();
    let (read, write) = &mut log.pipes[0];
    let piece = "0123456789abcde\n".repeat(1 << 12);
    let (mut turns, mut most) = (0, 0);
    for number in 0..1100 {
        write.write_all(piece.as_bytes()).unwrap();
        while log.writer.take(Stream::Stdout, read.as_fd(), usize::MAX).unwrap().is_none() {
            turns += 1;
        }
        if number % 10 == 0 {
            most = most.max(generations::list(&log.folder).unwrap().len());
        }
    }
    assert!(turns > 0, "a turn has no end");
    assert!((900..=1024).contains(&most), "{most} generations");
    drop(stalled);
    log.write(Stream::Stdout, &piece);
    assert_eq!(generations::list(&log.folder).unwrap().len(), 3);
}

#[test]
fn a_rotation_that_was_cut_off_counts_for_nothing() {
    let mut log = Log::keeping("cut", rotated(100, 5));
    log.write(Stream::Stdout, "one\ntwo\nhal");
    drop(std::mem::replace(&mut log.writer, Writer::open(&log.folder, rotated(100, 5)).unwrap()));
    fs::write(generations::stream(&log.folder, Stream::Stdout, 1), "hal").unwrap();
    fs::write(generations::index_aside(&log.folder), [7; 30]).unwrap();
    log.writer = Writer::open(&log.folder, rotated(100, 5)).unwrap();
    assert_eq!(texts(&all(&log.folder)), ["one", "two", "hal"]);
    log.write(Stream::Stdout, &format!("f\n{}\nthree\n", "x".repeat(200)));
    assert_eq!(generations::list(&log.folder).unwrap(), [0, 1]);
    assert_eq!(texts(&all(&log.folder)), ["one", "two", "half", &"x".repeat(200), "three"]);
}

#[test]
fn a_line_longer_than_a_file_is_cut_and_kept() {
    let mut log = Log::keeping("longer", rotated(1000, 1000));
    let piece = "0123456789abcdef".repeat(4);
    for _ in 0..500 {
        log.write(Stream::Stdout, &piece);
    }
    log.write(Stream::Stdout, "\n");
    assert_eq!(texts(&all(&log.folder)).concat(), piece.repeat(500));
}

#[test]
fn nothing_is_kept_where_nothing_is_wanted() {
    let mut log = Log::keeping("nothing", Logging::Nothing);
    log.write(Stream::Stdout, &"gone\n".repeat(5000));
    log.write(Stream::Stderr, "gone\n");
    assert_eq!(all(&log.folder), []);
    assert_eq!(fs::read_dir(&log.folder).unwrap().count(), 1, "more than an index is there");
}
