//! What `config` prints is a Compose file that means the same: strings of every kind come back as they were, through
//! the writer, the parser and the reading of bare words.

use std::path::PathBuf;

use composer_stack::{LoadOptions, Loaded, load};

/// Pieces of double-quoted strings: what YAML marks, breaks lines at, reads as a number or a word, or cannot print.
const PIECES: &str = r#"a b \n \t \r \x01 \x7f \u0085 \u2028 \ufeff \0 ' \" \\ # & * ! | > - ? : , [ ] { } % @ ` ~ = << 0 1 . e
    _ + x null true yes 0x 0o 0b 漢 🦀 é \ue000 --- ... $$ / inf nan"#;

fn read(text: String) -> Loaded {
    let options = LoadOptions {
        files: vec![PathBuf::from("-")],
        stdin: Some(text.clone().into()),
        project_name: Some("p".to_owned()),
        current_dir: PathBuf::from("/stack"),
        ..LoadOptions::default()
    };
    load(&options).unwrap_or_else(|error| panic!("{text:?}:\n{}", error.render(false)))
}

/// xorshift64: the same strings in every run.
fn strings(count: usize) -> Vec<String> {
    let mut pieces: Vec<&str> = PIECES.split_whitespace().collect();
    pieces.extend([" ", " ", "  ", ": ", " #", "- "]);
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |limit: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from((state >> 16) % limit as u64).unwrap()
    };
    (0..count).map(|_| (0..=below(5)).map(|_| pieces[below(pieces.len())]).collect()).collect()
}

#[test]
fn every_string_comes_back() {
    let mut strings = strings(3_000);
    // Found so, and by longer runs.
    strings.extend(["0x-a", "0x+b", "0x+e"].map(str::to_owned));
    let items =
        |indent: &str| strings.iter().map(|text| format!("{indent}- \"{text}\"\n")).collect::<String>();
    let pairs =
        strings.iter().enumerate().map(|(n, text)| format!("      K{n}: \"{text}\"\n")).collect::<String>();
    // Docker Compose doubles dollar signs in keys too, though nobody halves them when they are read.
    let no_dollar: Vec<String> = strings.iter().map(|text| text.replace('$', "")).collect();
    let keys = no_dollar
        .iter()
        .enumerate()
        .map(|(n, text)| format!("  - {{\"{text}\": {n}}}\n"))
        .collect::<String>();
    let first = read(format!(
        "services:\n  a:\n    image: i\n    command:\n{}    environment:\n{pairs}x-list:\n{}x-keys:\n{keys}",
        items("      "),
        items("  "),
    ));
    let again = read(first.to_yaml().unwrap());
    let (first, again) = (first.to_json().unwrap(), again.to_json().unwrap());
    for (first, again) in first.lines().zip(again.lines()) {
        assert_eq!(first, again);
    }
    assert_eq!(first.len(), again.len());
}
