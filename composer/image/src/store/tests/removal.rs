use std::fs;

use super::{World, amd64, layer, three};
use crate::digest::Digest;
use crate::error::Result;
use crate::store::Hold;
use crate::testing::Made;

fn unused() -> Result<Vec<Digest>> {
    Ok(Vec::new())
}

#[test]
fn whoever_makes_a_container_is_waited_for_before_it_is_asked_who_has_one() {
    let world = World::new();
    let reference = world.layout("image", &three());
    let image = world.pull(&reference).unwrap();
    let lock = world.path("store/lock");
    let asked = || -> Result<Vec<Digest>> {
        // Such a one shares the lock.
        assert!(Hold::alone_if_free(&lock).unwrap().is_none());
        Ok(vec![image.digest.clone()])
    };
    world.store.prune_where(asked, &|_| true).unwrap();
    assert!(world.find(&reference).is_some());
    let freed = world.store.remove(&reference, &amd64(), asked).unwrap();
    assert_eq!((freed.references.len(), freed.layers), (1, 0));
}

#[test]
fn shared_layers_stay() {
    let world = World::new();
    let one = Made::new("amd64", &[layer("a", "1"), layer("b", "22")]);
    let two = Made::new("amd64", &[layer("a", "1"), layer("c", "333")]);
    let (first, second) = (world.layout("one", &one), world.layout("two", &two));
    world.pull(&first).unwrap();
    world.pull(&second).unwrap();
    let freed = world.store.remove(&first, &amd64(), unused).unwrap();
    assert_eq!((freed.references, freed.layers, freed.bytes), (vec![first.to_string()], 1, 2));
    assert!(world.find(&first).is_none());
    assert_eq!(world.find(&second).unwrap().layers.len(), 2);
    assert_eq!(world.names("blobs/sha256").len(), 2);
    let error = world.store.remove(&first, &amd64(), unused).unwrap_err().to_string();
    assert!(error.contains("nothing to remove"), "{error}");
}

#[test]
fn prune_keeps_what_is_used() {
    let world = World::new();
    let one = Made::new("amd64", &[layer("a", "1")]);
    let two = Made::new("amd64", &[layer("b", "22")]);
    let reference = world.layout("image", &one);
    world.pull(&reference).unwrap();
    // The name moves on while a container still stands on the first.
    world.layout("image", &two);
    world.pull(&reference).unwrap();
    let freed = world.store.prune(&[one.manifest.clone(), two.manifest.clone()]).unwrap();
    assert_eq!(freed, crate::Freed::default());
    assert_eq!(world.names("layers/sha256").len(), 2);
    let freed = world.store.prune(std::slice::from_ref(&one.manifest)).unwrap();
    assert_eq!((freed.references.len(), freed.layers, freed.bytes), (1, 1, 2));
    assert_eq!(world.names("layers/sha256"), [one.diff_ids[0].hex()]);
    let freed = world.store.prune(&[]).unwrap();
    assert_eq!((freed.references.len(), freed.layers), (0, 1));
    for folder in ["images", "blobs/sha256", "layers/sha256", "tmp", "locks"] {
        assert!(world.names(folder).is_empty(), "{folder}");
    }
}

#[test]
fn by_id() {
    let world = World::new();
    let made = three();
    let one = world.layout("one", &made);
    let two = world.layout("two", &made);
    world.pull(&one).unwrap();
    world.pull(&two).unwrap();
    let freed = world.store.remove(&world.reference(made.config.hex()), &amd64(), unused).unwrap();
    assert_eq!(freed.references, [one.to_string(), two.to_string()]);
    assert_eq!(freed.layers, 3);
}

#[test]
fn nothing_goes_while_somebody_holds_the_store() {
    let world = World::new();
    let reference = world.layout("image", &three());
    world.pull(&reference).unwrap();
    let hold = world.store.hold().unwrap();
    fs::create_dir(world.path("store/tmp/another-1")).unwrap();
    world.store.sweep().unwrap();
    assert_eq!(world.names("tmp"), ["another-1"], "it may be somebody's who is at work");
    drop(hold);
    // A process that another test has just forked has the lock too, until it execs.
    while !world.names("tmp").is_empty() {
        drop(Hold::alone(&world.path("store/lock")).unwrap());
        world.store.sweep().unwrap();
    }
}

#[test]
fn what_is_damaged_is_pulled_anew() {
    let world = World::new();
    let made = three();
    let reference = world.layout("image", &made);
    let store = world.path("store");
    for damage in ["layer", "manifest", "config", "record"] {
        world.pull(&reference).unwrap();
        match damage {
            "layer" => fs::remove_dir_all(store.join("layers/sha256").join(made.diff_ids[1].hex())).unwrap(),
            "manifest" => fs::write(store.join("blobs/sha256").join(made.manifest.hex()), "{}").unwrap(),
            "config" => fs::write(store.join("blobs/sha256").join(made.config.hex()), "{}").unwrap(),
            _ => {
                let name = world.names("images").pop().unwrap();
                fs::write(store.join("images").join(name), "{").unwrap();
            }
        }
        assert!(world.find(&reference).is_none(), "{damage}");
        assert!(world.store.list().unwrap().is_empty(), "{damage}");
    }
    assert_eq!(world.pull(&reference).unwrap().layers.len(), 3);
}
