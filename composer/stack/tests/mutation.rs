//! Mutated files never make the loader panic: they are accepted or refused.

use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::{LoadOptions, Purpose, load, project_name_only};

/// xorshift64: the same mutations in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).unwrap_or(0)
    }
}

const PIECES: [&str; 24] = [
    "$",
    "${",
    "}",
    ":",
    "\t",
    "\n",
    "- ",
    "&a ",
    "*a",
    "<<: *a",
    "\"",
    "'",
    "{",
    "]",
    "!reset ",
    "漢",
    "\u{feff}",
    "0",
    "-1",
    "99999999999999999999",
    "~",
    "x-",
    "| \n",
    "# ",
];

fn mutate(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        let at = random.below(chars.len() + 1);
        let end = (at + random.below(12)).min(chars.len());
        match random.below(3) {
            0 => drop(chars.drain(at..end)),
            1 => drop(chars.splice(at..at, PIECES[random.below(PIECES.len())].chars())),
            _ => {
                let copy: Vec<char> = chars[at..end].to_vec();
                let to = random.below(chars.len() + 1);
                chars.splice(to..to, copy);
            }
        }
    }
    chars.into_iter().collect()
}

/// Every Compose file below a folder, those of cases of several files as well, each by itself.
fn collect(folder: &Path, seeds: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, seeds);
        } else if path.extension().is_some_and(|extension| extension == "yaml") {
            seeds.push(path);
        }
    }
}

#[test]
fn mutated_files_never_panic() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut seeds = Vec::new();
    for folder in ["good", "bad"] {
        collect(&tests.join(folder), &mut seeds);
    }
    seeds.sort();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for path in seeds {
        let text = fs::read_to_string(&path).unwrap();
        for round in 0..40 {
            let options = LoadOptions {
                files: vec![PathBuf::from("-")],
                stdin: Some(mutate(&text, &mut random).into()),
                current_dir: PathBuf::from("/stack"),
                purpose: if round % 2 == 0 { Purpose::Run } else { Purpose::Config },
                ..LoadOptions::default()
            };
            match load(&options) {
                Ok(loaded) => {
                    assert!(!loaded.to_yaml().unwrap().is_empty() && !loaded.to_json().unwrap().is_empty())
                }
                Err(error) => assert!(!error.render(true).is_empty()),
            }
            let _ = project_name_only(&options);
        }
    }
}
