//! Archives that want out of their folder, or more than their share; and for each the honest one that looks like it.

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Tar, With, World};
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
    judge_within(&Limits { entries: 1000, bytes: 4 << 20 }, hostile, twin, twin_has);
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

#[test]
fn absolute_path() {
    judge(
        |world| {
            let path = format!("{}/new", world.outside());
            contained(tar().file(&path, "x"), &[&path])
        },
        tar().file("etc/new", "x").end(),
        &["etc/new"],
    );
}

#[test]
fn parent_folder() {
    judge(
        |_| refused(tar().file("../../outside/canary", "dead"), "leads out of the layer"),
        tar().folder("a").file("a/../b", "x").end(),
        &["a", "b"],
    );
}

#[test]
fn parent_folder_in_the_middle() {
    judge(
        |_| refused(tar().file("a/../../../outside/new", "x"), "leads out of the layer"),
        tar().file("a/./b//c", "x").end(),
        &["a/b/c"],
    );
}

#[test]
fn through_an_absolute_symlink() {
    judge(
        |world| refused(tar().symlink("s", &world.outside()).file("s/canary", "dead"), "make the folder of"),
        tar().folder("usr/lib").symlink("lib", "/usr/lib").file("lib/x", "x").end(),
        &["usr/lib/x"],
    );
}

#[test]
fn through_a_relative_symlink() {
    judge(
        |_| refused(tar().symlink("s", "../../outside").file("s/canary", "dead"), "make the folder of"),
        tar().folder("real").symlink("a/s", "../real").file("a/s/x", "x").end(),
        &["real/x"],
    );
}

#[test]
fn through_a_chain_of_symlinks() {
    judge(
        |world| {
            let tar = tar().symlink("a", "b").symlink("b", "c").symlink("c", &world.outside());
            refused(tar.file("a/new", "x"), "make the folder of")
        },
        tar().symlink("a", "b").symlink("b", "c").folder("c").file("a/x", "x").end(),
        &["c/x"],
    );
}

#[test]
fn through_a_magic_link() {
    judge(
        |world| {
            let target = format!("/proc/self/root{}", world.outside());
            refused(tar().symlink("s", &target).file("s/new", "x"), "make the folder of")
        },
        tar().folder("proc/self").symlink("s", "/proc/self").file("s/x", "x").end(),
        &["proc/self/x"],
    );
}

#[test]
fn through_a_symlink_of_a_loop() {
    judge(
        |_| refused(tar().symlink("a", "b").symlink("b", "a").file("a/x", "x"), "make the folder of"),
        tar().symlink("a", "b").symlink("b", "a").file("c", "x").end(),
        &["a", "b", "c"],
    );
}

#[test]
fn a_file_over_a_symlink() {
    judge(
        |world| {
            let target = format!("{}/canary", world.outside());
            contained(tar().symlink("s", &target).file("s", "dead"), &["s"])
        },
        tar().file("s", "one").file("s", "two").end(),
        &["s"],
    );
}

#[test]
fn a_folder_over_a_symlink() {
    judge(
        |world| {
            contained(tar().symlink("s", &world.outside()).folder("s").file("s/canary", "x"), &["s/canary"])
        },
        tar().folder("s").file("s/a", "x").folder("s").file("s/b", "x").end(),
        &["s/a", "s/b"],
    );
}

#[test]
fn a_symlink_over_a_folder_whose_time_is_set_last() {
    judge(
        |world| contained(tar().folder("d").file("d/x", "x").symlink("d", &world.outside()), &["d"]),
        tar().folder("d").symlink("d/s", "..").end(),
        &["d/s"],
    );
}

#[test]
fn a_device_over_a_symlink() {
    judge(
        |world| {
            let target = format!("{}/canary", world.outside());
            contained(tar().symlink("s", &target).device("s", b'3', 1, 3), &["s"])
        },
        tar().file("s", "x").device("s", b'3', 1, 3).end(),
        &["s"],
    );
}

#[test]
fn a_fifo_over_a_symlink() {
    judge(
        |world| {
            let target = format!("{}/canary", world.outside());
            contained(tar().symlink("s", &target).device("s", b'6', 0, 0), &["s"])
        },
        tar().device("s", b'6', 0, 0).end(),
        &["s"],
    );
}

#[test]
fn a_hard_link_to_an_absolute_path() {
    judge(
        |world| {
            let target = format!("{}/canary", world.outside());
            refused(tar().hardlink("h", &target).file("h", "dead"), "not in the layer")
        },
        tar().file("f", "x").hardlink("h", "/f").end(),
        &["h"],
    );
}

#[test]
fn a_hard_link_to_a_parent() {
    judge(
        |_| refused(tar().hardlink("h", "../../outside/canary"), "leads out of the layer"),
        tar().file("f", "x").hardlink("a/h", "a/../f").end(),
        &["a/h"],
    );
}

#[test]
fn a_hard_link_through_a_symlink() {
    judge(
        |world| refused(tar().symlink("s", &world.outside()).hardlink("h", "s/canary"), "not in the layer"),
        tar().file("d/f", "x").symlink("s", "d").hardlink("h", "s/f").end(),
        &["h"],
    );
}

#[test]
fn a_hard_link_to_a_symlink_that_is_written_to() {
    judge(
        |world| {
            let target = format!("{}/canary", world.outside());
            contained(tar().symlink("s", &target).hardlink("h", "s").file("h", "dead"), &["s", "h"])
        },
        tar().symlink("s", "nowhere").hardlink("h", "s").end(),
        &["s", "h"],
    );
}

#[test]
fn a_hard_link_placed_through_a_symlink() {
    judge(
        |world| {
            let tar = tar().file("f", "x").symlink("s", &world.outside()).hardlink("s/h", "f");
            refused(tar, "make the folder of")
        },
        tar().file("f", "x").folder("d").symlink("s", "d").hardlink("s/h", "f").end(),
        &["d/h"],
    );
}

#[test]
fn a_hard_link_to_itself() {
    judge(
        |_| refused(tar().file("f", "x").hardlink("f", "./f"), "a hard link to itself"),
        tar().file("f", "x").hardlink("g", "f").hardlink("g", "f").end(),
        &["f", "g"],
    );
}

#[test]
fn a_hard_link_to_a_folder() {
    judge(
        |_| refused(tar().folder("d").hardlink("d/loop", "d"), "a hard link to a folder"),
        tar().folder("d").symlink("d/loop", ".").end(),
        &["d/loop"],
    );
}

#[test]
fn a_hard_link_to_what_is_gone() {
    judge(
        |_| refused(tar().file(".wh.f", "").hardlink("h", "f"), "not in the layer"),
        tar().file(".wh.f", "").file("f", "x").hardlink("h", "f").end(),
        &["f", "h"],
    );
}

#[test]
fn a_whiteout_through_a_symlink() {
    judge(
        |world| refused(tar().symlink("s", &world.outside()).file("s/.wh.canary", ""), "make the folder of"),
        tar().folder("d").file("d/.wh.old", "").end(),
        &["d/old"],
    );
}

#[test]
fn an_opaque_folder_through_a_symlink() {
    judge(
        |world| {
            refused(tar().symlink("s", &world.outside()).file("s/.wh..wh..opq", ""), "make the folder of")
        },
        tar().folder("d").file("d/.wh..wh..opq", "").end(),
        &["d"],
    );
}

#[test]
fn a_whiteout_of_a_folder_above() {
    judge(
        |_| refused(tar().file("a/.wh...", ""), "marks nothing"),
        tar().file("a/.wh....", "").end(),
        &["a/..."],
    );
}

#[test]
fn a_whiteout_of_its_own_folder() {
    judge(
        |_| refused(tar().file("a/.wh..", ""), "marks nothing"),
        tar().file("a/.wh..x", "").end(),
        &["a/.x"],
    );
}

#[test]
fn a_whiteout_of_nothing() {
    judge(|_| refused(tar().file("a/.wh.", ""), "marks nothing"), tar().file("a/.wh", "").end(), &["a/.wh"]);
}

#[test]
fn a_whiteout_as_a_folder() {
    judge(
        |_| refused(tar().file("a/.wh.b/c", ""), "cannot be a folder"),
        tar().file("a/wh.b/c", "").end(),
        &["a/wh.b/c"],
    );
}

#[test]
fn a_whiteout_as_a_device() {
    judge(
        |_| contained(tar().file("f", "x").device("f", b'3', 0, 0).device("g", b'3', 0, 0), &["f", "g"]),
        tar().device("f", b'3', 1, 3).end(),
        &["f"],
    );
}

#[test]
fn another_root() {
    judge(
        |world| refused(tar().symlink("./", &world.outside()).file("canary", "dead"), "root of a layer"),
        tar().folder("./").file("./canary", "x").end(),
        &["canary"],
    );
    judge(|_| refused(tar().device("/", b'3', 1, 3), "root of a layer"), tar().folder("/").end(), &[]);
}

#[test]
fn a_file_as_a_folder() {
    judge(
        |_| refused(tar().file("f", "x").file("f/x", "x"), "make the folder of"),
        tar().file("f", "x").folder("f").file("f/x", "x").end(),
        &["f/x"],
    );
}

#[test]
fn attributes_of_overlayfs() {
    for key in
        ["trusted.overlay.redirect", "trusted.overlay.opaque", "trusted.overlay.metacopy", "user.overlay.x"]
    {
        let world = World::new();
        let attribute = format!("SCHILY.xattr.{key}");
        let tar = tar().pax(&[(&attribute, b"/etc")]).folder("d").pax(&[(&attribute, b"y")]).file("f", "x");
        world.unpack(&tar.end()).unwrap();
        for name in ["d", "f"] {
            let mut value = [0; 16];
            let found = rustix::fs::lgetxattr(world.layer().join(name), key, &mut value);
            assert_eq!(found, Err(rustix::io::Errno::NODATA), "{key} of {name}");
        }
    }
    let world = World::new();
    world.unpack(&tar().pax(&[("SCHILY.xattr.user.x", b"value")]).file("f", "x").end()).unwrap();
    let mut value = [0; 16];
    assert_eq!(rustix::fs::lgetxattr(world.layer().join("f"), "user.x", &mut value), Ok(5));
}

#[test]
fn a_broken_capability() {
    // cap_net_bind_service=ep, version 2.
    let good = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    judge(
        |_| {
            let tar = tar().pax(&[("SCHILY.xattr.security.capability", b"everything")]).file("f", "x");
            refused(tar, "set an extended attribute")
        },
        tar().pax(&[("SCHILY.xattr.security.capability", &good)]).file("f", "x").end(),
        &["f"],
    );
}

#[test]
fn a_name_with_a_nul() {
    judge(
        |_| refused(tar().pax(&[("path", b"a\0/../../outside/new")]).file("a", "x"), "NUL"),
        tar().pax(&[("path", "ä/ö".as_bytes())]).file("a", "x").end(),
        &["ä/ö"],
    );
}

#[test]
fn a_name_that_is_too_long() {
    let longest = "n".repeat(255);
    judge(
        |_| refused(tar().pax(&[("path", "n".repeat(256).as_bytes())]).file("a", "x"), "name too long"),
        tar().pax(&[("path", longest.as_bytes())]).file("a", "x").end(),
        &[&longest],
    );
}

#[test]
fn a_path_that_is_too_long() {
    let long = "long/".repeat(600) + "x";
    judge(
        |_| {
            let path = "long/".repeat(900) + "x";
            refused(tar().pax(&[("path", path.as_bytes())]).file("a", "x"), "name too long")
        },
        tar().pax(&[("path", long.as_bytes())]).file("a", "x").end(),
        &[&long],
    );
}

#[test]
fn folders_deeper_than_any_path() {
    // Each link makes the next part begin where the last one ended; what is left must be possible to remove.
    let world = World::new();
    let deep = "d/".repeat(400);
    let mut tar = tar();
    for part in 0..5 {
        let start = if part == 0 { deep.clone() } else { format!("s{}/{deep}", part - 1) };
        tar = tar.pax(&[("path", start.as_bytes())]).folder("d");
        tar = tar.pax(&[("linkpath", start.as_bytes())]).symlink(&format!("s{part}"), "d");
    }
    // The kernel follows no more than what fits a path at once, which some of these links do not.
    let result = world.unpack(&tar.end());
    world.assert_untouched("deep folders");
    assert!(world.layer().join("d/d/d").is_dir(), "{result:?}");
    crate::tree::remove_path(&world.layer()).unwrap();
    assert!(!world.layer().exists());
}

#[test]
fn more_files_than_allowed() {
    let many = |count: usize| (0..count).fold(tar(), |tar, n| tar.file(&format!("f{n}"), "")).end();
    judge(|_| (many(1001), Refused("more than 1000 files")), many(1000), &["f999"]);
}

#[test]
fn a_bomb() {
    let pressed = |bytes: usize| {
        let plain = tar().member(b"f", b'0', &vec![0; bytes], &With::default()).end();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        gzip.finish().unwrap()
    };
    judge(|_| (pressed(64 << 20), Refused("more than 4194304 bytes")), pressed(3 << 20), &["f"]);
}

#[test]
fn a_bomb_of_zstd() {
    let pressed = |bytes: usize| {
        let plain = tar().member(b"f", b'0', &vec![0; bytes], &With::default()).end();
        zstd::encode_all(plain.as_slice(), 1).unwrap()
    };
    judge(|_| (pressed(64 << 20), Refused("more than 4194304 bytes")), pressed(3 << 20), &["f"]);
}

#[test]
fn a_bomb_after_the_end() {
    let with_tail = |tail: usize| {
        let mut plain = tar().file("f", "x").end();
        plain.resize(plain.len() + tail, 0);
        plain
    };
    judge(|_| (with_tail(8 << 20), Refused("more than 4194304 bytes")), with_tail(10_240), &["f"]);
}

#[test]
fn a_bomb_of_headers() {
    judge_within(
        &Limits { entries: 10, bytes: 64 << 20 },
        |_| {
            let comment = vec![b'x'; 8 << 20];
            refused(tar().pax(&[("comment", &comment)]).file("f", "x"), "headers of a member")
        },
        tar().pax(&[("comment", &vec![b'x'; 1 << 20])]).file("f", "x").end(),
        &["f"],
    );
}

#[test]
fn a_bomb_of_holes() {
    let sparse = |size: &str| {
        let entries: [(&str, &[u8]); 4] = [
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"f"),
            ("GNU.sparse.realsize", size.as_bytes()),
        ];
        let mut data = b"1\n0\n1\n".to_vec();
        data.resize(512, 0);
        data.push(b'x');
        tar().pax(&entries).member(b"GNUSparseFile.0/f", b'0', &data, &With::default()).end()
    };
    judge(|_| (sparse("1152921504606846976"), Refused("more than 4194304 bytes")), sparse("3000000"), &["f"]);
}

#[test]
fn a_bomb_of_holes_in_the_old_form() {
    judge(|_| (old_sparse(1 << 60), Refused("more than 4194304 bytes")), old_sparse(3_000_000), &["f"]);
}

/// A file of this size with one byte at its start, in GNU's old form.
fn old_sparse(size: u64) -> Vec<u8> {
    let mut header = [0_u8; 512];
    let template = tar().member(b"f", b'S', b"", &With::default()).0;
    header.copy_from_slice(&template[..512]);
    header[124..136].copy_from_slice(b"00000000001\0");
    let mut put = |at: usize, value: u64| {
        header[at..at + 12].copy_from_slice(&[&super::size(value)[..], &[0; 1]].concat()[..12])
    };
    put(386, 0);
    put(398, 1);
    put(410, size);
    put(422, 0);
    put(483, size);
    tar().raw(header, b"x").end()
}

#[test]
fn a_map_of_holes_that_lies() {
    let listed = |map: &str| {
        let entries: [(&str, &[u8]); 3] =
            [("GNU.sparse.name", b"f"), ("GNU.sparse.size", b"100000"), ("GNU.sparse.map", map.as_bytes())];
        tar().pax(&entries).member(b"x", b'0', b"ab", &With::default()).end()
    };
    judge(|_| (listed("0,1,99999999,1"), Refused("beyond its end")), listed("0,1,99999,1"), &["f"]);
    judge(|_| (listed("50,1,20,1"), Refused("out of order")), listed("20,1,50,1"), &["f"]);
    judge(|_| (listed("18446744073709551615,1"), Refused("beyond its end")), listed("0,2"), &["f"]);
    judge(|_| (listed("0,-1"), Refused("no numbers")), listed("5,2"), &["f"]);
}

#[test]
fn a_kind_that_is_unknown() {
    let of = |kind| tar().member(b"f", kind, b"x", &With::default()).end();
    judge(|_| (of(b'Z'), Refused("unknown kind 'Z'")), of(b'7'), &["f"]);
}

#[test]
fn an_owner_that_nobody_can_be() {
    let of = |uid: &str| tar().pax(&[("uid", uid.as_bytes())]).file("f", "x").end();
    judge(|_| (of("4294967295"), Refused("no user can have")), of("4294967294"), &["f"]);
}

#[test]
fn a_link_to_nothing() {
    judge(
        |_| refused(tar().symlink("s", ""), "a link to nothing"),
        tar().symlink("s", "nothing").end(),
        &["s"],
    );
}

#[test]
fn a_sum_that_is_wrong() {
    judge(
        |_| {
            let mut archive = tar().file("f", "x").end();
            archive[0] = b'g';
            (archive, Refused("checksum"))
        },
        tar().file("g", "x").end(),
        &["g"],
    );
}

#[test]
fn an_archive_cut_short() {
    let whole = tar().file("f", &"x".repeat(10_000)).end();
    let cut = whole[..5_000].to_vec();
    judge(|_| (cut, Refused("cannot be read")), whole.clone(), &["f"]);
    let gzip = {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
        gzip.write_all(&whole).unwrap();
        gzip.finish().unwrap()
    };
    let cut = gzip[..gzip.len() - 3].to_vec();
    judge(|_| (cut, Refused("cannot be read")), gzip, &["f"]);
    let zstd = zstd::encode_all(whole.as_slice(), 1).unwrap();
    let cut = zstd[..zstd.len() - 3].to_vec();
    judge(|_| (cut, Refused("cannot be read")), zstd, &["f"]);
}

#[test]
fn no_archive_at_all() {
    judge(|_| (b"<html>not found</html>".repeat(100), Refused("cannot be read")), tar().end(), &[]);
}

#[test]
fn a_setuid_file_stays_in_the_layer() {
    let with = With { mode: Some(0o4755), ..With::default() };
    let world = World::new();
    world.unpack(&tar().member(b"su", b'0', b"x", &with).end()).unwrap();
    assert_eq!(world.layer().join("su").metadata().unwrap().mode() & 0o7777, 0o4755);
    world.assert_untouched("setuid");
}
