//! A service's hash is the one that Docker Compose gives it: `hashes/docker.txt` is what it printed for
//! `hashes/compose.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use composer_stack::{LoadOptions, Loaded, load};

fn loaded(text: &str, variables: &[(&str, &str)]) -> Loaded {
    let options = LoadOptions {
        files: vec![PathBuf::from("-")],
        stdin: Some(text.to_owned().into()),
        project_name: Some("proj".to_owned()),
        current_dir: PathBuf::from("/stack"),
        environment: variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        resolve_environment: false,
        ..LoadOptions::default()
    };
    load(&options).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hashes").join(name)).unwrap()
}

#[test]
fn they_are_those_of_docker_compose() {
    let loaded = loaded(&file("compose.yaml"), &[("SET", "value")]);
    let services = loaded.names("services");
    let ours: String =
        services.iter().map(|name| format!("{name} {}\n", loaded.hash(name).unwrap())).collect();
    assert_eq!(ours, file("docker.txt"));
    assert_eq!(loaded.hash("nobody"), None);
}

/// Recorded as the others were, with the variable set.
#[test]
fn images_that_are_built_have_the_default_platform() {
    let variables = [("SET", "value"), ("DOCKER_DEFAULT_PLATFORM", "linux/riscv64")];
    let text = file("compose.yaml");
    let (with, without) = (loaded(&text, &variables), loaded(&text, &variables[..1]));
    let recorded = "d7b29e7510bb0a0c6c499916b14e4db2b5023266a3eb9013eecbb2c69123c23e";
    assert_eq!(with.hash("built").as_deref(), Some(recorded));
    for untouched in ["built-elsewhere", "plain"] {
        assert_eq!(with.hash(untouched), without.hash(untouched));
    }
}

#[test]
fn keys_of_ours_count() {
    let hash = |more: &str| loaded(&format!("services: {{a: {{image: x{more}}}}}"), &[]).hash("a").unwrap();
    let hashes = BTreeMap::from(["", ", x-run: once", ", x-mine: 1"].map(|more| (hash(more), more)));
    assert_eq!(hashes.len(), 2, "{hashes:?}");
}
