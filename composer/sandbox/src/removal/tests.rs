//! Trees that a container could have made.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::fs::mkdirat;

use super::*;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("composer-removal-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn a_tree_deeper_than_paths_and_descriptors_go() {
    let top = folder("deep");
    let mut at = openat(CWD, &top, FOLDER, Mode::empty()).unwrap();
    for _ in 0..5_000 {
        mkdirat(&at, c"d", Mode::RWXU).unwrap();
        drop(openat(&at, c"f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
        at = openat(&at, c"d", FOLDER, Mode::empty()).unwrap();
    }
    remove(&top).unwrap();
    assert!(!top.exists());
    remove(&top).unwrap();
}

#[test]
fn links_lead_nowhere_and_names_that_are_taken_do_not_matter() {
    let (top, other) = (folder("links"), folder("other"));
    fs::write(other.join("kept"), "").unwrap();
    symlink(&other, top.join("link")).unwrap();
    for inner in [".1/.1/.2/.3", ".2/.2", ".3", "a/.1/x", "a/.2"] {
        fs::create_dir_all(top.join(inner)).unwrap();
    }
    fs::write(top.join(".4"), "").unwrap();
    symlink(&other, top.join("a/.1/x/link")).unwrap();
    remove(&top).unwrap();
    assert!(!top.exists() && other.join("kept").exists());
    symlink(&other, &top).unwrap();
    remove(&top).unwrap();
    assert!(!top.is_symlink() && other.join("kept").exists());
    remove(&other).unwrap();
}

#[test]
fn one_that_others_remove_too_is_gone() {
    let top = folder("both");
    for number in 0..200 {
        fs::create_dir_all(top.join(format!("{number}/a/b/c"))).unwrap();
        fs::write(top.join(format!("{number}/a/f")), "").unwrap();
    }
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| remove(&top).unwrap());
        }
    });
    assert!(!top.exists());
}
