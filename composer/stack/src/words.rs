//! Splits a command line into words as a shell would (`command: echo "a b"`): quotes and backslashes, nothing else.

/// The words of `text`; `None` where a quote is never closed or a backslash ends it.
pub(crate) fn split(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            ' ' | '\t' | '\r' | '\n' => words.extend(word.take()),
            '\'' => {
                let into = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '\'' => break,
                        other => into.push(other),
                    }
                }
            }
            '"' => {
                let into = word.get_or_insert_default();
                loop {
                    match chars.next()? {
                        '"' => break,
                        '\\' => match chars.next()? {
                            escaped @ ('"' | '\\' | '$' | '`') => into.push(escaped),
                            other => into.extend(['\\', other]),
                        },
                        other => into.push(other),
                    }
                }
            }
            '\\' => word.get_or_insert_default().push(chars.next()?),
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(
            split(r#"echo "a b" 'c "d' e\ f "" g"h"i"#).unwrap(),
            ["echo", "a b", "c \"d", "e f", "", "ghi"]
        );
        assert_eq!(split("  ").unwrap(), [""; 0]);
        assert_eq!(split(r#""a\"b\n""#).unwrap(), [r#"a"b\n"#]);
        assert!(split("a 'b").is_none() && split("a \"b").is_none() && split("a\\").is_none());
    }
}
