//! The exact text of diagnostics (`bad/`) and of the canonical model (`good/`).
//!
//! Each `NAME.yaml` has the expected text beside it in `NAME.txt`; `NAME.override.yaml`, where there is one, is merged
//! over it. `COMPOSER_UPDATE_GOLDEN=1 cargo test -p composer-stack` writes the expected texts anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::{HostFacts, LoadOptions, Purpose, load};

/// A host of two CPUs and 4 GiB, whatever machine the test runs on.
fn options(folder: &Path, files: Vec<PathBuf>, purpose: Purpose) -> LoadOptions {
    LoadOptions {
        files,
        current_dir: folder.to_owned(),
        environment: BTreeMap::from([("SET".to_owned(), "value".to_owned())]),
        home: Some(PathBuf::from("/home/ann")),
        purpose,
        host: Some(HostFacts { cpus_online: [0, 1].into(), memory: 4 << 30 }),
        ..LoadOptions::default()
    }
}

fn bad(options: &LoadOptions) -> String {
    match load(options) {
        Ok(loaded) => {
            let warnings: Vec<String> = loaded.warnings.iter().map(|warning| warning.render(false)).collect();
            format!("accepted\n\n{}\n", warnings.join("\n\n"))
        }
        Err(error) => format!("{}\n", error.render(false)),
    }
}

fn good(options: &LoadOptions) -> String {
    match load(options) {
        Ok(loaded) => loaded.to_yaml().unwrap(),
        Err(error) => format!("refused\n\n{}\n", error.render(false)),
    }
}

fn run(kind: &str, purpose: Purpose, least: usize, text: fn(&LoadOptions) -> String) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(kind);
    let update = std::env::var_os("COMPOSER_UPDATE_GOLDEN").is_some();
    let mut names: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| {
        path.to_string_lossy().ends_with(".yaml") && !path.to_string_lossy().contains(".override.")
    });
    names.sort();
    assert!(names.len() >= least, "only {} cases in {}", names.len(), folder.display());
    let mut differences = Vec::new();
    for path in &names {
        let mut files = vec![PathBuf::from(path.file_name().unwrap())];
        let over = path.with_extension("override.yaml");
        if over.exists() {
            files.push(PathBuf::from(over.file_name().unwrap()));
        }
        let shown = folder.display().to_string();
        let actual = text(&options(&folder, files, purpose)).replace(&shown, "FOLDER");
        let expected_path = path.with_extension("txt");
        let expected = fs::read_to_string(&expected_path).unwrap_or_default();
        if update {
            fs::write(&expected_path, &actual).unwrap();
        } else if actual != expected {
            differences.push(format!("{}\n--- expected\n{expected}--- actual\n{actual}", path.display()));
        }
    }
    let count = differences.len();
    assert!(differences.is_empty(), "{count} of {} differ:\n\n{}", names.len(), differences.join("\n"));
}

#[test]
fn diagnostics_read_as_written_down() {
    run("bad", Purpose::Run, 30, bad);
}

#[test]
fn accepted_files_have_their_canonical_form() {
    run("good", Purpose::Config, 5, good);
}
