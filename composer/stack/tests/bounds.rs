//! Chains of `extends` and trees of `include` of any size end: what took exponential time would never do.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::{LoadOptions, load};

/// A folder that goes away at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("composer-bounds-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.join(name), text).unwrap();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// How many services there are, or what is wrong.
fn services(folder: &Path) -> Result<usize, String> {
    let options = LoadOptions { current_dir: folder.to_owned(), ..LoadOptions::default() };
    load(&options).map(|loaded| loaded.names("services").len()).map_err(|error| error.render(false))
}

fn chain(length: usize, own: &str) -> String {
    let mut text = "services:\n".to_owned();
    for number in 0..length {
        let own = own.replace('#', &number.to_string());
        writeln!(text, "  s{number}: {{extends: s{}{own}}}", number + 1).unwrap();
    }
    text + &format!("  s{length}: {{image: x}}\n")
}

#[test]
fn a_long_chain_of_extends_is_walked() {
    let folder = Folder::new("chain");
    folder.write("compose.yaml", &chain(10_000, ""));
    assert_eq!(services(&folder.0), Ok(10_001));
}

#[test]
fn a_chain_that_hands_on_ever_more_has_an_end() {
    let folder = Folder::new("growth");
    folder.write("compose.yaml", &chain(10_000, ", environment: {V#: \"1\"}"));
    assert!(services(&folder.0).unwrap_err().contains("adds up to too much"));
}

#[test]
fn a_circle_of_ten_thousand_is_one_short_error() {
    let folder = Folder::new("circle");
    let text = chain(10_000, "").replace("s10000: {image: x}", "s10000: {extends: s0}");
    folder.write("compose.yaml", &text);
    let error = services(&folder.0).unwrap_err();
    assert!(error.starts_with("error: services extend each other") && error.len() < 5000, "{error}");
}

#[test]
fn a_chain_of_files_is_walked() {
    let folder = Folder::new("files");
    folder.write("compose.yaml", "services:\n  s: {extends: {file: f0.yaml, service: s}}\n");
    for number in 0..2000 {
        let next = format!("extends: {{file: f{}.yaml, service: s}}", number + 1);
        folder.write(&format!("f{number}.yaml"), &format!("services:\n  s: {{{next}}}\n"));
    }
    folder.write("f2000.yaml", "services:\n  s: {image: x}\n");
    assert_eq!(services(&folder.0), Ok(1));
}

#[test]
fn many_includes_are_read() {
    let folder = Folder::new("fan");
    let mut text = "include:\n".to_owned();
    for number in 0..2000 {
        writeln!(text, "  - f{number}.yaml").unwrap();
        folder.write(&format!("f{number}.yaml"), &format!("services:\n  s{number}: {{image: x}}\n"));
    }
    folder.write("compose.yaml", &text);
    assert_eq!(services(&folder.0), Ok(2000));
}

/// Each level includes both files of the next: two to the power of sixty ways lead to the last.
#[test]
fn what_is_included_on_many_ways_is_read_once() {
    let folder = Folder::new("ways");
    folder.write("compose.yaml", "include: [a0.yaml, b0.yaml]\n");
    for level in 0..60 {
        for name in ["a", "b"] {
            let next = level + 1;
            let include =
                if next < 60 { format!("include: [a{next}.yaml, b{next}.yaml]\n") } else { String::new() };
            let text = format!("{include}services:\n  {name}{level}: {{image: x}}\n");
            folder.write(&format!("{name}{level}.yaml"), &text);
        }
    }
    assert_eq!(services(&folder.0), Ok(120));
}

#[test]
fn includes_nest_only_so_deep() {
    let folder = Folder::new("deep");
    folder.write("compose.yaml", "include: [f0.yaml]\n");
    for number in 0..300 {
        let text = format!("include: [f{}.yaml]\nservices:\n  s{number}: {{image: x}}\n", number + 1);
        folder.write(&format!("f{number}.yaml"), &text);
    }
    assert!(services(&folder.0).unwrap_err().contains("more than 100 levels deep"));
}

#[test]
fn devices_and_folders_are_no_files() {
    for path in ["/dev/zero", "/tmp"] {
        let options = LoadOptions { files: vec![PathBuf::from(path)], ..LoadOptions::default() };
        let error = load(&options).unwrap_err().render(false);
        assert!(error.starts_with(&format!("error: cannot read {path}: it is a ")), "{error}");
    }
}
