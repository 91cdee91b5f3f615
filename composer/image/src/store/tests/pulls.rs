use std::fs;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, SystemTime};

use super::{World, amd64, layer, three};
use crate::progress::Event;
use crate::pull::Policy;
use crate::testing::Made;
use crate::unpack::Unpacked;
use crate::{Digest, Store};

#[test]
fn what_is_there_is_not_moved_again() {
    let world = World::new();
    let first = Made::new("amd64", &[layer("a", "1"), layer("b", "2")]);
    world.pull(&world.layout("one", &first)).unwrap();
    // Another image on the same two layers, whose blobs are not even there.
    let second = Made::new("amd64", &[layer("a", "1"), layer("b", "2"), layer("c", "3")]);
    let reference = world.layout("two", &second);
    for (digest, _) in &second.blobs[..2] {
        fs::remove_file(world.path("two/blobs/sha256").join(digest.hex())).unwrap();
    }
    let moved = Mutex::new(Vec::new());
    let image = world
        .store
        .pull(&reference, &amd64(), Policy::Missing, &|event| {
            if let Event::Advanced { layer, .. } = event {
                moved.lock().unwrap().push(layer.clone());
            }
        })
        .unwrap();
    assert_eq!(image.layers.len(), 3);
    moved.lock().unwrap().dedup();
    assert_eq!(*moved.lock().unwrap(), [second.blobs[2].0.clone()]);
}

#[test]
fn policies() {
    let world = World::new();
    let reference = world.layout("image", &three());
    let pull = |policy| world.store.pull(&reference, &amd64(), policy, &|_| ());
    let error = pull(Policy::Never).unwrap_err().to_string();
    assert!(error.contains("pull policy is `never`"), "{error}");
    pull(Policy::Missing).unwrap();
    fs::remove_dir_all(world.path("image")).unwrap();
    for policy in [Policy::Never, Policy::Missing, Policy::After(Duration::from_secs(3600))] {
        pull(policy).unwrap();
    }
    for policy in [Policy::Always, Policy::After(Duration::ZERO)] {
        let error = pull(policy).unwrap_err().to_string();
        assert!(error.contains("index.json") && error.contains("No such file"), "{error}");
    }
    assert!(pull(Policy::Missing).unwrap().pulled <= SystemTime::now());
    let id = world.reference(&"ab".repeat(32));
    let error = world.store.pull(&id, &amd64(), Policy::Always, &|_| ()).unwrap_err().to_string();
    assert!(error.contains("an id cannot be pulled"), "{error}");
}

#[test]
fn every_digest_is_verified() {
    let whole = three();
    for (number, (digest, bytes)) in whole.blobs.iter().enumerate() {
        for change in ["flipped", "shorter", "longer", "gone"] {
            let world = World::new();
            let reference = world.layout("image", &whole);
            let path = world.path("image/blobs/sha256").join(digest.hex());
            let mut bytes = bytes.clone();
            match change {
                "flipped" => *bytes.last_mut().unwrap() ^= 1,
                "shorter" => bytes.truncate(bytes.len() - 1),
                "longer" => bytes.push(0),
                _ => bytes.clear(),
            }
            fs::write(&path, &bytes).unwrap();
            if change == "gone" {
                fs::remove_file(&path).unwrap();
            }
            let error = world.pull(&reference).unwrap_err().to_string();
            let says = match change {
                "gone" => "No such file",
                "longer" if number < 3 => "longer than",
                _ => "digest is sha256:",
            };
            assert!(error.contains(says), "blob {number} {change}: {error}");
            assert!(world.find(&reference).is_none());
            assert!(world.names("tmp").is_empty() && world.names("images").is_empty());
            if number < 3 {
                assert!(!world.names("layers/sha256").contains(&whole.diff_ids[number].hex().to_owned()));
            }
            // With the right content it ends well.
            whole.write(&world.path("image"));
            world.pull(&reference).unwrap();
        }
    }
}

#[test]
fn what_a_layer_unpacks_to_is_verified() {
    let world = World::new();
    let lying = Digest::of(b"something else").to_string();
    let honest = Digest::of(&layer("a", "1")).to_string();
    let made = Made::with("amd64", &[layer("a", "1")], |text| text.replace(&honest, &lying));
    let reference = world.layout("image", &made);
    let error = world.pull(&reference).unwrap_err().to_string();
    assert!(error.contains("unpacked, is not what was asked for"), "{error}");
    assert!(world.names("layers/sha256").is_empty() && world.names("tmp").is_empty());
}

#[test]
fn documents_that_disagree() {
    let world = World::new();
    let one = Digest::of(&layer("a", "1")).to_string();
    let made = Made::with("amd64", &[layer("a", "1")], |text| {
        text.replace(&format!("[\"{one}\"]"), &format!("[\"{one}\",\"{one}\"]"))
    });
    let error = world.pull(&world.layout("image", &made)).unwrap_err().to_string();
    assert!(error.contains("it speaks of 2 layers, the manifest of 1"), "{error}");
}

#[test]
fn a_hostile_layer_leaves_nothing() {
    let world = World::new();
    let bad = crate::unpack::tests::Tar::default().file("fine", "x").file("../../../escaped", "x").end();
    let made = Made::new("amd64", &[layer("a", "1"), bad]);
    let reference = world.layout("image", &made);
    let error = world.pull(&reference).unwrap_err().to_string();
    assert!(error.contains("oci:") && error.contains("leads out of the layer"), "{error}");
    assert!(world.names("tmp").is_empty() && world.names("images").is_empty());
    assert!(!world.names("layers/sha256").contains(&made.diff_ids[1].hex().to_owned()));
}

#[test]
fn who_comes_second_uses_what_the_first_makes() {
    let world = World::new();
    let diff_id = Digest::of(b"a layer");
    let (started, when_started) = channel();
    let (waits, when_waits) = channel();
    let (first_store, first_id) = (&world.store, &diff_id);
    let other = Store::open(&world.path("store")).unwrap();
    let unpacked = move || Unpacked { diff_id: Digest::of(b"any"), bytes: 1, entries: 1 };
    std::thread::scope(|scope| {
        let first = scope.spawn(move || {
            first_store.layer(
                first_id,
                || panic!("nobody else is there"),
                |_| {
                    started.send(()).unwrap();
                    when_waits.recv().unwrap();
                    Ok(unpacked())
                },
            )
        });
        when_started.recv().unwrap();
        let second =
            other.layer(&diff_id, || waits.send(()).unwrap(), |_| panic!("it has been made by the first"));
        assert!(!second.unwrap());
        assert!(first.join().unwrap().unwrap());
    });
    assert!(world.names("locks").is_empty());

    // One that fails leaves it to the next.
    let diff_id = Digest::of(b"another");
    let failed = world.store.layer(&diff_id, || (), |_| Err(crate::Error::Cancelled));
    assert!(failed.is_err() && !world.store.has_layer(&diff_id));
    assert!(other.layer(&diff_id, || (), |_| Ok(unpacked())).unwrap());
}

#[test]
fn many_at_once() {
    let world = World::new();
    let reference = world.layout("image", &three());
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let store = Store::open(&world.path("store")).unwrap();
                    store.pull(&reference, &amd64(), Policy::Always, &|_| ()).map(|image| image.layers.len())
                })
            })
            .collect();
        for pull in pulls {
            assert_eq!(pull.join().unwrap().unwrap(), 3);
        }
    });
    assert!(world.names("tmp").is_empty());
    assert_eq!(world.names("layers/sha256").len(), 3);
}
