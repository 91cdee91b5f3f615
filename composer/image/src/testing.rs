//! What the tests of several modules need.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::digest::Digest;
use crate::manifest::{OCI_CONFIG, OCI_MANIFEST};

/// A folder that goes with the test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("composer-image-{}-{next}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        crate::tree::remove_path(&self.0).unwrap();
    }
}

/// An image in the making, for the tests of sources.
pub(crate) struct Made {
    pub blobs: Vec<(Digest, Vec<u8>)>,
    pub manifest: Digest,
    pub config: Digest,
    pub diff_ids: Vec<Digest>,
}

impl Made {
    /// An image of layers, each compressed in another way.
    pub(crate) fn new(architecture: &str, layers: &[Vec<u8>]) -> Self {
        Self::with(architecture, layers, |text| text)
    }

    /// As [`Made::new`], with changes to the text of manifest and configuration.
    pub(crate) fn with(architecture: &str, layers: &[Vec<u8>], edit: impl Fn(String) -> String) -> Self {
        let mut blobs = Vec::new();
        let mut described = Vec::new();
        let diff_ids: Vec<Digest> = layers.iter().map(|layer| Digest::of(layer)).collect();
        for (number, plain) in layers.iter().enumerate() {
            let (packed, kind) = match number % 3 {
                0 => (gzip(plain), "+gzip"),
                1 => (zstd::encode_all(plain.as_slice(), 1).unwrap(), "+zstd"),
                _ => (plain.clone(), ""),
            };
            let digest = Digest::of(&packed);
            described.push(format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar{kind}","digest":"{digest}","size":{}}}"#,
                packed.len()
            ));
            blobs.push((digest, packed));
        }
        let ids: Vec<String> = diff_ids.iter().map(|id| format!("\"{id}\"")).collect();
        let config = edit(format!(
            r#"{{"os":"linux","architecture":"{architecture}","config":{{"Cmd":["run"]}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            ids.join(",")
        ));
        let config_digest = Digest::of(config.as_bytes());
        let manifest = edit(format!(
            r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{{"mediaType":"{OCI_CONFIG}","digest":"{config_digest}","size":{}}},"layers":[{}]}}"#,
            config.len(),
            described.join(",")
        ));
        let manifest_digest = Digest::of(manifest.as_bytes());
        blobs.push((config_digest.clone(), config.into_bytes()));
        blobs.push((manifest_digest.clone(), manifest.into_bytes()));
        Self { blobs, manifest: manifest_digest, config: config_digest, diff_ids }
    }

    pub(crate) fn blob(&self, digest: &Digest) -> &[u8] {
        &self.blobs.iter().find(|(name, _)| name == digest).unwrap().1
    }

    /// How an index lists it.
    pub(crate) fn entry(&self, more: &str) -> String {
        format!(
            r#"{{"mediaType":"{OCI_MANIFEST}","digest":"{}","size":{}{more}}}"#,
            self.manifest,
            self.blob(&self.manifest).len()
        )
    }

    /// Writes the blobs into an image layout.
    pub(crate) fn write(&self, folder: &Path) {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for (digest, bytes) in &self.blobs {
            std::fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
        }
    }
}

/// Writes the index of an image layout.
pub(crate) fn write_index(folder: &Path, entries: &[String]) {
    let index = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
    std::fs::write(folder.join("index.json"), index).unwrap();
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// Bytes that do not compress, the same each time.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}
