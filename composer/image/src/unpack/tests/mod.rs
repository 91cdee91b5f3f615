//! Archives of every kind, made byte by byte, as the tools that write them would refuse to.

mod hostile;
mod legitimate;
mod random;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Error, Limits, Unpacked, unpack};
use crate::digest::Digest;
use crate::testing::Scratch;

/// A tar file that is being written.
#[derive(Clone, Default)]
pub(crate) struct Tar(pub Vec<u8>);

/// What a member's header says beyond its name.
#[derive(Clone, Default)]
pub(crate) struct With {
    pub mode: Option<u32>,
    pub owner: (u32, u32),
    pub modified: u64,
    pub link: Vec<u8>,
    pub device: (u32, u32),
    /// Where it is not the data's.
    pub size: Option<u64>,
}

impl Tar {
    pub fn file(self, name: &str, data: &str) -> Self {
        self.member(name.as_bytes(), b'0', data.as_bytes(), &With::default())
    }

    pub fn folder(self, name: &str) -> Self {
        self.member(name.as_bytes(), b'5', b"", &With { mode: Some(0o755), ..With::default() })
    }

    pub fn symlink(self, name: &str, target: &str) -> Self {
        self.member(name.as_bytes(), b'2', b"", &With { link: target.into(), ..With::default() })
    }

    pub fn hardlink(self, name: &str, target: &str) -> Self {
        self.member(name.as_bytes(), b'1', b"", &With { link: target.into(), ..With::default() })
    }

    pub fn device(self, name: &str, kind: u8, major: u32, minor: u32) -> Self {
        self.member(name.as_bytes(), kind, b"", &With { device: (major, minor), ..With::default() })
    }

    /// An extended header of POSIX for the next member.
    pub fn pax(self, entries: &[(&str, &[u8])]) -> Self {
        let mut data = Vec::new();
        for (key, value) in entries {
            let body = key.len() + value.len() + 3;
            // The length counts its own digits.
            let length =
                (1..).map(|digits| body + digits).find(|n| n.to_string().len() + body == *n).unwrap();
            data.extend(format!("{length} {key}=").bytes());
            data.extend(*value);
            data.push(b'\n');
        }
        self.member(b"pax", b'x', &data, &With::default())
    }

    pub fn member(self, name: &[u8], kind: u8, data: &[u8], with: &With) -> Self {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &name[..name.len().min(100)]);
        put(100, format!("{:07o}", with.mode.unwrap_or(0o644)).as_bytes());
        put(108, format!("{:07o}", with.owner.0).as_bytes());
        put(116, format!("{:07o}", with.owner.1).as_bytes());
        put(124, &size(with.size.unwrap_or(data.len() as u64)));
        put(136, format!("{:011o}", with.modified).as_bytes());
        put(156, &[kind]);
        put(157, &with.link[..with.link.len().min(100)]);
        // GNU's magic where the member is of GNU's kinds.
        put(257, if matches!(kind, b'L' | b'K' | b'S') { b"ustar  \0" } else { b"ustar\x0000" });
        put(329, format!("{:07o}", with.device.0).as_bytes());
        put(337, format!("{:07o}", with.device.1).as_bytes());
        self.raw(header, data)
    }

    /// Adds a header, whose sum is computed, and its data.
    pub fn raw(mut self, mut header: [u8; 512], data: &[u8]) -> Self {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        self.0.extend(header);
        self.0.extend(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    pub fn end(mut self) -> Vec<u8> {
        self.0.extend([0; 1024]);
        self.0
    }
}

/// In octal, or in GNU's binary form where that is too short.
fn size(size: u64) -> Vec<u8> {
    if size < 1 << 33 {
        return format!("{size:011o}").into_bytes();
    }
    let mut bytes = vec![0x80, 0, 0, 0];
    bytes.extend(size.to_be_bytes());
    bytes
}

/// A folder to unpack into, and one beside it that nothing may touch.
pub(crate) struct World {
    scratch: Scratch,
    before: BTreeMap<PathBuf, String>,
}

impl World {
    pub fn new() -> Self {
        let scratch = Scratch::new();
        fs::create_dir_all(scratch.path().join("store/layer")).unwrap();
        fs::create_dir_all(scratch.path().join("outside/folder")).unwrap();
        fs::write(scratch.path().join("outside/canary"), "alive").unwrap();
        fs::write(scratch.path().join("outside/folder/file"), "here").unwrap();
        let before = snapshot(&scratch.path().join("outside"));
        Self { scratch, before }
    }

    pub fn layer(&self) -> PathBuf {
        self.scratch.path().join("store/layer")
    }

    pub fn outside(&self) -> String {
        self.scratch.path().join("outside").to_str().unwrap().to_owned()
    }

    pub fn unpack(&self, archive: &[u8]) -> Result<Unpacked, Error> {
        self.unpack_within(archive, &Limits { entries: 10_000, bytes: 16 << 20, names: 100_000 })
    }

    pub fn unpack_within(&self, archive: &[u8], limits: &Limits) -> Result<Unpacked, Error> {
        let folder = fs::File::open(self.layer()).unwrap();
        unpack(archive, std::os::fd::AsFd::as_fd(&folder), limits, &Digest::of(b""))
    }

    /// That nothing beside the layer has changed.
    pub fn assert_untouched(&self, what: &str) {
        assert_eq!(
            snapshot(&self.scratch.path().join("outside")),
            self.before,
            "{what}: outside has changed"
        );
        for (folder, names) in [("", vec!["outside", "store"]), ("store", vec!["layer"])] {
            let mut found: Vec<String> = fs::read_dir(self.scratch.path().join(folder))
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            found.sort();
            assert_eq!(found, names, "{what}: beside the layer");
        }
    }
}

/// Every file of a folder with all that could change about it.
fn snapshot(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut rest = vec![folder.to_owned()];
    while let Some(path) = rest.pop() {
        let at = fs::symlink_metadata(&path).unwrap();
        let mut names = [0; 256];
        let xattrs = rustix::fs::llistxattr(&path, &mut names).unwrap();
        let content = if at.is_file() { fs::read_to_string(&path).unwrap() } else { String::new() };
        let (mode, uid, gid, links) = (at.mode(), at.uid(), at.gid(), at.nlink());
        let time = (at.mtime(), at.mtime_nsec(), at.ctime(), at.ctime_nsec());
        found.insert(path.clone(), format!("{mode:o} {uid} {gid} {links} {time:?} {xattrs} {content}"));
        if at.is_dir() {
            rest.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found
}
