//! What a bare scalar means: the reading of Go's yaml library, which Docker Compose uses (YAML 1.2 booleans, octal
//! numbers also as `0755`).

use super::Scalar;

/// A scalar's meaning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolved<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
}

impl Scalar {
    /// Quoted and interpolated scalars are text; bare ones are looked at.
    pub fn resolve(&self) -> Resolved<'_> {
        let text = self.text.as_str();
        if !self.plain {
            return Resolved::Text(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Resolved::Null,
            "true" | "True" | "TRUE" => Resolved::Bool(true),
            "false" | "False" | "FALSE" => Resolved::Bool(false),
            ".inf" | ".Inf" | ".INF" | "+.inf" => Resolved::Float(f64::INFINITY),
            "-.inf" | "-.Inf" | "-.INF" => Resolved::Float(f64::NEG_INFINITY),
            ".nan" | ".NaN" | ".NAN" => Resolved::Float(f64::NAN),
            _ => number(text).unwrap_or(Resolved::Text(text)),
        }
    }

    /// A number beyond [`i64`], which Go still has as an unsigned one, where [`Self::resolve`] has a float.
    pub fn unsigned(&self) -> Option<u64> {
        let digits = self.plain && self.text.bytes().all(|byte| byte.is_ascii_digit());
        if digits && !self.text.starts_with('0') && self.text.len() >= 19 {
            self.text.parse().ok()
        } else {
            None
        }
    }

    /// A point in time, which Go's library makes of some bare scalars: as it is printed. No key of Compose takes one.
    pub fn timestamp(&self) -> Option<String> {
        if self.plain && !self.interpolated { timestamp(&self.text) } else { None }
    }

    /// The scalar as the string Compose makes of it where any scalar will do: `1.50` is `1.5`, `0x10` is `16`.
    pub fn to_text(&self) -> String {
        match self.resolve() {
            Resolved::Null => String::new(),
            Resolved::Bool(value) => value.to_string(),
            Resolved::Int(value) => value.to_string(),
            Resolved::Float(value) => float_text(value),
            Resolved::Text(text) => text.to_owned(),
        }
    }
}

/// Go's layouts of `yyyy-m-d`, and of that with a time of day.
fn timestamp(text: &str) -> Option<String> {
    let Some(at) = text.find(['T', 't', ' ']) else {
        return Some(date(text)? + "T00:00:00Z");
    };
    let (time, spaced) = (&text[at + 1..], text.contains(' '));
    let (time, zone) = time.split_at(time.find(['Z', '+', '-']).unwrap_or(time.len()));
    // A `T` demands a zone, a blank forbids one.
    if spaced != zone.is_empty() {
        return None;
    }
    Some(format!("{}T{}{}", date(&text[..at])?, time_of_day(time)?, zone_of(zone)?))
}

/// A number of that many digits.
fn digits(text: &str, least: usize, most: usize) -> Option<u32> {
    let good = (least..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    good.then(|| text.parse().ok()).flatten()
}

fn date(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, '-');
    let year = digits(parts.next()?, 4, 4)?;
    let (month, day) = (digits(parts.next()?, 1, 2)?, digits(parts.next()?, 1, 2)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=days).contains(&day).then(|| format!("{year:04}-{month:02}-{day:02}"))
}

fn time_of_day(text: &str) -> Option<String> {
    let mut parts = text.splitn(3, ':');
    let (hour, minute) = (digits(parts.next()?, 1, 2)?, digits(parts.next()?, 1, 2)?);
    let second = parts.next()?;
    let (second, fraction) = match second.split_once('.') {
        Some((second, fraction)) => {
            digits(fraction, 1, 9)?;
            (second, fraction.trim_end_matches('0'))
        }
        None => (second, ""),
    };
    let second = digits(second, 1, 2)?;
    let dot = if fraction.is_empty() { "" } else { "." };
    let good = hour <= 23 && minute <= 59 && second <= 59;
    good.then(|| format!("{hour:02}:{minute:02}:{second:02}{dot}{fraction}"))
}

fn zone_of(text: &str) -> Option<&str> {
    match text.strip_prefix(['+', '-']) {
        Some(offset) => {
            let (hours, minutes) = offset.split_once(':')?;
            (digits(hours, 2, 2)? <= 24 && digits(minutes, 2, 2)? <= 60).then_some(text)
        }
        None => matches!(text, "" | "Z").then_some("Z"),
    }
}

fn number(text: &str) -> Option<Resolved<'static>> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.')) {
        return None;
    }
    let bare = text.replace('_', "");
    let (negative, digits) = match bare.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, bare.strip_prefix('+').unwrap_or(&bare)),
    };
    let radix = |digits: &str, radix| {
        // Rust would take a second sign behind the prefix.
        let digits = Some(digits).filter(|digits| !digits.starts_with(['+', '-']))?;
        let sign = if negative { "-" } else { "" };
        i64::from_str_radix(&format!("{sign}{digits}"), radix).ok()
    };
    let prefixed = |prefix: &str, base| digits.strip_prefix(prefix).and_then(|rest| radix(rest, base));
    let octal = || if digits.len() > 1 && digits.starts_with('0') { radix(digits, 8) } else { None };
    let whole = prefixed("0x", 16).or_else(|| prefixed("0o", 8)).or_else(|| prefixed("0b", 2)).or_else(octal);
    if let Some(value) = whole {
        return Some(Resolved::Int(value));
    }
    // What begins with a zero and is not octal is a float.
    if (digits.len() == 1 || !digits.starts_with('0'))
        && digits.bytes().all(|b| b.is_ascii_digit())
        && let Ok(value) = bare.parse()
    {
        return Some(Resolved::Int(value));
    }
    // Rust would also read `inf` and `nan`; YAML has its own words for them.
    if digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'+' | b'-')) {
        // What is too large for a float is none.
        return bare.parse().ok().filter(|value: &f64| value.is_finite()).map(Resolved::Float);
    }
    None
}

/// A float as Go prints it with `%v`: shortest, with an exponent below 1e-4 and from 1e6 on.
fn float_text(value: f64) -> String {
    if !value.is_finite() {
        let text = if value.is_nan() {
            "NaN"
        } else if value > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        };
        return text.to_owned();
    }
    if value != 0.0 && (value.abs() < 1e-4 || value.abs() >= 1e6) {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = match exponent.strip_prefix('-') {
            Some(rest) => ('-', rest),
            None => ('+', exponent),
        };
        return format!("{mantissa}e{sign}{digits:0>2}");
    }
    format!("{value}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_sign_in_front() {
        let bare = |text: &str| Scalar { text: text.to_owned(), plain: true, interpolated: false };
        for text in
            ["0x-a", "0x+a", "-0x-a", "-0x-8000000000000000", "0o-7", "0b+1", "0-7", "--1", "+-1", "0x", "-"]
        {
            assert_eq!(bare(text).resolve(), Resolved::Text(text));
        }
        let numbers = [
            ("0x10", 16),
            ("-0x10", -16),
            ("+0o17", 15),
            ("0755", 493),
            ("-0b11", -3),
            ("1_000", 1000),
            ("-0x8000000000000000", i64::MIN),
            ("-9223372036854775808", i64::MIN),
        ];
        for text in ["1e400", "-1e400", "1_0e309"] {
            assert_eq!(bare(text).resolve(), Resolved::Text(text));
        }
        for (text, number) in numbers {
            assert_eq!(bare(text).resolve(), Resolved::Int(number));
        }
    }
}
