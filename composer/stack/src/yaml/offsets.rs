//! Characters to bytes: the parser counts the former, everything else here the latter.

/// Every so many characters one place is remembered: a table of all would be eight times the text.
const STEP: usize = 64;

pub(super) struct Offsets<'a> {
    text: &'a str,
    /// The byte at which each [`STEP`]th character begins; `None` where the two counts are the same.
    steps: Option<Vec<usize>>,
}

impl<'a> Offsets<'a> {
    pub fn new(text: &'a str) -> Self {
        let steps = (!text.is_ascii()).then(|| text.char_indices().step_by(STEP).map(|(at, _)| at).collect());
        Self { text, steps }
    }

    /// The byte at which the character of this number begins; the text's length past its end.
    pub fn byte(&self, index: usize) -> usize {
        let Some(steps) = &self.steps else {
            return index.min(self.text.len());
        };
        let from = steps.get(index / STEP).copied().unwrap_or(self.text.len());
        let rest = self.text.get(from..).unwrap_or("");
        rest.char_indices().nth(index % STEP).map_or(self.text.len(), |(at, _)| from + at)
    }
}

#[cfg(test)]
mod tests {
    use super::Offsets;

    #[test]
    fn characters_of_any_width_are_counted() {
        for text in ["", "abc", "漢x🦀é", &"é漢a".repeat(100)] {
            let offsets = Offsets::new(text);
            let mut expected: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
            expected.extend([text.len(), text.len()]);
            for (index, at) in expected.into_iter().enumerate() {
                assert_eq!(offsets.byte(index), at, "{index} of {text}");
            }
            assert_eq!(offsets.byte(1000), text.len());
        }
    }
}
