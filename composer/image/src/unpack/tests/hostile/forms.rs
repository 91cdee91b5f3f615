//! Members that are not what they should be, and archives that are none.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use super::{Then::Refused, World, judge, refused, tar};
use crate::unpack::tests::With;

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
