//! A document as YAML or JSON. YAML is written so that every parser, 1.1 or 1.2, reads the same back: whatever could
//! be anything but a string is quoted.

use std::fmt::Write as _;

use crate::canonical::Document;
use crate::yaml::float_text;

/// Block style, two spaces, lists indented, as Docker Compose prints it.
pub(crate) fn yaml(document: &Document) -> String {
    let mut out = String::new();
    block(document, 0, &mut out);
    out
}

/// Two spaces, one value a line.
pub(crate) fn json(document: &Document) -> String {
    let mut out = String::new();
    json_value(document, 0, &mut out);
    out.push('\n');
    out
}

fn block(document: &Document, indent: usize, out: &mut String) {
    match document {
        Document::Map(map) if !map.is_empty() => {
            for (key, value) in map {
                let _ = write!(out, "{:indent$}{}:", "", scalar_text(key, indent));
                nested(value, indent + 2, out);
            }
        }
        Document::List(items) if !items.is_empty() => {
            for item in items {
                let _ = write!(out, "{:indent$}-", "");
                match item {
                    Document::Map(map) if !map.is_empty() => {
                        // The first key stands behind the dash.
                        let mut inner = String::new();
                        block(item, indent + 2, &mut inner);
                        let _ = write!(out, " {}", inner.trim_start());
                    }
                    _ => nested(item, indent + 2, out),
                }
            }
        }
        _ => {
            let _ = writeln!(out, "{}", flow(document, indent));
        }
    }
}

fn nested(value: &Document, indent: usize, out: &mut String) {
    match value {
        Document::Map(map) if !map.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        Document::List(items) if !items.is_empty() => {
            out.push('\n');
            block(value, indent, out);
        }
        _ => {
            let _ = writeln!(out, " {}", flow(value, indent));
        }
    }
}

fn flow(document: &Document, indent: usize) -> String {
    match document {
        Document::Null => "null".to_owned(),
        Document::Bool(value) => value.to_string(),
        Document::Int(value) => value.to_string(),
        Document::Float(value) => yaml_float(*value),
        Document::Text(text) => scalar_text(text, indent),
        Document::List(_) => "[]".to_owned(),
        Document::Map(_) => "{}".to_owned(),
    }
}

fn yaml_float(value: f64) -> String {
    match float_text(value).as_str() {
        "NaN" => ".nan".to_owned(),
        "+Inf" => ".inf".to_owned(),
        "-Inf" => "-.inf".to_owned(),
        text => text.to_owned(),
    }
}

/// Words that some version of YAML takes for null or a boolean.
const WORDS: [&str; 13] = ["", "~", "null", "true", "false", "yes", "no", "on", "off", "y", "n", "=", "<<"];

fn scalar_text(text: &str, indent: usize) -> String {
    let printable = text
        .chars()
        .all(|c| !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'));
    let lines = text.chars().all(|c| {
        c == '\n' || !c.is_control() && !matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}')
    });
    if lines && text.contains('\n') && !text.starts_with([' ', '\n', '\t']) {
        return literal(text, indent);
    }
    if !printable {
        return json_text(text);
    }
    let first = text.chars().next().unwrap_or(' ');
    let number =
        first.is_ascii_digit() || matches!(first, '+' | '-' | '.') && text.len() > 1 && numeric(text);
    let ambiguous = WORDS.contains(&text.to_ascii_lowercase().as_str())
        || (number && numeric(text))
        || text.starts_with(|c: char| " -?:,[]{}#&*!|>'\"%@`".contains(c) && !plain_dash(text))
        || text.ends_with([' ', ':'])
        || text.contains(": ")
        || text.contains(" #")
        || text == "---"
        || text == "...";
    if ambiguous { json_text(text) } else { text.to_owned() }
}

fn plain_dash(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next() == Some('-') && chars.next().is_some_and(|c| !c.is_whitespace()) && !text.starts_with("---")
}

/// Numbers, sexagesimal numbers (22:22) and dates: made of digits and a few signs.
fn numeric(text: &str) -> bool {
    let digits = |text: &str| text.chars().all(|c| c.is_ascii_hexdigit() || "+-._:xobTZeEinfNa ".contains(c));
    let special =
        matches!(text.trim_start_matches(['+', '-']).to_ascii_lowercase().as_str(), ".inf" | ".nan");
    special || (digits(text) && text.contains(|c: char| c.is_ascii_digit()) && looks_numeric(text))
}

/// Not every word of hexadecimal digits: `1000:1000`, `1.5`, `0x1f`, `1e3`, `2020-01-01` are, `3a9f` is not.
fn looks_numeric(text: &str) -> bool {
    let bare = text.trim_start_matches(['+', '-']);
    let hex =
        bare.strip_prefix("0x").is_some_and(|rest| rest.chars().all(|c| c.is_ascii_hexdigit() || c == '_'));
    hex || bare.chars().all(|c| c.is_ascii_digit() || "._:-+eETZob ".contains(c))
}

/// `|` with the chomping that gives the same text back.
fn literal(text: &str, indent: usize) -> String {
    let body = text.trim_end_matches('\n');
    let chomp = match text.len() - body.len() {
        0 => "-",
        1 => "",
        _ => "+",
    };
    let mut out = format!("|{chomp}\n");
    let lines = body.split('\n').chain(std::iter::repeat_n("", (text.len() - body.len()).saturating_sub(1)));
    let lines: Vec<String> = lines
        .map(|line| if line.is_empty() { String::new() } else { format!("{:indent$}{line}", "") })
        .collect();
    out.push_str(&lines.join("\n"));
    out
}

/// A JSON string is also a double-quoted YAML scalar.
fn json_text(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn json_value(document: &Document, indent: usize, out: &mut String) {
    match document {
        Document::Null => out.push_str("null"),
        Document::Bool(_) | Document::Int(_) => out.push_str(&flow(document, 0)),
        Document::Float(value) if value.is_finite() => out.push_str(&float_text(*value)),
        // JSON has no such number.
        Document::Float(value) => out.push_str(&json_text(&yaml_float(*value))),
        Document::Text(text) => out.push_str(&json_text(text)),
        Document::List(items) if items.is_empty() => out.push_str("[]"),
        Document::Map(map) if map.is_empty() => out.push_str("{}"),
        Document::List(items) => {
            for (index, item) in items.iter().enumerate() {
                let _ =
                    write!(out, "{}\n{:width$}", if index == 0 { "[" } else { "," }, "", width = indent + 2);
                json_value(item, indent + 2, out);
            }
            let _ = write!(out, "\n{:indent$}]", "");
        }
        Document::Map(map) => {
            for (index, (key, value)) in map.iter().enumerate() {
                let start = if index == 0 { "{" } else { "," };
                let _ = write!(out, "{start}\n{:width$}{}: ", "", json_text(key), width = indent + 2);
                json_value(value, indent + 2, out);
            }
            let _ = write!(out, "\n{:indent$}}}", "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_other_parsers_would_misread_is_quoted() {
        for text in [
            "yes",
            "On",
            "22:22",
            "2020-01-01",
            "1e3",
            "0x1f",
            "",
            "n",
            "- a",
            "a: b",
            "#",
            "1_0",
            ".5",
            "*a",
        ] {
            assert!(scalar_text(text, 0).starts_with('"'), "{text}");
        }
        for text in ["abc", "a:b", "/a", "-f", "host", "3a9f", "http://x", "a#b"] {
            assert_eq!(scalar_text(text, 0), text);
        }
    }
}
