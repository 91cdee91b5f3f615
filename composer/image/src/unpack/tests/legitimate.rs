//! What layers have in them arrives as it was, and overlayfs understands it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::{Tar, With, World};
use crate::digest::Digest;
use crate::testing::Scratch;

fn tar() -> Tar {
    Tar::default()
}

fn xattr(path: &Path, key: &str) -> Option<Vec<u8>> {
    let mut value = [0; 256];
    match rustix::fs::lgetxattr(path, key, &mut value) {
        Ok(length) => Some(value[..length].to_vec()),
        Err(rustix::io::Errno::NODATA) => None,
        Err(error) => panic!("{key} of {}: {error}", path.display()),
    }
}

#[test]
fn owners_modes_and_times() {
    let with =
        |mode, uid| With { mode: Some(mode), owner: (uid, uid + 1), modified: 1_000_000, ..With::default() };
    let archive = tar()
        .member(b"./", b'5', b"", &with(0o1777, 7))
        .member(b"d", b'5', b"", &with(0o2750, 1))
        .member(b"d/su", b'0', b"x", &with(0o6755, 2))
        .member(b"d/s", b'2', b"", &With { link: b"su".to_vec(), ..with(0o777, 3) })
        .member(b"d/p", b'6', b"", &with(0o640, 4))
        .member(b"d/null", b'3', b"", &With { device: (1, 3), ..with(0o666, 5) })
        .member(b"d/disk", b'4', b"", &With { device: (259, 300), ..with(0o660, 6) })
        .end();
    let world = World::new();
    let unpacked = world.unpack(&archive).unwrap();
    assert_eq!((unpacked.bytes, unpacked.entries), (1, 7));
    assert_eq!(unpacked.diff_id, Digest::of(&archive));
    for (name, mode, uid) in [
        ("", 0o041_777, 7),
        ("d", 0o042_750, 1),
        ("d/su", 0o106_755, 2),
        ("d/s", 0o120_777, 3),
        ("d/p", 0o010_640, 4),
        ("d/null", 0o020_666, 5),
        ("d/disk", 0o060_660, 6),
    ] {
        let at = fs::symlink_metadata(world.layer().join(name)).unwrap();
        assert_eq!((at.mode(), at.uid(), at.gid(), at.mtime()), (mode, uid, uid + 1, 1_000_000), "{name}");
    }
    let device = |name| fs::symlink_metadata(world.layer().join(name)).unwrap().rdev();
    assert_eq!(device("d/null"), rustix::fs::makedev(1, 3));
    assert_eq!(device("d/disk"), rustix::fs::makedev(259, 300));
    assert_eq!(fs::read_link(world.layer().join("d/s")).unwrap(), Path::new("su"));
    assert!(fs::symlink_metadata(world.layer().join("d/p")).unwrap().file_type().is_fifo());
}

#[test]
fn extended_headers() {
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let long = format!("{}/{}", "a".repeat(120), "b".repeat(120));
    let archive = tar()
        .pax(&[("path", long.as_bytes()), ("mtime", b"1700000000.123456789"), ("uid", b"3000000000")])
        .file("short", "long")
        .pax(&[("linkpath", long.as_bytes())])
        .symlink("s", "short")
        .pax(&[("SCHILY.xattr.security.capability", &capability), ("SCHILY.xattr.user.x", b"one\ntwo")])
        .member(b"ping", b'0', b"x", &With { mode: Some(0o755), owner: (5, 5), ..With::default() })
        .pax(&[("SCHILY.xattr.user.x", b"of a folder")])
        .folder("d")
        .end();
    let world = World::new();
    world.unpack(&archive).unwrap();
    let at = fs::metadata(world.layer().join(&long)).unwrap();
    assert_eq!((at.mtime(), at.mtime_nsec(), at.uid()), (1_700_000_000, 123_456_789, 3_000_000_000));
    assert_eq!(fs::read_link(world.layer().join("s")).unwrap(), Path::new(&long));
    // Taken away by a change of owner, had it not been set after.
    assert_eq!(xattr(&world.layer().join("ping"), "security.capability").unwrap(), capability);
    assert_eq!(xattr(&world.layer().join("ping"), "user.x").unwrap(), b"one\ntwo");
    assert_eq!(xattr(&world.layer().join("d"), "user.x").unwrap(), b"of a folder");
}

#[test]
fn long_names_of_gnu() {
    let long = format!("{}/{}", "a".repeat(120), "b".repeat(120));
    let zero = |text: &str| [text.as_bytes(), b"\0"].concat();
    let archive = tar()
        .member(b"././@LongLink", b'L', &zero(&long), &With::default())
        .file("short", "x")
        .member(b"././@LongLink", b'K', &zero(&long), &With::default())
        .hardlink("h", "short")
        .end();
    let world = World::new();
    world.unpack(&archive).unwrap();
    let of = |name: &str| fs::metadata(world.layer().join(name)).unwrap();
    assert_eq!(of(&long).ino(), of("h").ino());
    assert_eq!(of("h").nlink(), 2);
}

#[test]
fn holes_stay_holes() {
    const SIZE: u64 = 8 << 20;
    let map = format!("0,3,{},4", SIZE - 4);
    let mut data = format!("2\n0\n3\n{}\n4\n", SIZE - 4).into_bytes();
    data.resize(512, 0);
    data.extend(b"abcwxyz");
    let size = SIZE.to_string();
    let archive = tar()
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"mapped"),
            ("GNU.sparse.realsize", size.as_bytes()),
        ])
        .member(b"GNUSparseFile.1/mapped", b'0', &data, &With::default())
        .pax(&[
            ("GNU.sparse.name", b"listed"),
            ("GNU.sparse.size", size.as_bytes()),
            ("GNU.sparse.map", map.as_bytes()),
        ])
        .member(b"x", b'0', b"abcwxyz", &With::default())
        .end();
    let world = World::new();
    let unpacked = world
        .unpack_within(&archive, &crate::Limits { entries: 9, bytes: 2 * SIZE, names: 100_000 })
        .unwrap();
    assert_eq!(unpacked.bytes, 2 * SIZE);
    for name in ["mapped", "listed"] {
        let content = fs::read(world.layer().join(name)).unwrap();
        assert_eq!(content.len() as u64, SIZE);
        assert!(content.starts_with(b"abc\0") && content.ends_with(b"\0wxyz"), "{name}");
        assert_eq!(content.iter().filter(|byte| **byte != 0).count(), 7, "{name}");
        let held = fs::metadata(world.layer().join(name)).unwrap().blocks() * 512;
        assert!(held < SIZE / 8, "{name} takes {held} bytes");
    }
}

/// The tool that most layers' archives are like, in each of its formats.
#[test]
fn what_gnu_tar_writes() {
    use std::io::{Seek, SeekFrom};
    let scratch = Scratch::new();
    let from = scratch.path().join("from");
    let deep = from.join("d".repeat(90)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("f".repeat(100)), "long").unwrap();
    fs::write(from.join("a"), "a").unwrap();
    fs::hard_link(from.join("a"), from.join("b")).unwrap();
    std::os::unix::fs::symlink("x".repeat(150), from.join("s")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, from.join("p"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .unwrap();
    rustix::fs::setxattr(from.join("a"), "user.x", b"one\ntwo\0", rustix::fs::XattrFlags::empty()).unwrap();
    // More pieces than a header has room for.
    let mut sparse = fs::File::create(from.join("sparse")).unwrap();
    for piece in 0..40_u64 {
        sparse.seek(SeekFrom::Start(piece * 200_000)).unwrap();
        write!(sparse, "piece {piece}").unwrap();
    }
    sparse.set_len(9_000_000).unwrap();
    for (format, has_attributes) in [("gnu", false), ("oldgnu", false), ("posix", true)] {
        let mut command = std::process::Command::new("tar");
        command.arg("-C").arg(&from).args(["--sparse", "--format", format, "-cf", "-", "."]);
        if has_attributes {
            command.args(["--xattrs", "--xattrs-include=*"]);
        }
        let written = command.output().unwrap();
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
        let world = World::new();
        world.unpack(&written.stdout).unwrap_or_else(|error| panic!("{format}: {error}"));
        let to = world.layer();
        let relative = deep.strip_prefix(&from).unwrap().join("f".repeat(100));
        assert_eq!(fs::read_to_string(to.join(relative)).unwrap(), "long");
        assert_eq!(fs::metadata(to.join("a")).unwrap().ino(), fs::metadata(to.join("b")).unwrap().ino());
        assert_eq!(fs::read_link(to.join("s")).unwrap(), Path::new(&"x".repeat(150)));
        assert!(fs::symlink_metadata(to.join("p")).unwrap().file_type().is_fifo());
        assert!(fs::read(to.join("sparse")).unwrap() == fs::read(from.join("sparse")).unwrap(), "{format}");
        assert!(fs::metadata(to.join("sparse")).unwrap().blocks() < 2000, "{format}");
        let expected = has_attributes.then(|| b"one\ntwo\0".to_vec());
        assert_eq!(xattr(&to.join("a"), "user.x"), expected, "{format}");
    }
}

#[test]
fn every_compression() {
    let plain = tar().file("f", &"text ".repeat(5000)).end();
    let gzip = |bytes: &[u8]| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gzip.write_all(bytes).unwrap();
        gzip.finish().unwrap()
    };
    let (first, second) = plain.split_at(700);
    let members = [gzip(first), gzip(second)].concat();
    let frames = [zstd::encode_all(first, 3).unwrap(), zstd::encode_all(second, 3).unwrap()].concat();
    for archive in
        [plain.clone(), gzip(&plain), zstd::encode_all(plain.as_slice(), 3).unwrap(), members, frames]
    {
        let world = World::new();
        assert_eq!(world.unpack(&archive).unwrap().diff_id, Digest::of(&plain));
        assert_eq!(fs::read_to_string(world.layer().join("f")).unwrap(), "text ".repeat(5000));
    }
}

#[test]
fn whiteouts_hide_lower_layers_only() {
    let archive = tar()
        .file(".wh.gone", "")
        .file("kept", "x")
        .file(".wh.kept", "")
        .file("dir/new", "x")
        .file("dir/.wh..wh..opq", "")
        .file(".wh.again", "")
        .file("again/new", "x")
        .file(".wh.anew", "")
        .folder("anew")
        .file("both/new", "x")
        .file(".wh.both", "")
        .file(".wh..wh.plnk/1", "")
        .end();
    let world = World::new();
    let archive_without = tar().file(".wh..wh.aufs", "").end();
    world.unpack(&archive_without).unwrap();
    assert_eq!(fs::read_dir(world.layer()).unwrap().count(), 0, "AUFS's own files are none of the image");
    // A folder of AUFS is refused as any other whiteout with something in it.
    assert!(world.unpack(&archive).is_err());

    let at = |name: &str| world.layer().join(name);
    let is_whiteout = |name: &str| {
        let found = fs::symlink_metadata(at(name)).unwrap();
        found.file_type().is_char_device() && found.rdev() == 0
    };
    assert!(is_whiteout("gone"));
    assert_eq!(fs::read_to_string(at("kept")).unwrap(), "x");
    for name in ["dir", "again", "anew", "both"] {
        assert_eq!(xattr(&at(name), "trusted.overlay.opaque").as_deref(), Some(b"y".as_slice()), "{name}");
    }
    assert!(at("dir/new").exists() && at("again/new").exists() && at("both/new").exists());
}

#[test]
fn overlayfs_shows_the_image() {
    let (lower, upper) = (World::new(), World::new());
    lower
        .unpack(&tar().file("a", "1").file("b", "1").file("d/x", "1").file("e/x", "1").file("f", "1").end())
        .unwrap();
    upper
        .unpack(
            &tar()
                .file(".wh.a", "")
                .file("b", "2")
                .file("d/.wh..wh..opq", "")
                .file("d/y", "2")
                .file("e/y", "2")
                .file(".wh.f", "")
                .folder("f")
                .end(),
        )
        .unwrap();
    let scratch = Scratch::new();
    let options = format!("lowerdir={}:{}", upper.layer().display(), lower.layer().display());
    let options = std::ffi::CString::new(options).unwrap();
    mount("overlay", scratch.path(), "overlay", MountFlags::RDONLY, options.as_c_str()).unwrap();
    let mut found = Vec::new();
    let mut rest = vec![scratch.path().to_owned()];
    while let Some(folder) = rest.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                rest.push(path.clone());
            }
            found.push(path.strip_prefix(scratch.path()).unwrap().to_str().unwrap().to_owned());
        }
    }
    let b = fs::read_to_string(scratch.path().join("b")).unwrap();
    unmount(scratch.path(), UnmountFlags::empty()).unwrap();
    found.sort();
    assert_eq!(found, ["b", "d", "d/y", "e", "e/x", "e/y", "f"]);
    assert_eq!(b, "2");
}
