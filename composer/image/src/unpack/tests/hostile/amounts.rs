//! More than a layer's share.

use std::io::Write;

use super::{Limits, Then::Refused, judge, judge_within, refused, tar};
use crate::unpack::tests::{With, size as number};

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
        &Limits { entries: 10, bytes: 64 << 20, names: 100_000 },
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
        header[at..at + 12].copy_from_slice(&[&number(value)[..], &[0; 1]].concat()[..12])
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
fn more_names_of_folders_than_allowed() {
    let many = |count: usize| {
        let name = |n: usize| format!("{n:0>90}/{}", "n".repeat(5));
        (0..count).fold(tar(), |tar, n| tar.folder(&name(n))).end()
    };
    judge_within(
        &Limits { entries: 2000, bytes: 4 << 20, names: 20_000 },
        |_| (many(300), Refused("more than 20000 bytes of names of folders")),
        many(200),
        &[],
    );
}
