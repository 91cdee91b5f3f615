//! Pulls on a terminal: a line for each image, and below it a bar for each layer until the image is there.

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget};

use super::super::amount::decimal;
use super::super::lines::{FRAME, FRAMES, line, pad, paint};
use super::{Image, Layer, Step};
use crate::time;

/// How wide a bar is.
const WIDTH: u64 = 30;
/// How wide a layer's words are, `Already exists` being the longest.
const WORDS: usize = 14;

/// Lines drawn in place.
pub(super) struct Bars {
    title: &'static str,
    color: bool,
    lines: MultiProgress,
    header: ProgressBar,
    rows: Vec<Row>,
}

/// An image's lines.
struct Row {
    place: usize,
    line: ProgressBar,
    layers: Vec<ProgressBar>,
    end: Option<End>,
}

/// How it has ended.
struct End {
    mark: &'static str,
    color: &'static str,
    text: &'static str,
    more: String,
}

impl Bars {
    pub(super) fn new(title: &'static str, color: bool) -> Self {
        let lines = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let header = lines.add(line());
        Self { title, color, lines, header, rows: Vec::new() }
    }

    /// Makes the lines that a step brings, and takes those away that it ends.
    pub(super) fn step(&mut self, place: usize, image: &Image, step: &Step) {
        let end = |mark, color, text, more| Some(End { mark, color, text, more });
        let row = match self.rows.iter().position(|row| row.place == place) {
            Some(at) => &mut self.rows[at],
            None => {
                let line = self.lines.add(line());
                self.rows.push(Row { place, line, layers: Vec::new(), end: None });
                let last = self.rows.len() - 1;
                &mut self.rows[last]
            }
        };
        match step {
            Step::Layers(layers) => {
                let mut above = row.line.clone();
                for _ in layers {
                    above = self.lines.insert_after(&above, line());
                    row.layers.push(above.clone());
                }
            }
            Step::Pulled => row.end = end("✔", "32", "Pulled", image.summary()),
            Step::Skipped(why) => row.end = end("✔", "32", "Skipped", why.clone()),
            Step::Failed(_) => row.end = end("✘", "31", "Error", String::new()),
            Step::Asked | Step::Waiting(_) | Step::Advanced(..) | Step::Retrying(..) | Step::Done(_) => {}
        }
        if row.end.is_some() {
            row.layers.drain(..).for_each(|layer| {
                layer.finish_and_clear();
                self.lines.remove(&layer);
            });
        }
    }

    pub(super) fn draw(&self, images: &[Image]) {
        let ended = self.rows.iter().filter(|row| row.end.is_some()).count();
        self.header.set_message(format!("[+] {} {ended}/{}", self.title, self.rows.len()));
        let now = time::now();
        let frame = usize::try_from(u128::from(now) / FRAME.as_nanos() % FRAMES.len() as u128).unwrap_or(0);
        let widest = images.iter().map(|image| image.name.chars().count()).max().unwrap_or(0);
        for row in &self.rows {
            let Some(image) = images.get(row.place) else { continue };
            let name = pad(&image.name, widest);
            let text = match &row.end {
                Some(end) => {
                    let (mark, text) = (self.paint(end.mark, end.color), self.paint(end.text, end.color));
                    format!(" {mark} {name}  {text}  {}", end.more)
                }
                None => {
                    let (mark, text) = (self.paint(FRAMES[frame], "36"), self.paint("Pulling", "36"));
                    let seconds = time::between(image.begun, now).as_secs_f64();
                    format!(" {mark} {name}  {text}{}  {seconds:.1}s", amounts(image.total()))
                }
            };
            row.line.set_message(text);
            for (line, layer) in row.layers.iter().zip(&image.layers) {
                line.set_message(self.layer(layer));
            }
        }
    }

    fn layer(&self, layer: &Layer) -> String {
        let is_there = layer.was_here || layer.text == "Pull complete";
        let text = self.paint(&pad(layer.text, WORDS), if is_there { "32" } else { "36" });
        if is_there || layer.come == 0 {
            return format!("   {}  {text}", layer.name);
        }
        let full = (layer.come * WIDTH).checked_div(layer.size).unwrap_or(WIDTH).min(WIDTH);
        let full = usize::try_from(full).unwrap_or(0);
        let rest = usize::try_from(WIDTH).unwrap_or(0) - full;
        let bar = format!("{}{}", self.paint(&"━".repeat(full), "36"), "─".repeat(rest));
        format!("   {}  {text}  {bar}{}", layer.name, amounts((layer.come, layer.size)))
    }

    fn paint(&self, text: &str, color: &str) -> String {
        paint(text, color, self.color)
    }

    pub(super) fn finish(&self, images: &[Image]) {
        if self.rows.is_empty() {
            self.header.finish_and_clear();
        } else {
            self.draw(images);
            // Draws the whole block, whenever it was last drawn.
            self.header.abandon();
        }
        // Rows that end now would each draw the block once more.
        self.lines.set_draw_target(ProgressDrawTarget::hidden());
    }
}

fn amounts((come, size): (u64, u64)) -> String {
    if size == 0 { String::new() } else { format!("  {} / {}", decimal(come), decimal(size)) }
}
