use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{World, amd64};
use crate::Store;
use crate::pull::Policy;
use crate::reference::Reference;
use crate::testing::{Made, noise};
use crate::unpack::tests::{Tar, With};

const FOLDER: &str = "COMPOSER_IMAGE_TEST_FOLDER";

/// Layers of several files, so that there are many moments to be killed in.
fn large() -> Made {
    let layers: Vec<Vec<u8>> = (0..4)
        .map(|layer| {
            (0..20)
                .fold(Tar::default(), |tar, file| {
                    let name = format!("{layer}/{file}");
                    tar.member(name.as_bytes(), b'0', &noise(20_000, layer * 100 + file), &With::default())
                })
                .end()
        })
        .collect();
    Made::new("amd64", &layers)
}

/// What the killed processes run: a pull that says on its output when it gets on.
fn process(folder: &Path) {
    use std::io::Write;
    let store = Store::open(&folder.join("store")).unwrap();
    let reference = Reference::parse("oci:image", folder).unwrap();
    let step = |_: crate::Event<'_>| {
        let mut output = std::io::stderr();
        output.write_all(b".").and_then(|()| output.flush()).unwrap();
    };
    store.pull(&reference, &amd64(), Policy::Always, &step).unwrap();
}

#[test]
fn killed_at_any_moment() {
    // The processes that it kills are this test once more.
    if let Some(folder) = std::env::var_os(FOLDER) {
        return process(Path::new(&folder));
    }
    let world = World::new();
    let made = large();
    let reference = world.layout("image", &made);
    let mut interrupted = 0;
    for round in 0..30_usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::crash::killed_at_any_moment", "--nocapture"])
            .env(FOLDER, world.scratch.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut steps = vec![0; 1 + round * 7 % 20];
        let got = child.stderr.take().unwrap().read_exact(&mut steps);
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        interrupted += usize::from(got.is_ok() && !ended.success());
        // Whatever is believed is whole.
        for name in world.names("layers/sha256") {
            let number = made.diff_ids.iter().position(|id| id.hex() == name).unwrap();
            let files = world.path("store/layers/sha256").join(&name).join("fs").join(number.to_string());
            for file in 0..20 {
                let content = fs::read(files.join(file.to_string())).unwrap();
                assert!(content == noise(20_000, number as u64 * 100 + file), "round {round}: {name}/{file}");
            }
        }
        if let Some(image) = world.find(&reference) {
            assert_eq!(image.layers.len(), 4);
        }
        // The next ends well, and finds nothing of the dead one's left.
        if round % 2 == 1 {
            world.pull(&reference).unwrap();
            assert!(world.names("tmp").is_empty(), "round {round}");
            world.store.prune(&[]).unwrap();
        }
    }
    assert!(interrupted > 10, "only {interrupted} of 30 were killed at work");
}

#[test]
fn a_disk_that_is_full() {
    let world = World::new();
    let reference = world.layout("image", &large());
    let disk = world.path("disk");
    fs::create_dir(&disk).unwrap();
    mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), c"size=1M").unwrap();
    let store = Store::open(&disk).unwrap();
    let full = store.pull(&reference, &amd64(), Policy::Always, &|_| ());
    let found = store.find(&reference, &amd64());
    let left = super::names(&disk.join("tmp"));
    // Somebody makes room.
    rustix::mount::mount_remount(&disk, MountFlags::empty(), c"size=16M").unwrap();
    let room = store.pull(&reference, &amd64(), Policy::Always, &|_| ());
    unmount(&disk, UnmountFlags::empty()).unwrap();

    let error = full.unwrap_err().to_string();
    assert!(error.contains("No space left on device") && error.contains("oci:"), "{error}");
    assert!(found.unwrap().is_none());
    assert_eq!(left, [""; 0]);
    assert_eq!(room.unwrap().layers.len(), 4);
}

#[test]
fn a_store_that_cannot_be_written() {
    let world = World::new();
    let reference = world.layout("image", &large());
    let disk = world.path("disk");
    fs::create_dir(&disk).unwrap();
    mount("tmpfs", &disk, "tmpfs", MountFlags::empty(), c"size=16M").unwrap();
    let store = Store::open(&disk).unwrap();
    store.pull(&reference, &amd64(), Policy::Always, &|_| ()).unwrap();
    rustix::mount::mount_remount(&disk, MountFlags::RDONLY, c"").unwrap();
    let found = Store::open(&disk).and_then(|store| store.find(&reference, &amd64()));
    let pulled = store.pull(&reference, &amd64(), Policy::Always, &|_| ());
    unmount(&disk, UnmountFlags::empty()).unwrap();
    assert!(found.unwrap().is_some(), "what is there can be used");
    let error = pulled.unwrap_err().to_string();
    assert!(error.contains("Read-only file system"), "{error}");
}
