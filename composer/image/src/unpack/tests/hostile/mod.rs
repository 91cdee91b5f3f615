//! Archives that want out of their folder, or more than their share; and for each the honest one that looks like it.

mod amounts;
mod forms;
mod paths;

use std::path::Path;

use super::{Tar, World};
use crate::unpack::Limits;

/// What must become of a hostile archive.
enum Then {
    /// Refused, with these words.
    Refused(&'static str),
    /// Unpacked, with these paths in the layer.
    Contained(Vec<String>),
}
use Then::{Contained, Refused};

/// Unpacks both. `twin_has` are paths that the honest one leaves in the layer.
#[track_caller]
fn judge(hostile: impl FnOnce(&World) -> (Vec<u8>, Then), twin: Vec<u8>, twin_has: &[&str]) {
    judge_within(&Limits { entries: 1000, bytes: 4 << 20, names: 100_000 }, hostile, twin, twin_has);
}

#[track_caller]
fn judge_within(
    limits: &Limits,
    hostile: impl FnOnce(&World) -> (Vec<u8>, Then),
    twin: Vec<u8>,
    twin_has: &[&str],
) {
    let world = World::new();
    let (archive, then) = hostile(&world);
    let result = world.unpack_within(&archive, limits);
    world.assert_untouched("the hostile one");
    match (then, result) {
        (Refused(words), Err(error)) => {
            let error = error.to_string();
            assert!(error.contains(words), "`{error}` does not say `{words}`");
        }
        (Contained(paths), Ok(_)) => has(&world.layer(), paths.iter().map(String::as_str)),
        (Refused(_), Ok(_)) => panic!("the hostile one was unpacked"),
        (Contained(_), Err(error)) => panic!("the hostile one was refused: {error}"),
    }
    let world = World::new();
    world.unpack_within(&twin, limits).unwrap_or_else(|error| panic!("the honest one was refused: {error}"));
    world.assert_untouched("the honest one");
    has(&world.layer(), twin_has.iter().copied());
}

#[track_caller]
fn has<'a>(layer: &Path, paths: impl Iterator<Item = &'a str>) {
    for path in paths {
        let found = layer.join(path.trim_start_matches('/'));
        assert!(found.symlink_metadata().is_ok(), "`{path}` is not there");
    }
}

fn tar() -> Tar {
    Tar::default()
}

fn refused(tar: Tar, words: &'static str) -> (Vec<u8>, Then) {
    (tar.end(), Refused(words))
}

fn contained(tar: Tar, paths: &[&str]) -> (Vec<u8>, Then) {
    (tar.end(), Contained(paths.iter().map(|path| (*path).to_owned()).collect()))
}
