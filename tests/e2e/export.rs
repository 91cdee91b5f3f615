//! `compose export`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::stack::{Project, text};

const FILE: &str = "
services:
  one:
    x-rootfs: @busybox@
    command: sleep 1000
    scale: 2
    volumes: [data:/data]
    tmpfs: /run
  host: {x-rootfs: host, command: sleep 1000}
volumes: {data: }
";

/// What is in an archive: each entry's header and content.
fn entries(archive: &[u8]) -> BTreeMap<PathBuf, (tar::Header, String)> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let attributes = entry.pax_extensions().unwrap().into_iter().flatten();
        let attributes: Vec<String> = attributes
            .map(Result::unwrap)
            .map(|found| format!("{}={}", found.key().unwrap(), text(found.value_bytes())))
            .collect();
        let content = if content.len() < 100 { text(&content) } else { String::new() };
        (entry.path().unwrap().into_owned(), (entry.header().clone(), content + &attributes.concat()))
    });
    entries.collect()
}

#[test]
fn the_whole_root_filesystem_and_nothing_that_is_mounted_in_it() {
    let project = Project::new("export", FILE);
    project.ok(&["up", "-d"]);
    let exec = |script: &str| project.ok(&["exec", "-T", "--index", "2", "one", "sh", "-c", script]);
    exec(
        "mkdir -p /own/deep && echo text > /own/deep/file && chown 1234:55 /own/deep/file && ln /own/deep/file /own/name \
         && ln -s deep/file /own/link && mkfifo /own/pipe && chmod 4750 /own/deep && rm /etc/group \
         && echo kept > /data/kept && echo gone > /run/gone && dd if=/dev/zero of=/own/long bs=1M seek=8 count=0",
    );
    let second =
        project.containers().into_iter().find(|row| row["Name"].as_str().unwrap().ends_with("one-2"));
    let root = format!("/proc/{}/root", second.unwrap()["Pid"]);
    let set = |path: &str, name: &str, value: &[u8]| {
        rustix::fs::setxattr(format!("{root}/{path}"), name, value, rustix::fs::XattrFlags::empty()).unwrap();
    };
    set("own/deep/file", "user.kind", b"sort");
    // Version 2, with the effective bit: cap_net_raw (linux/capability.h).
    let capability: Vec<u8> =
        [0x0200_0001_u32, 1 << 13, 0, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    set("own/long", "security.capability", &capability);
    let check = |archive: &[u8]| {
        let found = entries(archive);
        let at = |path: &str| {
            let found = found.get(Path::new(path));
            found.unwrap_or_else(|| panic!("no {path}"))
        };
        let (header, content) = at("own/deep/file");
        assert_eq!((header.uid().unwrap(), header.gid().unwrap()), (1234, 55));
        assert_eq!(content, "text\nSCHILY.xattr.user.kind=sort");
        assert!(
            at("own/long").1.starts_with("SCHILY.xattr.security.capability=\u{1}"),
            "{}",
            at("own/long").1
        );
        let (header, _) = at("own/name");
        assert_eq!(header.link_name().unwrap().unwrap(), Path::new("own/deep/file"));
        assert_eq!(header.entry_type(), tar::EntryType::Link);
        assert_eq!(at("own/link").0.entry_type(), tar::EntryType::Symlink);
        assert_eq!(at("own/pipe").0.entry_type(), tar::EntryType::Fifo);
        assert_eq!(at("own/deep").0.mode().unwrap() & 0o7777, 0o4750);
        assert_eq!(at("own/long").0.entry_type(), tar::EntryType::GNUSparse);
        assert_eq!(at("bin/busybox").0.entry_type(), tar::EntryType::Regular);
        assert!(!found.contains_key(Path::new("etc/group")));
        // Places of mounts are there, and nothing of what is mounted at them.
        for place in ["proc", "sys", "dev", "data", "run"] {
            assert_eq!(at(place).0.entry_type(), tar::EntryType::Directory);
            let below: Vec<_> = found.keys().filter(|path| path.starts_with(place)).collect();
            assert_eq!(below, [Path::new(place)]);
        }
        assert_eq!(at("etc/hosts").1, "");
    };
    let running = project.run(&["export", "--index", "2", "one"]);
    assert!(running.status.success(), "{}", text(&running.stderr));
    check(&running.stdout);
    project.ok(&["stop", "-t", "0"]);
    project.ok(&["export", "--index", "2", "one", "-o", "archive.tar"]);
    let resting = fs::read(project.folder.join("archive.tar")).unwrap();
    check(&resting);
    assert_eq!(resting.len(), running.stdout.len());
    // It is a root filesystem as any other.
    let folder = project.folder.join("root");
    fs::create_dir(&folder).unwrap();
    let mut tar = Command::new("tar");
    let unpacked = tar.arg("-xpf").arg(project.folder.join("archive.tar")).arg("-C").arg(&folder).status();
    assert!(unpacked.unwrap().success());
    let left: Vec<_> = fs::read_dir(&project.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains(".part"))
        .collect();
    assert_eq!(left, [] as [String; 0]);
    project.write("again.yaml", "services: {two: {x-rootfs: ./root, command: cat /own/name}}\n");
    assert!(project.ok(&["-f", "again.yaml", "run", "--rm", "two"]).contains("text"));
    project.down();
}

#[test]
fn what_cannot_be_exported_says_why() {
    let project = Project::new("export-wrong", FILE);
    let refused = |args: &[&str], why: &str| {
        let (code, error) = project.fails(args);
        assert!(code == 1 && error.contains(why), "{args:?}: {error}");
    };
    refused(&["export", "one"], "no container found for service \"one\"");
    project.ok(&["create"]);
    refused(&["export", "host"], "the host's own programs");
    refused(&["export", "one", "--index", "3"], "has no container 3: it has 1, 2");
    refused(&["export", "one", "-o", "no/such/file"], "no/such/file");
    refused(&["export", "one", "-o", "/dev/full"], "No space left on device");
    project.ok(&["export", "one", "-o", "/dev/null"]);
    // Nobody wants an archive on a terminal.
    let line = format!("{} -p {} export one", env!("CARGO_BIN_EXE_compose"), project.name);
    let mut script = Command::new("script");
    script.current_dir(&project.folder).args(["-qec", &line, "/dev/null"]).stdin(Stdio::null());
    let output = script.output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.code() == Some(1) && said.contains("-o FILE"), "{said}");
    project.down();
}
