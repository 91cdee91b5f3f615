//! Which style a string is written in. The choice is that of Go's yaml library, so that what `config` prints is Docker
//! Compose's to the letter; beyond it, whatever a reader of YAML 1.1 or 1.2 could take for anything but this very string
//! is quoted.

use std::fmt::Write;

/// How a string is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    Single,
    Double,
    /// `|`, with the lines below.
    Literal,
}

/// The style of a string; a key stands in one line.
pub(super) fn style(text: &str, is_key: bool) -> Style {
    if text.is_empty() {
        return Style::Double;
    }
    let seen = Seen::of(text);
    if seen.special {
        return Style::Double;
    }
    if text.contains('\n') {
        return if is_key || seen.bad_lines { Style::Double } else { Style::Literal };
    }
    if has_another_meaning(text) || text.contains('\t') {
        Style::Double
    } else if seen.indicators || text.starts_with(' ') || text.ends_with(' ') {
        Style::Single
    } else {
        Style::Plain
    }
}

/// What stands in a string.
#[derive(Default)]
struct Seen {
    /// Characters that have to be escaped.
    special: bool,
    /// Characters that mean something where they stand.
    indicators: bool,
    /// Lines that a literal block would not keep, or not every reader.
    bad_lines: bool,
}

impl Seen {
    fn of(text: &str) -> Self {
        let mut seen = Self {
            indicators: text.starts_with("---") || text.starts_with("..."),
            bad_lines: text.starts_with([' ', '\n', '\t']) || text.ends_with([' ', '\t']),
            ..Self::default()
        };
        let mut before = ' ';
        let mut rest = text.chars().peekable();
        let mut first = true;
        while let Some(c) = rest.next() {
            let space_behind = rest.peek().is_none_or(|next| matches!(next, ' ' | '\t' | '\n'));
            seen.special |= !is_printable(c) && c != '\t';
            seen.indicators |= match c {
                ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                    first
                }
                '#' => matches!(before, ' ' | '\t' | '\n'),
                ':' => space_behind,
                '?' | '-' => first && space_behind,
                _ => false,
            };
            seen.bad_lines |= c == '\n' && matches!(before, ' ' | '\t');
            first = false;
            before = c;
        }
        seen
    }
}

/// What may stand as it is: not what ends a line for some readers (NEL, LS, PS), nor the mark of byte order.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{fffd}')
        && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

/// Whether a bare word would be null, a boolean, a number, a date or a merge key to some reader.
fn has_another_meaning(text: &str) -> bool {
    match text.as_bytes() {
        [b'0'..=b'9' | b'+' | b'-' | b'.', ..] => is_number(text) || is_sexagesimal(text) || is_date(text),
        [b'~' | b'='] | b"<<" => true,
        [first, ..] if b"yYnNtTfFoO".contains(first) && text.len() <= 5 => matches!(
            text,
            "y" | "Y"
                | "yes"
                | "Yes"
                | "YES"
                | "n"
                | "N"
                | "no"
                | "No"
                | "NO"
                | "true"
                | "True"
                | "TRUE"
                | "false"
                | "False"
                | "FALSE"
                | "on"
                | "On"
                | "ON"
                | "off"
                | "Off"
                | "OFF"
                | "null"
                | "Null"
                | "NULL"
        ),
        _ => false,
    }
}

/// Decimal, hexadecimal, octal and binary numbers with `_` anywhere, floats, infinity and its like.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(digits, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let all = |rest: &str, digit: fn(&u8) -> bool| {
        rest.bytes().any(|byte| digit(&byte)) && rest.bytes().all(|byte| digit(&byte) || byte == b'_')
    };
    let prefixed = |prefixes: [&str; 2], digit: fn(&u8) -> bool| {
        prefixes.iter().any(|prefix| digits.strip_prefix(prefix).is_some_and(|rest| all(rest, digit)))
    };
    if prefixed(["0x", "0X"], u8::is_ascii_hexdigit)
        || prefixed(["0o", "0O"], |byte| (b'0'..b'8').contains(byte))
        || prefixed(["0b", "0B"], |byte| matches!(byte, b'0' | b'1'))
    {
        return true;
    }
    let (mantissa, exponent) = match digits.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (digits, None),
    };
    let exponent = exponent.map(|exponent| exponent.strip_prefix(['+', '-']).unwrap_or(exponent));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let part = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    (part(whole) && part(fraction))
        && mantissa.bytes().any(|byte| byte.is_ascii_digit())
        && exponent.is_none_or(|exponent| all(exponent, u8::is_ascii_digit))
}

/// `22:22`, which YAML 1.1 counts in sixties.
fn is_sexagesimal(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut parts = digits.split(':');
    let first = parts.next().unwrap_or("");
    let rest: Vec<&str> = parts.collect();
    let Some((last, middle)) = rest.split_last() else {
        return false;
    };
    let sixtieth = |part: &str| match part.as_bytes() {
        [unit] => unit.is_ascii_digit(),
        [ten, unit] => (b'0'..b'6').contains(ten) && unit.is_ascii_digit(),
        _ => false,
    };
    let spaced = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let (whole, fraction) = last.split_once('.').unwrap_or((last, ""));
    first.starts_with(|c: char| c.is_ascii_digit())
        && spaced(first)
        && middle.iter().all(|part| sixtieth(part))
        && sixtieth(whole)
        && spaced(fraction)
}

/// `2001-12-14`, also with a time.
fn is_date(text: &str) -> bool {
    let mut parts = text.splitn(3, '-');
    let short = |part: &str| (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let (Some(year), Some(month), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let day = rest.split(['T', 't', ' ', '\t']).next().unwrap_or(rest);
    year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()) && short(month) && short(day)
}

/// Writes a string in a style that stands in one line.
pub(super) fn write(out: &mut String, text: &str, style: Style) {
    match style {
        Style::Plain | Style::Literal => out.push_str(text),
        Style::Single => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
        Style::Double => double(out, text),
    }
}

fn double(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        let short = match c {
            '"' => '"',
            '\\' => '\\',
            '\0' => '0',
            '\u{7}' => 'a',
            '\u{8}' => 'b',
            '\t' => 't',
            '\n' => 'n',
            '\u{b}' => 'v',
            '\u{c}' => 'f',
            '\r' => 'r',
            '\u{1b}' => 'e',
            '\u{85}' => 'N',
            '\u{2028}' => 'L',
            '\u{2029}' => 'P',
            c if is_printable(c) => {
                out.push(c);
                continue;
            }
            c => {
                let code = u32::from(c);
                // Writing to a string does not fail.
                let _ = match code {
                    0..=0xff => write!(out, "\\x{code:02X}"),
                    0x100..=0xffff => write!(out, "\\u{code:04X}"),
                    _ => write!(out, "\\U{code:08X}"),
                };
                continue;
            }
        };
        out.push('\\');
        out.push(short);
    }
    out.push('"');
}

/// A float as Go writes it, but so that readers of YAML 1.1 see that it is one.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return ".nan".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e21) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let mantissa = if mantissa.contains('.') { mantissa.to_owned() } else { format!("{mantissa}.0") };
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(digits) => ('-', digits),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}
