//! Ways out of the layer.

use super::{contained, judge, refused, tar};

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
