//! `schemas/compose.schema.json` is what the code says, and says of files what the code says.

use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::{LoadOptions, load};
use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[test]
fn the_committed_schema_is_the_codes() {
    let path = top().join("schemas/compose.schema.json");
    let made = composer_stack::schema().unwrap();
    if std::env::var_os("COMPOSER_UPDATE_GOLDEN").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "run COMPOSER_UPDATE_GOLDEN=1 cargo test -p composer-stack --test schema");
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    // What is taken away may be anything, which a schema cannot say: it does not see tags.
    if text.contains("!reset") {
        return Vec::new();
    }
    // `y` is a string, as in YAML 1.2.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_multiple_with_options(&text, options)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files that stand for themselves: where something is merged with, nothing is a value too.
fn yaml_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.join("compose.yaml").exists() {
            found.push(path.join("compose.yaml"));
        } else if path.extension().is_some_and(|extension| extension == "yaml")
            && !path.to_string_lossy().contains(".override.")
        {
            found.push(path);
        }
    }
    found
}

struct Validator {
    schemas: boon::Schemas,
    index: boon::SchemaIndex,
}

impl Validator {
    fn new() -> Self {
        let schema: Value = serde_json::from_str(&composer_stack::schema().unwrap()).unwrap();
        let (mut schemas, mut compiler) = (boon::Schemas::new(), boon::Compiler::new());
        compiler.add_resource("compose.schema.json", schema).unwrap();
        let index = compiler.compile("compose.schema.json", &mut schemas).unwrap();
        Self { schemas, index }
    }

    fn errors(&self, document: &Value) -> Option<String> {
        self.schemas.validate(document, self.index).err().map(|error| format!("{error:#}"))
    }
}

#[test]
fn files_that_are_accepted_hold_to_the_schema() {
    let validator = Validator::new();
    let mut count = 0;
    for folder in ["composer/stack/tests/good", "examples"] {
        for path in yaml_files(&top().join(folder)) {
            for document in documents(&path) {
                count += 1;
                let errors = validator.errors(&document);
                assert!(errors.is_none(), "{}: {}", path.display(), errors.unwrap_or_default());
            }
        }
    }
    assert!(count > 10, "only {count} documents");
}

#[test]
fn short_and_long_forms_may_stand_in_one_list() {
    let validator = Validator::new();
    for text in [
        "services: {a: {image: x, ports: [80, '81:81', {target: 82}]}}",
        "services: {a: {image: x, volumes: [/a, {type: tmpfs, target: /b}]}}",
        "services: {a: {image: x, env_file: [a, {path: b, required: false}]}}",
        "services: {a: {image: x, secrets: [a, {source: b}]}}",
        "include: [a.yaml, {path: b.yaml}]",
    ] {
        let document: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(validator.errors(&document), None, "{text}");
    }
}

#[test]
fn the_schema_refuses_what_the_code_refuses() {
    let validator = Validator::new();
    for text in [
        "services: {a: {imge: x}}",
        "services: {a: {image: 5}}",
        "services: {a: {image: x, ports: {a: b}}}",
        "services: {a: {image: x, depends_on: {b: {condition: service_up}}}}",
        "services: {a: {image: x, healthcheck: {tests: x}}}",
        "services: {'a b': {image: x}}",
        "servces: {}",
        "volumes: {a: {drivr: x}}",
    ] {
        let document: Value = serde_saphyr::from_str(text).unwrap();
        assert!(validator.errors(&document).is_some(), "{text}");
    }
}

/// What editors offer has to be taken.
#[test]
fn examples_are_accepted() {
    let schema: Value = serde_json::from_str(&composer_stack::schema().unwrap()).unwrap();
    assert_eq!(schema["properties"]["version"]["deprecated"], true);
    let service = &schema["definitions"]["service"]["properties"];
    let mut count = 0;
    for (key, field) in service.as_object().unwrap() {
        for word in field["examples"].as_array().into_iter().flatten() {
            count += 1;
            let text = format!("services: {{a: {{image: x, {key}: {word}}}, NAME: {{image: y}}}}");
            let options = LoadOptions {
                files: vec![PathBuf::from("-")],
                stdin: Some(text.clone().into()),
                project_name: Some("p".to_owned()),
                current_dir: PathBuf::from("/stack"),
                ..LoadOptions::default()
            };
            let loaded = load(&options).unwrap_or_else(|error| panic!("{text}: {}", error.render(false)));
            assert!(loaded.warnings.is_empty(), "{text}: {}", loaded.warnings.render(false));
        }
    }
    assert!(count > 20, "only {count} examples");
}
