//! What `docker save` writes: a tar file with `manifest.json`, a configuration and layers. It has no manifest with digests,
//! so one is made; the layers are held against the configuration's diff ids.

use std::collections::HashMap;
use std::io::{self, BufReader};

use serde::Deserialize;

use super::files::Files;
use super::{Blob, Root, Source, read_document};
use crate::config::{Config, nullable};
use crate::digest::{Digest, Hasher, Hashing};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, Manifest, OCI_CONFIG, OCI_LAYER};
use crate::progress::Progress;
use crate::reference::{Local, Reference};
use crate::unpack::{is_compressed, start};

pub(super) struct DockerArchive {
    files: Files,
    manifest: Manifest,
    /// Which file has which content.
    names: HashMap<Digest, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default, deserialize_with = "nullable")]
    repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    layers: Vec<String>,
}

impl DockerArchive {
    pub(super) fn open(local: &Local) -> Result<Self> {
        let files = Files::archive(local.path())?;
        let what = files.show("manifest.json");
        let images: Vec<Saved> = serde_json::from_slice(&files.read("manifest.json")?)
            .map_err(|error| Error::document(&what, error))?;
        let image = choose(images, local.name(), &what)?;

        let config_bytes = files.read(&image.config)?;
        let config = Config::parse(&config_bytes, || files.show(&image.config))?;
        if config.diff_ids.len() != image.layers.len() {
            let message =
                format!("it has {} layers, its configuration {}", image.layers.len(), config.diff_ids.len());
            return Err(Error::document(what, message));
        }
        let mut names = HashMap::new();
        let mut layers = Vec::new();
        for (name, diff_id) in image.layers.into_iter().zip(&config.diff_ids) {
            let layer = layer(&files, &name, diff_id)?;
            names.insert(layer.digest.clone(), name);
            layers.push(layer);
        }
        let digest = Digest::of(&config_bytes);
        let descriptor = Descriptor::new(OCI_CONFIG, digest.clone(), config_bytes.len() as u64);
        names.insert(digest, image.config);
        Ok(Self { files, manifest: Manifest::new(descriptor, layers), names })
    }

    fn file(&self, descriptor: &Descriptor) -> Result<io::Take<std::fs::File>> {
        let missing =
            || Error::document(self.files.show("manifest.json"), format!("it has no {}", descriptor.digest));
        Ok(self.files.open(self.names.get(&descriptor.digest).ok_or_else(missing)?)?.0)
    }
}

fn choose(mut images: Vec<Saved>, name: Option<&str>, what: &str) -> Result<Saved> {
    let there: Vec<String> = images.iter().flat_map(|image| image.repo_tags.clone()).collect();
    if let Some(name) = name {
        // `nginx` is `nginx:latest` here as anywhere.
        let normal = |tag: &str| Reference::parse(tag, "/".as_ref()).map(|tag| tag.to_string()).ok();
        let wanted = normal(name);
        images.retain(|image| image.repo_tags.iter().any(|tag| tag == name || normal(tag) == wanted));
    }
    match (images.pop(), images.is_empty()) {
        (Some(image), true) => Ok(image),
        (None, _) => {
            Err(Error::document(what, format!("the image is not in it; it has {}", there.join(", "))))
        }
        (Some(_), false) => Err(Error::document(
            what,
            format!("it has several images, name one after a `:`; it has {}", there.join(", ")),
        )),
    }
}

/// The layer in a file. Of one that is not compressed the digest is the diff id, which unpacking verifies.
fn layer(files: &Files, name: &str, diff_id: &Digest) -> Result<Descriptor> {
    let (reader, size) = files.open(name)?;
    let mut reader = BufReader::new(reader);
    let failed = |error| Error::document(files.show(name), error);
    if !is_compressed(start(&mut reader).map_err(failed)?) {
        return Ok(Descriptor::new(OCI_LAYER, diff_id.clone(), size));
    }
    let mut hashing = Hashing::new(reader, Hasher::sha256());
    io::copy(&mut hashing, &mut io::sink()).map_err(failed)?;
    Ok(Descriptor::new(OCI_LAYER, hashing.finish().0, size))
}

impl Source for DockerArchive {
    fn root(&self) -> Result<Root> {
        let bytes =
            serde_json::to_vec(&self.manifest).map_err(|error| Error::document("the manifest", error))?;
        let document = Document::Manifest(self.manifest.clone());
        Ok(Root { digest: Digest::of(&bytes), bytes, document })
    }

    fn manifest(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>> {
        read_document(self.file(descriptor)?, descriptor, what)
    }

    fn blob<'a>(&'a self, descriptor: &Descriptor, _progress: Progress<'a>) -> Result<Blob<'a>> {
        Ok(Box::new(self.file(descriptor)?))
    }
}
