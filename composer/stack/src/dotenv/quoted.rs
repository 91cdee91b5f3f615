//! Values in quotes: where they end, and what their escapes stand for.

/// A value in quotes.
pub(super) struct Quoted {
    /// Without its quotes and escapes. A `$` that was escaped is `$$`, for interpolation to come.
    pub text: String,
    /// Bytes in the file, both quotes included.
    pub len: usize,
    /// For places: at which byte of `text`, which byte of the file's text, wherever the two drift apart.
    steps: Vec<(usize, usize)>,
}

impl Quoted {
    /// Where a byte of the text stands in the file, counted from the opening quote.
    pub fn origin(&self, at: usize) -> usize {
        let step = self.steps.partition_point(|&(text, _)| text <= at);
        let (text, file) =
            step.checked_sub(1).and_then(|step| self.steps.get(step)).copied().unwrap_or((0, 1));
        (file + at - text).min(self.len - 1)
    }
}

/// Reads the value that `text` begins with; `None` where its quote is never closed.
pub(super) fn read(text: &str, quote: char) -> Option<Quoted> {
    let mut out = Quoted { text: String::new(), len: 0, steps: Vec::new() };
    let mut at = quote.len_utf8();
    loop {
        let found = at + text.get(at..)?.find(['\\', quote])?;
        out.text.push_str(&text[at..found]);
        if text[found..].starts_with(quote) {
            out.len = found + quote.len_utf8();
            return Some(out);
        }
        let next = text[found + 1..].chars().next()?;
        let (value, len) = match escape(&text[found..], next, quote) {
            Some(escape) => escape,
            // Nothing that it could escape: both stay.
            None => (format!("\\{next}"), 1 + next.len_utf8()),
        };
        at = found + len;
        if value.len() == len {
            out.text.push_str(&value);
        } else {
            out.steps.push((out.text.len(), found));
            out.text.push_str(&value);
            out.steps.push((out.text.len(), at));
        }
    }
}

/// What the escape at the beginning of `text` stands for, and its length. `next` is what follows the backslash.
fn escape(text: &str, next: char, quote: char) -> Option<(String, usize)> {
    let value = match next {
        _ if next == quote => next,
        _ if quote == '\'' => return None,
        'a' => '\x07',
        'b' => '\x08',
        'f' => '\x0c',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\x0b',
        '\\' => '\\',
        '$' => return Some(("$$".to_owned(), 2)),
        '0' => return Some(octal(text)),
        _ => return None,
    };
    Some((value.to_string(), 1 + next.len_utf8()))
}

/// `\0` and three digits are a character. With fewer digits, or too large a number, Docker Compose drops the zero
/// and keeps the rest.
fn octal(text: &str) -> (String, usize) {
    let digits = text[2..].bytes().take(3).take_while(u8::is_ascii_digit).count();
    let digits = &text[2..2 + digits];
    let value = u8::from_str_radix(digits, 8).ok().filter(|_| digits.len() == 3);
    (value.map_or_else(|| format!("\\{digits}"), |value| char::from(value).to_string()), 2 + digits.len())
}
