//! Bringing an image from the store to a registry. The store keeps layers unpacked: one that the registry has nowhere is
//! packed anew, and the image that is pushed then has another manifest and another id than the one that is here.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Manifest, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use crate::pack::pack;
use crate::platform::Platform;
use crate::progress::{Event, Progress};
use crate::reference::{Named, Reference};
use crate::registry::Upload;
use crate::store::{Image, Store};

/// How much is sent at once.
const PIECE: usize = 1 << 20;

/// A layer of the image that is pushed.
struct Packed {
    descriptor: Descriptor,
    diff_id: Digest,
}

impl Store {
    /// Pushes the image of a reference to the registry that the reference names. Returns the digest of the manifest there.
    /// Blocks; must not be called on a thread that runs asynchronous tasks.
    pub fn push(&self, reference: &Reference, platform: &Platform, progress: Progress<'_>) -> Result<Digest> {
        let pushed = self.push_image(reference, platform, progress).map_err(|error| match error {
            Error::File { .. } => Error::Push { image: reference.familiar(), source: Box::new(error) },
            error => error,
        });
        progress(match &pushed {
            Ok(_) => Event::Pushed,
            Err(error) => Event::Failed { error },
        });
        pushed
    }

    fn push_image(
        &self,
        reference: &Reference,
        platform: &Platform,
        progress: Progress<'_>,
    ) -> Result<Digest> {
        let absent =
            |reason| Error::Absent { image: reference.familiar(), platform: platform.clone(), reason };
        let Reference::Registry(named) = reference else {
            return Err(absent("only an image with the name of a registry can be pushed"));
        };
        let _hold = self.hold()?;
        let image =
            self.find(reference, platform)?.ok_or_else(|| absent("it can only be pushed once it is"))?;
        let upload = Upload::new(named, &self.registries, &self.stop)?;
        let (manifest, manifest_bytes) = self.manifest(&image)?;
        let others = self.repositories(named)?;
        let mut there = Vec::new();
        for layer in &manifest.layers {
            there.push(upload.has(&layer.digest)? || upload.mounts(&layer.digest, &others)?);
        }
        progress(Event::Resolved {
            manifest: &image.digest,
            layers: manifest
                .layers
                .iter()
                .zip(&there)
                .map(|(layer, there)| (&layer.digest, layer.size, *there))
                .collect(),
        });
        let config = self.config_bytes(&image)?;
        if there.iter().all(|there| *there) {
            manifest.layers.iter().for_each(|layer| progress(Event::Done { layer: &layer.digest }));
            upload.bytes(&manifest.config.digest, config)?;
            upload.manifest(&manifest_bytes.0, manifest_bytes.1)?;
            return Ok(image.digest);
        }
        let mut layers = Vec::new();
        for ((layer, diff_id), there) in manifest.layers.iter().zip(&image.config.diff_ids).zip(there) {
            let packed = match there {
                true => Packed { descriptor: as_oci(layer), diff_id: diff_id.clone() },
                false => self.send(&upload, layer, &self.files(diff_id), progress)?,
            };
            progress(Event::Done { layer: &layer.digest });
            layers.push(packed);
        }
        publish(&upload, &config, layers)
    }

    /// Packs a layer and sends it.
    fn send(
        &self,
        upload: &Upload,
        layer: &Descriptor,
        files: &Path,
        progress: Progress<'_>,
    ) -> Result<Packed> {
        let temporary = self.temporary()?;
        let path = temporary.path().join("layer.tar.gz");
        let packed = write(files, &path).map_err(Error::file("pack", files))?;
        let mut file = File::open(&path).map_err(Error::file("open", &path))?;
        let size = packed.descriptor.size;
        let mut sent = 0;
        let mut next = || -> io::Result<Option<Bytes>> {
            let mut piece = vec![0; PIECE];
            let count = file.read(&mut piece)?;
            piece.truncate(count);
            sent += count as u64;
            // As a share of what the layer is here.
            let bytes = sent * layer.size / size.max(1);
            progress(Event::Advanced { layer: &layer.digest, bytes });
            Ok((count > 0).then(|| piece.into()))
        };
        upload.stream(&packed.descriptor.digest, &mut next)?;
        Ok(packed)
    }
}

/// Pushes configuration and manifest of layers that are there.
fn publish(upload: &Upload, config: &[u8], layers: Vec<Packed>) -> Result<Digest> {
    let wrong = |error: serde_json::Error| Error::document("the configuration in the store", error);
    let mut document: Value = serde_json::from_slice(config).map_err(wrong)?;
    let ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    document["rootfs"] = serde_json::json!({ "type": "layers", "diff_ids": ids });
    let config = serde_json::to_vec(&document).map_err(wrong)?;
    let descriptor = Descriptor::new(OCI_CONFIG, Digest::of(&config), config.len() as u64);
    upload.bytes(&descriptor.digest, config)?;
    let layers = layers.into_iter().map(|layer| layer.descriptor).collect();
    let manifest = serde_json::to_vec(&Manifest::new(descriptor, layers)).map_err(wrong)?;
    let digest = Digest::of(&manifest);
    upload.manifest(OCI_MANIFEST, manifest)?;
    Ok(digest)
}

/// A layer under OCI's name of its kind, beside others of OCI's.
fn as_oci(layer: &Descriptor) -> Descriptor {
    let kind = match layer.media_type.rsplit(['.', '+']).next() {
        Some("gzip") => format!("{OCI_LAYER}+gzip"),
        Some("zstd") => format!("{OCI_LAYER}+zstd"),
        _ => OCI_LAYER.to_owned(),
    };
    Descriptor::new(&kind, layer.digest.clone(), layer.size)
}

/// Writes a layer's archive, compressed. No time and no name is in the compression's header: the same layer has the same
/// digest each time.
fn write(files: &Path, path: &Path) -> io::Result<Packed> {
    let file = Hashed { inner: BufWriter::new(File::create_new(path)?), hasher: Hasher::sha256(), count: 0 };
    let gzip = GzEncoder::new(file, Compression::default());
    let mut plain = Hashed { inner: gzip, hasher: Hasher::sha256(), count: 0 };
    pack(files, &mut plain)?;
    let diff_id = plain.hasher.finish();
    let mut file = plain.inner.finish()?;
    file.flush()?;
    let descriptor = Descriptor::new(&format!("{OCI_LAYER}+gzip"), file.hasher.finish(), file.count);
    Ok(Packed { descriptor, diff_id })
}

/// Computes the digest of what is written.
struct Hashed<W> {
    inner: W,
    hasher: Hasher,
    count: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl Store {
    /// Other repositories of the same registry, which may have the same layers.
    fn repositories(&self, named: &Named) -> Result<Vec<String>> {
        let mut found: Vec<String> = self
            .list()?
            .iter()
            .filter_map(|image| Reference::parse(&image.reference, Path::new("/")).ok())
            .filter_map(|reference| match reference {
                Reference::Registry(other) if other.registry() == named.registry() => Some(other),
                _ => None,
            })
            .map(|other| other.repository().to_owned())
            .filter(|repository| repository != named.repository())
            .collect();
        found.sort();
        found.dedup();
        Ok(found)
    }

    /// Gives an image one more name. The image that had it is known by it no more.
    pub fn tag(&self, image: &Image, reference: &Reference) -> Result<()> {
        let _hold = self.hold()?;
        match reference {
            Reference::Registry(named) if named.digest().is_none() => self.keep_alias(image, reference),
            _ => Err(Error::Reference {
                message: format!("`{reference}` is no name that an image can be given"),
                help: "write `[REGISTRY/]NAME[:TAG]`".to_owned(),
            }),
        }
    }
}
