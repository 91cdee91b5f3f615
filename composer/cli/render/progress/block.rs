//! The block of lines that a terminal shows while something is done: one line a container, network and volume.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};
use unicode_width::UnicodeWidthStr;

use super::super::lines::{FRAME, FRAMES, line, pad, paint};
use super::{Stage, Told};
use crate::time;

/// Lines drawn in place.
pub struct Block {
    title: &'static str,
    color: bool,
    lines: MultiProgress,
    header: ProgressBar,
    rows: Vec<Row>,
    drawn: u64,
}

struct Row {
    line: ProgressBar,
    told: Told,
    begun: u64,
    ended: Option<u64>,
}

impl Block {
    /// An empty block under a title such as `up`.
    pub fn new(title: &'static str, color: bool) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let header = lines.add(line());
        Self { title, color, lines, header, rows: Vec::new(), drawn: 0 }
    }

    /// Shows what has become of one row.
    pub fn event(&mut self, told: Told, time: u64) {
        let ended = (told.stage != Stage::Working).then_some(time);
        match self.rows.iter_mut().find(|row| row.told.id == told.id) {
            Some(row) => {
                row.ended = ended;
                // An address stays in sight while its container becomes healthy.
                let details = told.details.clone().or_else(|| row.told.details.take());
                row.told = Told { details, ..told };
            }
            None => {
                let line = self.lines.add(line());
                self.rows.push(Row { line, told, begun: time, ended });
            }
        }
        // Hundreds of events come in a moment; an eye takes in a few frames.
        if time::between(self.drawn, time::now()) >= FRAME / 2 {
            self.draw();
        }
    }

    /// Prints above the block.
    pub fn note(&mut self, text: &str) {
        // Where standard error is gone, there is nobody to tell.
        let _ = self.lines.println(text);
    }

    /// Prints something doubtful above the block.
    pub fn warning(&mut self, text: &str) {
        let label = paint("warning", "1;33", self.color);
        self.note(&format!("{label}: {text}"));
    }

    /// Draws every line anew.
    pub fn draw(&mut self) {
        let now = time::now();
        self.drawn = now;
        let frame = usize::try_from(u128::from(now) / FRAME.as_nanos() % FRAMES.len() as u128).unwrap_or(0);
        let done = self.rows.iter().filter(|row| row.told.stage == Stage::Done).count();
        self.header.set_message(format!("[+] {} {done}/{}", self.title, self.rows.len()));
        let widest =
            |cell: fn(&Row) -> &str| self.rows.iter().map(|row| cell(row).width()).max().unwrap_or(0);
        let id = widest(|row| &row.told.id);
        let text = widest(|row| &row.told.text);
        let details = widest(|row| row.told.details.as_deref().unwrap_or_default());
        for row in &self.rows {
            let seconds = time::between(row.begun, row.ended.unwrap_or(now)).as_secs_f64();
            let mark = match row.told.stage {
                Stage::Working => paint(FRAMES[frame], "36", self.color),
                Stage::Done => paint("✔", "32", self.color),
                Stage::Warning => paint("!", "33", self.color),
                Stage::Error => paint("✘", "31", self.color),
            };
            let color = match row.told.stage {
                Stage::Working => "36",
                Stage::Done => "32",
                Stage::Warning => "33",
                Stage::Error => "31",
            };
            let status = paint(&pad(&row.told.text, text), color, self.color);
            let more = pad(row.told.details.as_deref().unwrap_or_default(), details);
            let more = if details == 0 { String::new() } else { format!("  {more}") };
            row.line.set_message(format!(" {mark} {}  {status}{more}  {seconds:.1}s", pad(&row.told.id, id)));
        }
    }

    /// Leaves the lines as they are.
    pub fn finish(&mut self) {
        if self.rows.is_empty() {
            // Nothing happened: not even a title is left.
            self.header.finish_and_clear();
        } else {
            self.draw();
            // Draws the whole block, whenever it was last drawn.
            self.header.abandon();
        }
        // Rows that end now would each draw the block once more.
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
    }
}
