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

/// The key of our own among `known` of which an `x-` key is a slip. Others have such keys too, so short ones have to be
/// the same but for dashes and case.
pub(crate) fn slip<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let bare = |key: &str| -> Option<Vec<char>> {
        Some(letters(key.strip_prefix("x-")?).into_iter().filter(|c| *c != '_').collect())
    };
    let word = bare(key)?;
    let near = known.into_iter().filter_map(|known| {
        let letters = bare(known)?;
        let most = match word.len().min(letters.len()) {
            0..=3 => 0,
            4..=7 => 1,
            _ => 2,
        };
        Some((distance(&word, &letters, most)?, known))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// As many names are told, of however many there are.
const TOLD: usize = 20;

/// What a message of an unknown service ends with: the services that `holder` has, and the one that may be meant.
pub fn known_services<'a>(holder: &str, name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    match nearest(name, known.iter().copied()) {
        _ if known.is_empty() => String::new(),
        None => format!("; {}", listed(holder, &known)),
        Some(near) => format!("; {}: did you mean `{near}`?", listed(holder, &known)),
    }
}

/// The services that `holder` has.
pub(crate) fn listed(holder: &str, known: &[&str]) -> String {
    let (told, rest) = known.split_at(known.len().min(TOLD));
    match (told, rest) {
        ([], _) => String::new(),
        (_, []) => format!("{holder} has {}", told.join(", ")),
        (_, _) => format!("{holder} has {} and {} more", told.join(", "), rest.len()),
    }
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
    use super::{known_services, nearest, slip};

    #[test]
    fn slips_of_our_own_keys_are_told_from_those_of_others() {
        let known = ["x-resources", "x-oom", "x-run", "x-mem-high", "x-rootfs", "x-probe", "image"];
        for (key, meant) in [
            ("x-resource", "x-resources"),
            ("x-resuorces", "x-resources"),
            ("x-memhigh", "x-mem-high"),
            ("x-mem_high", "x-mem-high"),
            ("x-OOM", "x-oom"),
            ("x-rootf", "x-rootfs"),
        ] {
            assert_eq!(slip(key, known), Some(meant), "{key}");
        }
        for others in
            ["x-room", "x-env", "x-ran", "x-common", "x-logging", "x-image", "x-restart", "x-", "x-i"]
        {
            assert_eq!(slip(others, known), None, "{others}");
        }
    }

    #[test]
    fn typing_errors_are_seen_through() {
        let known = ["depends_on", "command", "image", "networks"];
        assert_eq!(nearest("depend_on", known), Some("depends_on"));
        assert_eq!(nearest("dependsOn", known), Some("depends_on"));
        assert_eq!(nearest("comand", known), Some("command"));
        assert_eq!(nearest("zebra", known), None);
    }

    #[test]
    fn an_unknown_service_is_told_of_with_the_known_ones() {
        assert_eq!(known_services("the file", "web", []), "");
        assert_eq!(known_services("the file", "nobody", ["db", "web"]), "; the file has db, web");
        let near = known_services("the stack", "wbe", ["db", "web"]);
        assert_eq!(near, "; the stack has db, web: did you mean `web`?");
        let many: Vec<String> = (0..23).map(|number| format!("service-{number}")).collect();
        let told = known_services("the file", "nobody", many.iter().map(String::as_str));
        assert!(told.ends_with("service-19 and 3 more"), "{told}");
        assert_eq!(nearest("x", ["a", "b"]), None);
        assert_eq!(nearest("dbb", ["db"]), Some("db"));
    }
}
