//! What Docker Compose refuses in `config` is refused in `config`, and nothing else but what contradicts itself in keys
//! of our own: files in `bad/` say in their first line what it makes of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use composer_stack::{LoadOptions, Purpose, load};

const REFUSES: &str = "# Docker Compose refuses this.\n";
const OURS: &str = "# Docker Compose knows nothing of what is wrong here: keys of ours.\n";
const ACCEPTS: &str = "# Docker Compose accepts this in `config`.\n";

#[test]
fn config_refuses_what_docker_compose_refuses() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad");
    let mut wrong = Vec::new();
    let mut counts = [0, 0];
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let refused = text.starts_with(REFUSES) || text.starts_with(OURS);
        if !refused && !text.starts_with(ACCEPTS) {
            continue;
        }
        counts[usize::from(refused)] += 1;
        let options = LoadOptions {
            files: vec![PathBuf::from(path.file_name().unwrap())],
            current_dir: folder.clone(),
            environment: BTreeMap::from([("SET".to_owned(), "value".to_owned())]),
            purpose: Purpose::Config,
            ..LoadOptions::default()
        };
        match load(&options) {
            Ok(_) if refused => wrong.push(format!("{} is accepted", path.display())),
            Err(error) if !refused => {
                wrong.push(format!("{} is refused:\n{}", path.display(), error.render(false)))
            }
            Ok(_) | Err(_) => {}
        }
    }
    assert!(counts.iter().all(|count| *count >= 20), "{counts:?}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
