//! What a volume has after a copy, whatever was in its way.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder for a test, with what is copied and an empty volume.
fn world(name: &str) -> (PathBuf, OwnedFd, OwnedFd) {
    let folder = std::env::temp_dir().join(format!("compose-fill-{name}-{}", std::process::id()));
    for part in ["source/inner", "volume"] {
        fs::create_dir_all(folder.join(part)).unwrap();
    }
    fs::write(folder.join("source/inner/file"), "text").unwrap();
    let open = |part: &str| rustix::fs::open(folder.join(part), FOLDER, Mode::empty()).unwrap();
    let (source, volume) = (open("source"), open("volume"));
    (folder, source, volume)
}

#[test]
fn attributes_come_along() {
    let (folder, source, volume) = world("attributes");
    let file = folder.join("source/inner/file");
    rustix::fs::setxattr(&file, c"user.kind", b"sort", XattrFlags::empty()).unwrap();
    fs::hard_link(&file, folder.join("source/other")).unwrap();
    filled(&source, &volume).unwrap();
    let mut value = [0; 8];
    for copy in ["volume/inner/file", "volume/other"] {
        let length = rustix::fs::getxattr(folder.join(copy), c"user.kind", &mut value).unwrap();
        assert_eq!(&value[..length], b"sort");
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_somebody_writes_meanwhile_stays() {
    let (folder, source, volume) = world("meanwhile");
    fs::create_dir_all(folder.join("volume/.compose-filled/inner")).unwrap();
    fs::create_dir(folder.join("volume/inner")).unwrap();
    fs::write(folder.join("volume/inner/mine"), "").unwrap();
    filled(&source, &volume).unwrap();
    let names: Vec<_> = names(volume.as_fd()).map(|name| name.unwrap().into_string().unwrap()).collect();
    assert_eq!(names, ["inner"]);
    assert!(folder.join("volume/inner/mine").exists());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn links_that_others_put_in_the_way_lead_nowhere() {
    let (folder, source, volume) = world("links");
    for name in [".compose-filling", ".compose-filled"] {
        let link = folder.join("volume").join(name);
        std::os::unix::fs::symlink(folder.join("source"), &link).unwrap();
        filled(&source, &volume).unwrap();
        assert!(link.is_symlink() && !folder.join("volume/inner").exists(), "{name} is somebody's own");
        assert!(folder.join("source/inner/file").exists());
        fs::remove_file(link).unwrap();
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_another_user_calls_so_is_its_own() {
    let (folder, source, volume) = world("forged");
    for name in [".compose-filling", ".compose-filled"] {
        let forged = folder.join("volume").join(name);
        fs::create_dir(&forged).unwrap();
        fs::write(forged.join("mine"), "").unwrap();
        std::os::unix::fs::chown(&forged, Some(1000), Some(1000)).unwrap();
        filled(&source, &volume).unwrap();
        assert!(forged.join("mine").exists() && !folder.join("volume/mine").exists(), "{name}");
        assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.join("volume")).unwrap()), 0);
        fs::remove_dir_all(forged).unwrap();
    }
    fs::remove_dir_all(folder).unwrap();
}
