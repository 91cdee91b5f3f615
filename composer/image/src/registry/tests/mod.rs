//! Pulls from registries on loopback: Debian's `docker-registry`, and one of our own that fails as it is told.

mod faulty;
mod real;
mod ways;

use crate::error::Result;
use crate::platform::Platform;
use crate::progress::Event;
use crate::pull::Policy;
use crate::reference::Reference;
use crate::registry::Registries;
use crate::store::{Image, Store};
use crate::testing::{Made, Scratch, noise};
use crate::unpack::tests::{Tar, With};

fn image() -> Made {
    let layer = |name: &str, seed| {
        Tar::default().member(name.as_bytes(), b'0', &noise(300_000, seed), &With::default()).end()
    };
    Made::new("amd64", &[layer("a", 1), layer("b", 2), layer("c", 3)])
}

fn platform() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

fn pull(scratch: &Scratch, reference: &str, registries: Registries) -> Result<Image> {
    pull_with(scratch, reference, registries, &|_| ())
}

fn pull_with(
    scratch: &Scratch,
    reference: &str,
    registries: Registries,
    progress: &(dyn Fn(Event<'_>) + Sync),
) -> Result<Image> {
    let store = Store::open(&scratch.path().join("store")).unwrap().with_registries(registries);
    let reference = Reference::parse(reference, scratch.path()).unwrap();
    store.pull(&reference, &platform(), Policy::Always, progress)
}

/// That the layers have what they should.
fn assert_whole(image: &Image) {
    for (folder, (name, seed)) in image.layers.iter().zip([("a", 1), ("b", 2), ("c", 3)]) {
        assert!(std::fs::read(folder.join(name)).unwrap() == noise(300_000, seed), "{name}");
    }
}

fn refusal(result: Result<Image>) -> String {
    result.expect_err("it was pulled").to_string()
}

#[test]
fn loopback() {
    use super::is_loopback;
    for name in ["localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
        assert!(is_loopback(name), "{name}");
    }
    for name in ["ghcr.io", "localhost.example.org", "10.0.0.1:5000", "[::2]", "127.example.org"] {
        assert!(!is_loopback(name), "{name}");
    }
}
