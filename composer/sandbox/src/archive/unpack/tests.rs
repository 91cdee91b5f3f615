use std::os::unix::fs::MetadataExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::super::pack;
use super::*;

/// A folder of the test's own, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("composer-archive-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn at(&self, path: &str) -> String {
        self.0.join(path).to_str().unwrap().to_owned()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn copy(from: &str, to: &str, contents: bool) -> io::Result<Vec<String>> {
    let mut stream = Vec::new();
    pack(Path::new(from), "thing", false, &mut stream).unwrap();
    let rule = Rule::Copy { name: "thing".to_owned(), contents };
    unpack(to, &rule, Owner::Kept, stream.as_slice())
}

#[test]
fn a_file_goes_into_a_folder_or_in_the_place_of_a_file() {
    let scratch = Scratch::new();
    fs::write(scratch.at("from"), "new").unwrap();
    fs::set_permissions(scratch.at("from"), Permissions::from_mode(0o640)).unwrap();
    fs::create_dir(scratch.at("folder")).unwrap();
    fs::write(scratch.at("file"), "an old and longer one").unwrap();
    symlink("file", scratch.at("link")).unwrap();
    copy(&scratch.at("from"), &scratch.at("folder"), false).unwrap();
    copy(&scratch.at("from"), &scratch.at("link"), false).unwrap();
    copy(&scratch.at("from"), &scratch.at("fresh"), false).unwrap();
    for made in ["folder/thing", "file", "fresh"] {
        assert_eq!(fs::read_to_string(scratch.at(made)).unwrap(), "new", "{made}");
        assert_eq!(fs::metadata(scratch.at(made)).unwrap().mode() & 0o777, 0o640, "{made}");
    }
    assert!(fs::symlink_metadata(scratch.at("link")).unwrap().is_symlink());
}

#[test]
fn a_folder_keeps_its_links_modes_and_times() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.at("from/deep")).unwrap();
    fs::write(scratch.at("from/deep/program"), "x").unwrap();
    fs::set_permissions(scratch.at("from/deep/program"), Permissions::from_mode(0o4755)).unwrap();
    symlink("/nowhere", scratch.at("from/link")).unwrap();
    mkfifo(Path::new(&scratch.at("from/fifo")), Mode::from_bits_truncate(0o600)).unwrap();
    fs::set_permissions(scratch.at("from/deep"), Permissions::from_mode(0o555)).unwrap();
    copy(&scratch.at("from"), &scratch.at("to"), false).unwrap();
    assert_eq!(fs::metadata(scratch.at("to/deep/program")).unwrap().mode() & 0o7777, 0o4755);
    assert_eq!(fs::metadata(scratch.at("to/deep")).unwrap().mode() & 0o777, 0o555);
    assert_eq!(
        fs::metadata(scratch.at("to/deep")).unwrap().mtime(),
        fs::metadata(scratch.at("from/deep")).unwrap().mtime()
    );
    assert_eq!(fs::read_link(scratch.at("to/link")).unwrap(), Path::new("/nowhere"));
    assert!(fs::symlink_metadata(scratch.at("to/fifo")).is_ok());
    // Once more: into the folder that is there now, under its name or without it.
    copy(&scratch.at("from"), &scratch.at("to"), false).unwrap();
    assert!(Path::new(&scratch.at("to/thing/deep/program")).exists());
    copy(&scratch.at("from"), &scratch.at("to"), true).unwrap();
    assert!(!Path::new(&scratch.at("to/thing/thing")).exists());
}

#[test]
fn a_file_keeps_what_it_may_do_and_attributes_of_the_users() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("from")).unwrap();
    fs::write(scratch.at("from/program"), "x").unwrap();
    // CAP_NET_BIND_SERVICE, permitted and effective (linux/capability.h).
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Whole records in one, and what is no text.
    let attributes = [
        ("security.capability", capability.as_slice()),
        ("user.of", b"ann=3"),
        ("user.lines", b"a\n9 path=b\n\n"),
        ("user.bytes", b"\0\xff\n\xfe"),
    ];
    for (name, value) in attributes {
        rustix::fs::setxattr(scratch.at("from/program"), name, value, XattrFlags::empty()).unwrap();
    }
    // Who comes after it has none of them.
    fs::write(scratch.at("from/without"), "x").unwrap();
    copy(&scratch.at("from"), &scratch.at("to"), false).unwrap();
    assert_eq!(rustix::fs::listxattr(scratch.at("to/without"), &mut [0_u8; 64]), Ok(0));
    copy(&scratch.at("from/program"), &scratch.at("alone"), false).unwrap();
    for made in ["to/program", "alone"] {
        for (name, value) in attributes {
            let mut found = vec![0; 64];
            let length = rustix::fs::getxattr(scratch.at(made), name, &mut found).unwrap();
            assert_eq!(&found[..length], value, "{name} of {made}");
        }
    }
}

#[test]
fn what_cannot_be_says_why() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.at("from/inner")).unwrap();
    fs::write(scratch.at("file"), "x").unwrap();
    let refused =
        |from: &str, to: &str| copy(&scratch.at(from), &scratch.at(to), false).unwrap_err().to_string();
    assert!(refused("from", "file").contains("a folder cannot take the place of a file"));
    assert!(refused("file", "missing/").contains("there is no such folder"));
    assert!(refused("file", "missing/file").contains("No such file"));
    assert!(
        refused("file", "file/").contains("Not a directory")
            || refused("file", "file/").contains("not a folder")
    );
    fs::create_dir_all(scratch.at("to/thing")).unwrap();
    assert!(refused("file", "to").contains("a file cannot take the place of a folder"));
    assert_eq!(fs::read_dir(scratch.at("to")).unwrap().count(), 1, "nothing half-written stays");
}

#[test]
fn an_entry_cannot_leave_its_folder() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("to")).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o644);
    // The crate would not write such a name itself.
    header.as_mut_bytes()[..9].copy_from_slice(b"../escape");
    header.set_cksum();
    let mut stream = header.as_bytes().to_vec();
    stream.extend([0; 1024]);
    let refused = unpack(&scratch.at("to"), &Rule::Extract, Owner::Kept, stream.as_slice());
    assert!(refused.unwrap_err().to_string().contains("would leave its folder"));
    assert!(!Path::new(&scratch.at("escape")).exists());
}

#[test]
fn a_link_in_the_stream_leads_nothing_out() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("to")).unwrap();
    fs::create_dir(scratch.at("outside")).unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    header.set_mode(0o777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    builder.append_link(&mut header, "link", scratch.at("outside")).unwrap();
    header.set_entry_type(EntryType::Regular);
    builder.append_data(&mut header, "link/file", io::empty()).unwrap();
    let stream = builder.into_inner().unwrap();
    let refused = unpack(&scratch.at("to"), &Rule::Extract, Owner::Kept, stream.as_slice());
    assert!(refused.unwrap_err().to_string().contains("an entry below a link"));
    assert!(!Path::new(&scratch.at("outside/file")).exists());
}

#[test]
fn exactly_there_whatever_is_missing_above() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("from")).unwrap();
    fs::write(scratch.at("from/file"), "x").unwrap();
    for _ in 0..2 {
        let mut stream = Vec::new();
        pack(Path::new(&scratch.at("from")), "any", false, &mut stream).unwrap();
        let rule = Rule::Exact { top: scratch.at("a/b/to") };
        unpack(&scratch.at("a/b/to"), &rule, Owner::Kept, stream.as_slice()).unwrap();
        assert!(Path::new(&scratch.at("a/b/to/file")).exists());
        assert_eq!(fs::read_dir(scratch.at("a/b/to")).unwrap().count(), 1);
    }
}

fn sync(scratch: &Scratch, from: &str, to: &str) -> io::Result<Vec<String>> {
    let mut stream = Vec::new();
    pack(Path::new(&scratch.at(from)), "any", false, &mut stream).unwrap();
    let rule = Rule::Exact { top: scratch.at("top") };
    unpack(&scratch.at(to), &rule, Owner::Kept, stream.as_slice())
}

#[test]
fn exactly_there_whatever_it_was_before() {
    let scratch = Scratch::new();
    for folder in ["from/inner", "outside", "top/file"] {
        fs::create_dir_all(scratch.at(folder)).unwrap();
    }
    for file in ["from/file", "from/inner/file", "outside/file", "top/file/old"] {
        fs::write(scratch.at(file), file).unwrap();
    }
    symlink("../outside", scratch.at("top/inner")).unwrap();
    sync(&scratch, "from", "top").unwrap();
    assert_eq!(fs::read_to_string(scratch.at("top/file")).unwrap(), "from/file");
    assert_eq!(fs::read_to_string(scratch.at("top/inner/file")).unwrap(), "from/inner/file");
    // A file by a folder, a folder by a link, and a link in the way of a single file.
    sync(&scratch, "from/inner", "top/file").unwrap();
    assert!(Path::new(&scratch.at("top/file/file")).exists());
    symlink("../outside", scratch.at("from/link")).unwrap();
    sync(&scratch, "from/link", "top/inner").unwrap();
    assert!(fs::symlink_metadata(scratch.at("top/inner")).unwrap().is_symlink());
    sync(&scratch, "from/file", "top/inner/file").unwrap();
    assert!(fs::symlink_metadata(scratch.at("top/inner")).unwrap().is_dir());
    assert_eq!(fs::read_to_string(scratch.at("top/inner/file")).unwrap(), "from/file");
    assert_eq!(fs::read_to_string(scratch.at("outside/file")).unwrap(), "outside/file");
}

#[test]
fn the_top_stays_where_the_container_has_it() {
    let scratch = Scratch::new();
    for folder in ["from", "real"] {
        fs::create_dir(scratch.at(folder)).unwrap();
    }
    fs::write(scratch.at("from/file"), "new").unwrap();
    symlink("real", scratch.at("top")).unwrap();
    sync(&scratch, "from", "top").unwrap();
    sync(&scratch, "from/file", "top/another").unwrap();
    assert!(Path::new(&scratch.at("real/file")).exists() && Path::new(&scratch.at("real/another")).exists());
    // A file whose target is a folder was not meant to take all of it away.
    fs::remove_file(scratch.at("top")).unwrap();
    fs::create_dir(scratch.at("top")).unwrap();
    let refused = sync(&scratch, "from/file", "top").unwrap_err();
    assert!(refused.to_string().contains("a file cannot take the place of a folder"), "{refused}");
}

#[test]
fn files_that_do_not_tell_their_length_and_streams_that_are_none() {
    let scratch = Scratch::new();
    copy("/proc/version", &scratch.at("version"), false).unwrap();
    assert_eq!(
        fs::read_to_string(scratch.at("version")).unwrap(),
        fs::read_to_string("/proc/version").unwrap()
    );
    let rubbish = [b"rub\x1b[31mbish".as_slice(); 100].concat();
    let refused = unpack(&scratch.at(""), &Rule::Extract, Owner::Kept, rubbish.as_slice()).unwrap_err();
    assert!(refused.to_string().starts_with("this is no tar archive"), "{refused}");
}

#[test]
fn a_file_keeps_its_holes() {
    let scratch = Scratch::new();
    let megabyte = 1 << 20;
    // More pieces than a header has room for, and than the first block after it has.
    for pieces in [0, 1, 3, 40] {
        let from = scratch.at(&format!("from{pieces}"));
        let file = File::create(&from).unwrap();
        for piece in 0..pieces {
            let at = (2 * piece + 1) * megabyte;
            std::os::unix::fs::FileExt::write_all_at(&file, format!("piece {piece}").as_bytes(), at).unwrap();
        }
        file.set_len((2 * pieces + 1) * megabyte + 77).unwrap();
        let to = scratch.at(&format!("to{pieces}"));
        let mut stream = Vec::new();
        pack(Path::new(&from), "thing", false, &mut stream).unwrap();
        assert!(stream.len() < megabyte as usize, "{pieces}: {} bytes", stream.len());
        copy(&from, &to, false).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap(), "{pieces}");
        let blocks = |path: &str| fs::metadata(path).unwrap().blocks();
        assert!(blocks(&to) <= blocks(&from), "{pieces}: {} > {}", blocks(&to), blocks(&from));
    }
}

#[test]
fn what_is_removed_is_what_is_there_and_nothing_that_a_link_leads_to() {
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.at("elsewhere/deep")).unwrap();
    fs::write(scratch.at("elsewhere/deep/file"), "kept").unwrap();
    fs::create_dir_all(scratch.at("top/folder/below")).unwrap();
    fs::write(scratch.at("top/folder/below/file"), "x").unwrap();
    symlink("../../elsewhere", scratch.at("top/folder/out")).unwrap();
    symlink("../elsewhere", scratch.at("top/link")).unwrap();
    symlink("top", scratch.at("named")).unwrap();
    let remove = |path: &str, top: &str| {
        super::super::remove(Path::new(&scratch.at(path)), Path::new(&scratch.at(top)))
    };
    for beyond in ["top/link/deep/file", "top/link/deep", "top/folder/out/deep", "top/gone/file"] {
        remove(beyond, "top").unwrap();
        assert!(Path::new(&scratch.at("elsewhere/deep/file")).exists(), "{beyond}");
    }
    // The way to what was named leads over links.
    remove("named/link", "named").unwrap();
    assert!(fs::symlink_metadata(scratch.at("top/link")).is_err());
    remove("top/folder", "top").unwrap();
    assert!(!Path::new(&scratch.at("top/folder")).exists());
    assert_eq!(fs::read_to_string(scratch.at("elsewhere/deep/file")).unwrap(), "kept");
    remove("top", "top").unwrap();
    assert!(!Path::new(&scratch.at("top")).exists());
}
