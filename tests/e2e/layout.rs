//! Images that tests make: an OCI layout (image-spec, image-layout.md) in a folder of the project.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::stack::busybox;

/// An image in the making. Its layers are not compressed.
#[derive(Clone)]
pub struct Layout {
    layers: Vec<Vec<u8>>,
    config: Value,
    /// Beside the configuration's `config`.
    document: Value,
}

impl Layout {
    /// An image with busybox, which nothing else has the layers of: `salt` is in a file of it.
    pub fn busybox(salt: &str) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        tar.follow_symlinks(false);
        for (folder, mode) in [("bin", 0o755), ("etc", 0o755), ("tmp", 0o1777)] {
            entry(&mut tar, folder, tar::EntryType::Directory, mode, (0, 0), "");
        }
        tar.append_dir_all("bin", busybox().join("bin")).unwrap();
        let users = "root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n";
        entry(&mut tar, "etc/passwd", tar::EntryType::Regular, 0o644, (0, 0), users);
        let groups = "root:x:0:\napp:x:1000:\nmore:x:1001:app\n";
        entry(&mut tar, "etc/group", tar::EntryType::Regular, 0o644, (0, 0), groups);
        entry(&mut tar, "salt", tar::EntryType::Regular, 0o644, (0, 0), salt);
        Self {
            layers: vec![tar.into_inner().unwrap()],
            config: json!({"Env": ["PATH=/bin"]}),
            document: json!({}),
        }
    }

    /// With a layer of files of user 1000; what ends in `/` is a folder.
    pub fn layer(mut self, files: &[(&str, &str)]) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            match path.strip_suffix('/') {
                Some(folder) => {
                    entry(&mut tar, folder, tar::EntryType::Directory, 0o750, (1000, 1000), "");
                }
                None => entry(&mut tar, path, tar::EntryType::Regular, 0o640, (1000, 1000), content),
            }
        }
        self.layers.push(tar.into_inner().unwrap());
        self
    }

    /// With a layer of symbolic links, each with what it leads to.
    pub fn links(mut self, links: &[(&str, &str)]) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, to) in links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(of_this_run());
            header.set_size(0);
            tar.append_link(&mut header, path, to).unwrap();
        }
        self.layers.push(tar.into_inner().unwrap());
        self
    }

    /// With this in its configuration (image-spec, config.md).
    pub fn config(mut self, config: Value) -> Self {
        let Value::Object(keys) = config else { panic!("no object") };
        self.config.as_object_mut().unwrap().extend(keys);
        self
    }

    /// With this beside what is in its configuration.
    pub fn document(mut self, document: Value) -> Self {
        self.document = document;
        self
    }

    /// Writes it; what was there goes.
    pub fn write(&self, folder: &Path) {
        let _ = fs::remove_dir_all(folder);
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        let blob = |kind: &str, bytes: &[u8]| {
            let hex = hex(bytes);
            fs::write(folder.join("blobs/sha256").join(&hex), bytes).unwrap();
            json!({"mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len()})
        };
        let ids: Vec<String> = self.layers.iter().map(|layer| format!("sha256:{}", hex(layer))).collect();
        let mut config = json!({"os": "linux", "architecture": architecture(), "config": self.config,
            "rootfs": {"type": "layers", "diff_ids": ids}});
        config.as_object_mut().unwrap().extend(self.document.as_object().unwrap().clone());
        let layers: Vec<Value> =
            self.layers.iter().map(|layer| blob("application/vnd.oci.image.layer.v1.tar", layer)).collect();
        let config = blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let kind = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
        let manifest = blob(kind, manifest.to_string().as_bytes());
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    /// Where the topmost layer is once it has been unpacked.
    pub fn top_layer(&self) -> PathBuf {
        Path::new("/var/lib/compose/images/layers/sha256").join(hex(self.layers.last().unwrap()))
    }
}

/// A time by which the layers of one run of the tests are no other's: the store is the host's, and what one removes another
/// may still stand on.
fn of_this_run() -> u64 {
    std::process::id().into()
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").unwrap();
        hex
    })
}

fn entry(
    tar: &mut tar::Builder<Vec<u8>>,
    path: &str,
    kind: tar::EntryType,
    mode: u32,
    (user, group): (u64, u64),
    content: &str,
) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(user);
    header.set_gid(group);
    header.set_mtime(of_this_run());
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content.as_bytes()).unwrap();
}
