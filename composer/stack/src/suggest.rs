//! "Did you mean": the known word that is nearest to a mistyped one.

/// The nearest of `known` that is near enough to be meant.
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = letters(word);
    let most = 1 + word.len() / 4;
    // Words of very different lengths need no look.
    let alike =
        known.into_iter().filter(|known| known.chars().take(LONGEST).count().abs_diff(word.len()) <= most);
    // A word with no letter in common is no slip, however short it is.
    let near = alike.filter_map(|known| {
        let letters = letters(known);
        let distance = distance(&word, &letters, most)?;
        (distance < word.len().max(letters.len()) || distance == 0).then_some((distance, known))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// Nobody mistypes longer words alone.
const LONGEST: usize = 64;

/// What is compared: case and the kind of dash are no difference.
fn letters(word: &str) -> Vec<char> {
    let lower = word.chars().flat_map(char::to_lowercase);
    lower.map(|c| if c == '-' { '_' } else { c }).take(LONGEST).collect()
}

/// Edits (insert, delete, replace, swap of neighbours) between two words, where there are no more than `most`.
fn distance(a: &[char], b: &[char], most: usize) -> Option<usize> {
    let (mut older, mut old): (Vec<usize>, Vec<usize>) = (Vec::new(), (0..=b.len()).collect());
    for i in 1..=a.len() {
        let mut row = Vec::with_capacity(b.len() + 1);
        row.push(i);
        for j in 1..=b.len() {
            let change = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (old[j] + 1).min(row[j - 1] + 1).min(old[j - 1] + change);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(older[j - 2] + 1);
            }
            row.push(best);
        }
        // What has gone too far in every column comes no nearer, but for a swap of the next two.
        if row.iter().chain(&old).all(|edits| *edits > most) {
            return None;
        }
        older = std::mem::replace(&mut old, row);
    }
    old.last().copied().filter(|edits| *edits <= most)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn typing_errors_are_seen_through() {
        let known = ["depends_on", "command", "image", "networks"];
        assert_eq!(nearest("depend_on", known), Some("depends_on"));
        assert_eq!(nearest("dependsOn", known), Some("depends_on"));
        assert_eq!(nearest("comand", known), Some("command"));
        assert_eq!(nearest("zebra", known), None);
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest("dbb", ["db"]), Some("db"));
    }
}
