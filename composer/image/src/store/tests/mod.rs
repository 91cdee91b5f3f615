//! Images on disk, pulled into stores on disk.

mod crash;
mod pulls;
mod removal;
mod sources;

use std::path::{Path, PathBuf};

use super::{Image, Store};
use crate::error::Result;
use crate::platform::Platform;
use crate::pull::Policy;
use crate::reference::Reference;
use crate::testing::{Made, Scratch, write_index};
use crate::unpack::tests::Tar;

/// A store, and a folder for images.
struct World {
    scratch: Scratch,
    store: Store,
}

impl World {
    fn new() -> Self {
        let scratch = Scratch::new();
        let store = Store::open(&scratch.path().join("store")).unwrap();
        Self { scratch, store }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn reference(&self, text: &str) -> Reference {
        Reference::parse(text, self.scratch.path()).unwrap()
    }

    /// Writes a layout `name` with one image.
    fn layout(&self, name: &str, made: &Made) -> Reference {
        made.write(&self.path(name));
        write_index(&self.path(name), &[made.entry("")]);
        self.reference(&format!("oci:{name}"))
    }

    fn pull(&self, reference: &Reference) -> Result<Image> {
        self.store.pull(reference, &amd64(), Policy::Always, &|_| ())
    }

    fn find(&self, reference: &Reference) -> Option<Image> {
        self.store.find(reference, &amd64()).unwrap()
    }

    /// What is in a folder of the store, by name.
    fn names(&self, folder: &str) -> Vec<String> {
        names(&self.path("store").join(folder))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn amd64() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

fn layer(name: &str, content: &str) -> Vec<u8> {
    Tar::default().file(name, content).end()
}

/// An image of three layers.
fn three() -> Made {
    Made::new("amd64", &[layer("a", "1"), layer("b", "2"), layer("c", "3")])
}
