//! Tables in Docker's shape: columns of at least ten places, three between them.

use unicode_width::UnicodeWidthStr;

const LEAST: usize = 10;
const GAP: usize = 3;

/// The least width of the columns of what Docker Compose lists without an engine.
const LEAST_WIDE: usize = 20;

/// The table as text; every row has as many cells as the header.
pub fn render(header: &[&str], rows: &[Vec<String>]) -> String {
    columns(header, rows, LEAST)
}

/// The same with columns of at least twenty places.
pub fn render_wide(header: &[&str], rows: &[Vec<String>]) -> String {
    columns(header, rows, LEAST_WIDE)
}

/// The same as text/tabwriter makes it of columns of at least four places, two between them.
pub fn render_narrow(header: &[&str], rows: &[Vec<String>]) -> String {
    spaced(header, rows, 4, 2)
}

fn columns(header: &[&str], rows: &[Vec<String>], least: usize) -> String {
    spaced(header, rows, least, GAP)
}

/// Lines of cells with tabs between them, in columns: Docker's tables of templates.
pub fn tabbed(text: &str) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    aligned(&lines, LEAST, GAP)
}

fn spaced(header: &[&str], rows: &[Vec<String>], least: usize, gap: usize) -> String {
    let rows = rows.iter().map(|row| row.iter().map(String::as_str).collect());
    let lines: Vec<Vec<&str>> = std::iter::once(header.to_vec()).chain(rows).collect();
    aligned(&lines, least, gap)
}

fn aligned(lines: &[Vec<&str>], least: usize, gap: usize) -> String {
    let mut widths: Vec<usize> = Vec::new();
    for cells in lines {
        widths.resize(widths.len().max(cells.len()), 0);
        // A line's last cell needs no room: nothing is after it.
        let last = cells.len().saturating_sub(1);
        for (width, cell) in widths.iter_mut().zip(&cells[..last]) {
            *width = (*width).max(cell.width());
        }
    }
    let mut text = String::new();
    for cells in lines {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(cells) {
            line.push_str(cell);
            let room = (width + gap).max(least);
            line.push_str(&" ".repeat(room.saturating_sub(cell.width())));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Shortens text to at most `most` characters, the last being an ellipsis where something was cut.
pub fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// The same, cut in the middle: what tells names apart is at their ends.
pub fn shorten_middle(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let (kept, head) = (most.saturating_sub(1), most / 2);
    let tail = text.chars().skip(count - (kept - head.min(kept)));
    text.chars().take(head.min(kept)).chain(['…']).chain(tail).take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["shop-api-1".to_owned(), "host".to_owned(), String::new()]];
        assert_eq!(render(&["NAME", "IMAGE", "X"], &rows), "NAME         IMAGE     X\nshop-api-1   host\n");
        assert_eq!(render(&["NAME", "IMAGE"], &[]), "NAME      IMAGE\n");
    }

    #[test]
    fn lines_of_a_template_are_columns_as_far_as_they_have_tabs() {
        let text = "NAME\tPORTS\tX\nweb-of-long-name\t\ty\na line without\n\nb\t80\n";
        let shown = "NAME               PORTS     X\nweb-of-long-name             y\na line without\n\nb                  80\n";
        assert_eq!(tabbed(text), shown);
    }

    #[test]
    fn wide_characters_count_twice() {
        let rows = vec![vec!["日本日本日".to_owned(), "x".to_owned()]];
        assert_eq!(render(&["A", "B"], &rows), "A            B\n日本日本日   x\n");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!(shorten("short", 20), "short");
        assert_eq!(shorten("abcdef", 4), "abc…");
    }
}
