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
        "volumes: {a: {external: {nam: x}}}",
        "services: {a: {image: x, build: {privileged: '0700'}}}",
        "services: {a: {image: x, build: {ulimits: {a: b}}}}",
        "services: {a: {image: x, build: {secrets: [{}]}}}",
        "services: {a: {image: x, ports: [{published: 80}]}}",
        "services: {a: {image: x, volumes: [{type: tmpfs, target: /a, tmpfs: {mode: '0755'}}]}}",
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

/// What Docker takes, though nobody would write it.
#[test]
fn the_schema_takes_what_config_takes() {
    let validator = Validator::new();
    for text in [
        "{volumes: {a: {external: {name: q}}, b: {external: {}}}, networks: {c: {external: {name: q}}}}",
        "{configs: {a: {external: {name: q}}}, secrets: {b: {external: {x-a: 1, name: q}}}}",
        "services: {a: {image: x, volumes: [{type: tmpfs, target: /a, tmpfs: {mode: 1.5}}]}}",
        "services: {a: {image: x, pids_limit: -2}}",
        "services: {a: {image: x, pids_limit: 5000000000}}",
        "services: {a: {image: x, deploy: {resources: {limits: {pids: -2}}}}}",
        "services: {a: {image: x, healthcheck: {test: a, retries: 4294967296}}}",
        "services: {a: {image: x, ports: [{target: 0}, {target: 70000}]}}",
        "services: {a: {image: x, secrets: [a, {source: b}]}, b: {image: z, environment: [a]}}",
    ] {
        let options = LoadOptions { check_consistency: false, ..of_text(text) };
        let taken = load(&options).map(drop).map_err(|error| error.render(false));
        assert_eq!(taken, Ok(()), "{text}");
        let document: Value = serde_saphyr::from_str(text).unwrap();
        assert_eq!(validator.errors(&document), None, "{text}");
    }
}

fn of_text(text: &str) -> LoadOptions {
    LoadOptions {
        files: vec![PathBuf::from("-")],
        stdin: Some(text.to_owned().into()),
        project_name: Some("p".to_owned()),
        current_dir: PathBuf::from("/stack"),
        ..LoadOptions::default()
    }
}

/// Strings at the edges of every rule that the schema has a pattern for.
#[test]
fn patterns_say_what_the_code_says() {
    let numbers =
        ["", "0", "5", "-5", "+5", "1.5", ".5", "5.", ".", "1e3", "1e", "a", "0x5", "1_000", " 5", "5 "];
    let sizes = [
        "64m", "64mb", "64MiB", "64ib", "1.5g", "1_0k", "1__0k", "_1k", "1_k", "1 m", "1  m", "m", "1q",
        "1e1k", "+1b",
    ];
    let spans = ["1m30s", "1.5h", ".5s", "5.s", "s", "1", "0", "+1s", "1d2w", "1µs", "1 s", "1mm", "1s2"];
    let words = [
        "",
        "no",
        "No",
        "yes",
        "TRUE",
        "off",
        "o",
        "always",
        "on-failure",
        "on-failure:5",
        "on-failure:+5",
        "on-failure:",
        "on-failure:a",
        "always:3",
        "unless-stopped",
        "any",
        "none",
        "missing",
        "build",
        "every_12h",
        "every_h",
        "every_1h2d",
        "sometimes",
        "tcp",
        "SCTP",
        "udp2",
        "web",
        "w",
        "-web",
        "a b",
        "a_.-9",
        "ü",
        "/a",
        "a/b",
        "02:42:ac:11:00:02",
        "02-42-AC-11-00-02",
        "02:42:ac:11:00",
        "10mbit",
        "1.5kbit",
        "bit",
        ".bit",
        "1.2.3bit",
        "0755",
        "7777",
        "10000",
        "8",
        "00007777",
    ];
    let samples = || numbers.iter().chain(&sizes).chain(&spans).chain(&words).copied();
    let validator = Validator::new();
    let mut count = 0;
    for key in [
        "cpus",
        "mem_limit",
        "mem_reservation",
        "memswap_limit",
        "stop_grace_period",
        "restart",
        "pull_policy",
        "mac_address",
        "init",
        "tty",
        "pids_limit",
        "oom_score_adj",
        "cpu_shares",
        "container_name",
        "working_dir",
        "deploy.restart_policy.condition",
        "deploy.resources.limits.memory",
        "x-bandwidth.ingress",
        "x-probe.tcp",
        "secrets.mode",
        "ports.protocol",
    ] {
        for sample in samples() {
            let value = serde_json::to_string(sample).unwrap();
            let parts: Vec<&str> = key.split('.').collect();
            let inner = match parts.as_slice() {
                ["secrets", "mode"] => format!("secrets: [{{source: s, mode: {value}}}]"),
                ["ports", "protocol"] => format!("ports: [{{target: 80, protocol: {value}}}]"),
                parts => {
                    let close = "}".repeat(parts.len() - 1);
                    format!("{}: {value}{close}", parts.join(": {"))
                }
            };
            let text = format!("{{services: {{a: {{image: x, {inner}}}}}, secrets: {{s: {{file: s}}}}}}");
            // What a value means beside others is no pattern's.
            let options = LoadOptions { check_consistency: false, ..of_text(&text) };
            let code = load(&options).map(|loaded| loaded.warnings.is_empty()).unwrap_or(false);
            let document: Value = serde_saphyr::from_str(&text).unwrap();
            let schema = validator.errors(&document);
            // Bounds of what a string holds are the code's: a pattern does not reckon.
            let reckons = matches!(key, "pids_limit" | "oom_score_adj" | "x-probe.tcp" | "cpus") && !code;
            let negative = sample.starts_with('-') && !code;
            assert!(
                schema.is_none() == code || ((reckons || negative) && schema.is_none()),
                "{text}: the code says {code}, the schema {}",
                schema.unwrap_or_default()
            );
            // What is put in is not known yet.
            let expression = text.replace(&value, "\"${A}\"");
            let document: Value = serde_saphyr::from_str(&expression).unwrap();
            assert_eq!(validator.errors(&document), None, "{expression}");
            count += usize::from(!code);
        }
    }
    assert!(count > 500, "only {count} are refused");
}

/// Files of `bad` with a value of a wrong shape, which editors can show without knowing the rest.
const OF_SHAPE: &[&str] = &[
    "bad_condition",
    "bad_cpuset",
    "bad_duration",
    "bad_healthcheck",
    "bad_hooks",
    "bad_host_ip",
    "bad_mac",
    "bad_mount",
    "bad_probe",
    "bad_service_name",
    "bad_size",
    "bad_user",
    "bad_volume_name",
    "bandwidth_of_nothing",
    "blkio",
    "carriage_returns",
    "chain_alias",
    "chain_alias_used_twice",
    "control_characters",
    "dns_null",
    "environment_item",
    "exclusive_cores",
    "long_line",
    "many_errors",
    "mode_of_secret",
    "negative_replicas",
    "no_value",
    "oom",
    "port_zero",
    "repeated_pairs",
    "restart_policy",
    "restart_words",
    "tab_in_line",
    "tabs",
    "top_level_list",
    "unknown_key",
    "unknown_top_level",
    "weights_and_nodes",
    "wide_characters",
    "wide_columns",
    "wrong_type",
];

#[test]
fn files_with_errors_of_shape_do_not_hold_to_the_schema() {
    let validator = Validator::new();
    let mut refused = Vec::new();
    for path in yaml_files(&top().join("composer/stack/tests/bad")) {
        let text = fs::read_to_string(&path).unwrap();
        let options = serde_saphyr::options! { strict_booleans: true };
        // What is no YAML at all is a case of its own.
        let Ok(documents) = serde_saphyr::from_multiple_with_options::<Value>(&text, options) else {
            continue;
        };
        if documents.iter().any(|document| validator.errors(document).is_some()) {
            let case = if path.ends_with("compose.yaml") { path.parent().unwrap() } else { &path };
            refused.push(case.file_stem().unwrap().to_string_lossy().into_owned());
        }
    }
    refused.sort();
    assert_eq!(refused, OF_SHAPE);
}
