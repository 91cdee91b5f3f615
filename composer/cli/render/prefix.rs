//! Log lines with the name of their container before them, in Docker Compose's colours and widths.

use std::collections::BTreeMap;

use unicode_width::UnicodeWidthStr;

use crate::time;

/// The colours of prefixes, one container after the other (Compose's `rainbow`).
const COLORS: [&str; 10] = ["36", "33", "32", "35", "34", "36;1", "33;1", "32;1", "35;1", "34;1"];

/// How log lines look.
#[derive(Clone, Copy, Debug)]
pub struct LineStyle {
    /// Prefixes in colour.
    pub color: bool,
    /// Names before lines.
    pub prefix: bool,
    /// Times before lines.
    pub timestamps: bool,
}

/// The names of containers as they stand before their lines.
#[derive(Debug)]
pub struct Prefixes {
    style: LineStyle,
    project: String,
    /// Label and colour by the container's name.
    known: BTreeMap<String, (String, &'static str)>,
    width: usize,
}

impl Prefixes {
    /// For containers of this project.
    pub fn new(style: LineStyle, project: &str) -> Self {
        Self { style, project: format!("{project}-"), known: BTreeMap::new(), width: 0 }
    }

    /// Makes room for a container's name and gives it the next colour.
    pub fn add(&mut self, container: &str) {
        if self.known.contains_key(container) {
            return;
        }
        let label = container.strip_prefix(&self.project).unwrap_or(container).to_owned();
        self.width = self.width.max(label.width());
        let color = COLORS[self.known.len() % COLORS.len()];
        self.known.insert(container.to_owned(), (label, color));
    }

    /// Appends a line of a container's log.
    pub fn line(&self, container: &str, time: u64, bytes: &[u8], out: &mut Vec<u8>) {
        if self.style.prefix {
            let (label, color) = self.label(container);
            let padding = " ".repeat(self.width.saturating_sub(label.width()) + 1);
            self.paint(&format!("{label}{padding} | "), color, out);
        }
        if self.style.timestamps {
            out.extend_from_slice(time::rfc3339(time).as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(bytes);
        out.push(b'\n');
    }

    /// Appends a line about a container: `api-1 exited with code 0`.
    pub fn about(&self, container: &str, text: &str, out: &mut Vec<u8>) {
        let (label, color) = self.label(container);
        self.paint(&format!("{label} {text}"), color, out);
        out.push(b'\n');
    }

    fn label<'a>(&'a self, container: &'a str) -> (&'a str, &'static str) {
        self.known.get(container).map_or((container, COLORS[0]), |(label, color)| (label, color))
    }

    fn paint(&self, text: &str, color: &str, out: &mut Vec<u8>) {
        let painted = if self.style.color { format!("\x1b[{color}m{text}\x1b[0m") } else { text.to_owned() };
        out.extend_from_slice(painted.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefixes(color: bool, timestamps: bool) -> Prefixes {
        let mut prefixes = Prefixes::new(LineStyle { color, prefix: true, timestamps }, "shop");
        for name in ["shop-api-1", "shop-store-1", "named"] {
            prefixes.add(name);
        }
        prefixes
    }

    fn shown(prefixes: &Prefixes, container: &str) -> String {
        let mut out = Vec::new();
        prefixes.line(container, 0, b"hello", &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_padded_to_the_longest() {
        let prefixes = prefixes(false, false);
        assert_eq!(shown(&prefixes, "shop-api-1"), "api-1    | hello\n");
        assert_eq!(shown(&prefixes, "shop-store-1"), "store-1  | hello\n");
        assert_eq!(shown(&prefixes, "named"), "named    | hello\n");
    }

    #[test]
    fn colours_go_by_order() {
        let prefixes = prefixes(true, false);
        assert_eq!(shown(&prefixes, "shop-api-1"), "\x1b[36mapi-1    | \x1b[0mhello\n");
        assert_eq!(shown(&prefixes, "shop-store-1"), "\x1b[33mstore-1  | \x1b[0mhello\n");
        let mut out = Vec::new();
        prefixes.about("named", "exited with code 0", &mut out);
        assert_eq!(out, b"\x1b[32mnamed exited with code 0\x1b[0m\n");
    }

    #[test]
    fn times_stand_between_name_and_line() {
        assert_eq!(
            shown(&prefixes(false, true), "named"),
            "named    | 1970-01-01T00:00:00.000000000Z hello\n"
        );
    }
}
