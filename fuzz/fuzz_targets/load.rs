//! The loader under arbitrary bytes: text to `config`'s output, for both purposes, and the output read once more.
//!
//! A line `#%over` begins an override file, `#%env` the text of `.env`; YAML takes both for comments, so a seed that
//! has none is a plain Compose file. The loader opens what a text names (env files, extended files): run this in an
//! empty directory, as `scripts/soak` does, and not where a device could be named by accident.

#![no_main]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use composer_stack::{HostFacts, LoadError, LoadOptions, Loaded, Purpose, load, project_name_only};
use libfuzzer_sys::{Corpus, fuzz_target};

const OVERRIDE: &str = "\n#%over\n";
const ENV: &str = "\n#%env\n";
/// Diagnostics rendered per input: they look alike, and more of them would only slow the search down.
const RENDERED: usize = 4;
/// No input is larger than 8 KiB, and all that is done with it together takes less; with the checks that fuzzing adds.
const SLOW: Duration = Duration::from_secs(3);

/// The folder that the override and `.env` lie in: the current one, which is empty at first.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| std::env::current_dir().expect("a current directory"))
}

/// Whether `config`'s output has to come out the same when it is read again.
fn canonical() -> bool {
    static CANONICAL: OnceLock<bool> = OnceLock::new();
    *CANONICAL.get_or_init(|| std::env::var_os("COMPOSER_FUZZ_CANONICAL").is_some())
}

fn options(main: &str, purpose: Purpose) -> LoadOptions {
    LoadOptions {
        files: vec![PathBuf::from("-")],
        stdin: Some(main.to_owned().into()),
        current_dir: folder().to_owned(),
        environment: BTreeMap::from([
            ("SET".to_owned(), "value".to_owned()),
            ("EMPTY".to_owned(), String::new()),
            ("NUMBER".to_owned(), "2".to_owned()),
        ]),
        home: Some(PathBuf::from("/home/ann")),
        purpose,
        host: Some(HostFacts { cpus_online: [0, 1].into(), memory: 4 << 30, ..HostFacts::default() }),
        ..LoadOptions::default()
    }
}

fn look_at_error(error: &LoadError) {
    let found = error.diagnostics();
    assert!(!found.is_empty(), "refused without a reason");
    for diagnostic in found.iter().take(RENDERED) {
        assert!(!diagnostic.render(true).is_empty());
        if let Some(place) = &diagnostic.place {
            assert!(place.line() > 0 && place.column() > 0 && place.source_line().len() < usize::MAX);
        }
    }
}

fn look_at(loaded: &Loaded) -> String {
    for warning in loaded.warnings.iter().take(RENDERED) {
        assert!(!warning.render(false).is_empty());
    }
    assert!(!loaded.to_json().expect("JSON").is_empty());
    loaded.to_yaml().expect("YAML")
}

/// What was printed is a Compose file, and prints as itself.
fn again(printed: &str) {
    match load(&options(printed, Purpose::Config)) {
        Ok(loaded) => {
            let twice = look_at(&loaded);
            assert!(printed == twice, "printed\n{printed}\nand read again\n{twice}");
        }
        Err(error) => panic!("printed\n{printed}\nbut does not read it again:\n{}", error.render(false)),
    }
}

/// Processor time that this thread has had: the clock would blame an input for what else the machine does.
fn processor_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0))
}

fn run(data: &[u8]) -> Corpus {
    let before = processor_time();
    let kept = try_out(data);
    let took = processor_time().saturating_sub(before);
    assert!(took < SLOW, "{} bytes took {took:?}", data.len());
    kept
}

fn try_out(data: &[u8]) -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let (text, env) = text.split_once(ENV).map_or((text, None), |(text, env)| (text, Some(env)));
    let (main, over) = text.split_once(OVERRIDE).map_or((text, None), |(main, over)| (main, Some(over)));
    let dotenv = folder().join(".env");
    if let Some(env) = env {
        fs::write(&dotenv, env).expect("writing .env");
    }
    for purpose in [Purpose::Config, Purpose::Run] {
        let mut options = options(main, purpose);
        if let Some(over) = over {
            fs::write(folder().join("over.yaml"), over).expect("writing the override");
            options.files.push(PathBuf::from("over.yaml"));
        }
        match load(&options) {
            Ok(loaded) => {
                let printed = look_at(&loaded);
                if purpose == Purpose::Config && canonical() {
                    again(&printed);
                }
            }
            Err(error) => look_at_error(&error),
        }
        if purpose == Purpose::Run {
            let _ = project_name_only(&options);
        }
    }
    if env.is_some() {
        fs::remove_file(&dotenv).expect("removing .env");
    }
    Corpus::Keep
}

fuzz_target!(|data: &[u8]| -> Corpus { run(data) });
