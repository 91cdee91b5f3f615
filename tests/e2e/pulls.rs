//! Pulls that break off: the store is sound each time, and the next pull ends well.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::registry::{Registry, images};
use crate::stack::{Project, text};

const FILE: &str = "services:\n  a: {image: @registry@/python, command: python3 -c 'print(6 * 7)'}\n";

fn project(name: &str, registry: &Registry) -> Project {
    Project::new(name, &FILE.replace("@registry@", &registry.name))
}

/// A script that sees a folder, and not the host's own store, at /var/lib/compose/images. Its `compose` is ours.
fn with_store(project: &Project, store: &Path, script: &str) -> Command {
    fs::create_dir_all(store).unwrap();
    fs::create_dir_all("/var/lib/compose/images").unwrap();
    let compose = format!("exec {} -p {} \"$@\"\n", env!("CARGO_BIN_EXE_compose"), project.name);
    project.write("compose", &format!("#!/bin/sh\n{compose}"));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(project.folder.join("compose"), mode).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-euc"]);
    let bound = format!("mount --bind '{}' /var/lib/compose/images; {script}", store.display());
    command.arg(bound).current_dir(&project.folder).stdin(Stdio::null());
    let path = format!("{}:{}", project.folder.display(), std::env::var("PATH").unwrap());
    command.env("PATH", path).env("HOME", &project.folder);
    command
}

/// That everything in a store is what its name says: how many layers.
fn assert_sound(store: &Path) -> usize {
    for blob in names(&store.join("blobs/sha256")) {
        let bytes = fs::read(store.join("blobs/sha256").join(&blob)).unwrap();
        assert_eq!(hex(&bytes), blob);
    }
    let known = library();
    let layers = names(&store.join("layers/sha256"));
    for diff_id in &layers {
        let blob = known.get(diff_id).unwrap_or_else(|| panic!("a layer {diff_id} that no image has"));
        assert_layer(&store.join("layers/sha256").join(diff_id).join("fs"), blob);
    }
    layers.len()
}

/// That a folder has all that an archive has, byte for byte.
fn assert_layer(folder: &Path, blob: &Path) {
    let mut archive = tar::Archive::new(GzDecoder::new(fs::File::open(blob).unwrap()));
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        if path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(".wh.")) {
            continue;
        }
        let found = folder.join(&path);
        let seen = found.symlink_metadata().unwrap_or_else(|error| panic!("{}: {error}", found.display()));
        let header = entry.header().clone();
        let owner = (header.uid().unwrap(), header.gid().unwrap());
        assert_eq!((u64::from(seen.uid()), u64::from(seen.gid())), owner, "{}", found.display());
        if header.entry_type().is_file() || header.entry_type().is_dir() {
            assert_eq!(seen.mode() & 0o7777, header.mode().unwrap(), "{}", found.display());
        }
        if header.entry_type().is_file() {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            assert!(fs::read(&found).unwrap() == content, "{}", found.display());
        }
        if header.entry_type().is_symlink() {
            assert_eq!(fs::read_link(&found).unwrap(), entry.link_name().unwrap().unwrap());
        }
    }
}

/// The layers of the library as they are sent, by their diff ids.
fn library() -> BTreeMap<String, PathBuf> {
    let layout = images().join("layout");
    let blob = |digest: &Value| {
        layout.join("blobs/sha256").join(digest.as_str().unwrap().trim_start_matches("sha256:"))
    };
    let read = |path: PathBuf| -> Value { serde_json::from_slice(&fs::read(path).unwrap()).unwrap() };
    let index = read(layout.join("index.json"));
    let mut layers = BTreeMap::new();
    for image in index["manifests"].as_array().unwrap() {
        let manifest = read(blob(&image["digest"]));
        let config = read(blob(&manifest["config"]["digest"]));
        let ids = config["rootfs"]["diff_ids"].as_array().unwrap();
        for (id, layer) in ids.iter().zip(manifest["layers"].as_array().unwrap()) {
            let id = id.as_str().unwrap().trim_start_matches("sha256:");
            layers.insert(id.to_owned(), blob(&layer["digest"]));
        }
    }
    layers
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A fraction of a time, different each time.
fn part_of(whole: Duration, round: u64) -> Duration {
    whole.mul_f64(RandomState::new().hash_one(round) as f64 / u64::MAX as f64)
}

/// scripts/soak does it more often.
#[test]
fn a_pull_may_be_killed_at_any_moment() {
    let rounds = std::env::var("COMPOSER_PULLS").map_or(5, |rounds| rounds.parse().unwrap());
    let registry = Registry::plain();
    let project = project("pull-killed", &registry);
    // In memory: processes are killed here, not the machine, and on a disk that others use a pull takes any time.
    let store = Path::new("/dev/shm").join(&project.name);
    let pull = || with_store(&project, &store, "exec compose pull");
    let begin = Instant::now();
    assert!(pull().output().unwrap().status.success());
    let mut whole = begin.elapsed();
    let (mut killed, mut round, mut partial) = (0, 0, 0);
    while killed < rounds {
        round += 1;
        assert!(round < 10 * rounds + 10, "only {killed} of {round} pulls could be killed");
        fs::remove_dir_all(&store).unwrap();
        let mut process = pull().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The moment is what is tried.
        let moment = part_of(whole, round);
        std::thread::sleep(moment);
        let _ = process.kill();
        match process.wait().unwrap().code() {
            None => killed += 1,
            // It was done by then.
            Some(_) => whole = moment,
        }
        let layers = assert_sound(&store);
        partial += usize::from((1..3).contains(&layers));
        let next = pull().output().unwrap();
        assert!(next.status.success(), "round {round}: {}", text(&next.stderr));
        assert_eq!(assert_sound(&store), 3, "round {round}");
        assert_eq!(names(&store.join("tmp")), [""; 0], "round {round}");
    }
    fs::remove_dir_all(&store).unwrap();
    // Of so many, some are killed between two layers.
    assert!(rounds < 50 || partial > 0, "{killed} of {round} pulls killed, none with some layers");
    project.down();
}

#[test]
fn a_disk_that_fills_during_a_pull() {
    let registry = Registry::plain();
    let project = project("pull-full", &registry);
    let [store, full, whole] = ["store", "full", "whole"].map(|name| project.folder.join(name));
    // The kernel says no only when nothing is left; the pull has ended before.
    let script = "mount -t tmpfs -o size=64m tmpfs /var/lib/compose/images
        compose pull && exit 3
        cp -a /var/lib/compose/images full
        mount -o remount,size=640m /var/lib/compose/images
        compose pull
        cp -a /var/lib/compose/images whole";
    let output = with_store(&project, &store, script).output().unwrap();
    let error = text(&output.stderr);
    assert!(output.status.success(), "{error}");
    assert!(error.contains("No space left on device: an image may not have the last"), "{error}");
    assert!(error.contains("/python"), "{error}");
    assert!(assert_sound(&full) < 3);
    assert_eq!(names(&full.join("tmp")), [""; 0]);
    assert_eq!(assert_sound(&whole), 3);
    project.down();
}

#[test]
fn a_registry_with_tls_and_a_password() {
    let folder = std::env::temp_dir().join(format!("composer-e2e-registry-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let registry = Registry::secured(&folder);
    let project = project("pull-secured", &registry);
    // The certificate is made known where Docker has it, for these processes alone.
    let known = format!(
        "mkdir -p etc/upper/docker/certs.d/{name} etc/work
        cp {}/crt etc/upper/docker/certs.d/{name}/ca.crt
        mount -t overlay -o lowerdir=/etc,upperdir=etc/upper,workdir=etc/work overlay /etc",
        folder.display(),
        name = registry.name
    );
    let store = project.folder.join("store");
    let run = |script: &str| with_store(&project, &store, script).output().unwrap();
    let pull = || run(&format!("{known}\ncompose pull"));
    for (output, words) in [(run("compose pull"), "UnknownIssuer"), (pull(), "it wants credentials")] {
        let error = text(&output.stderr);
        assert!(!output.status.success() && error.contains(words) && error.contains("/python"), "{error}");
    }
    assert_eq!(assert_sound(&store), 0);
    fs::create_dir(project.folder.join(".docker")).unwrap();
    // ann:secret
    let config = format!(r#"{{"auths": {{"{}": {{"auth": "YW5uOnNlY3JldA=="}}}}}}"#, registry.name);
    project.write(".docker/config.json", &config);
    let output = pull();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(assert_sound(&store), 3);
    fs::remove_dir_all(folder).unwrap();
    project.down();
}
