//! OCI's image layout, in a folder or a tar file.

use super::files::Files;
use super::{Blob, Root, Source, read_document};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document};
use crate::progress::Progress;
use crate::reference::Local;

/// Under which an image of a layout has its name. containerd writes the full reference under its own.
const NAMES: [&str; 2] = ["org.opencontainers.image.ref.name", "io.containerd.image.name"];

pub(super) struct Layout {
    files: Files,
    name: Option<String>,
}

impl Layout {
    pub(super) fn folder(local: &Local) -> Self {
        Self { files: Files::Folder(local.path().to_owned()), name: local.name().map(str::to_owned) }
    }

    pub(super) fn archive(local: &Local) -> Result<Self> {
        Ok(Self { files: Files::archive(local.path())?, name: local.name().map(str::to_owned) })
    }

    fn read(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>> {
        let (reader, _) = self.files.open(&path(&descriptor.digest))?;
        read_document(reader, descriptor, what)
    }
}

fn path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

impl Source for Layout {
    fn root(&self) -> Result<Root> {
        let bytes = self.files.read("index.json")?;
        let what = self.files.show("index.json");
        let Document::Index(mut images) = Document::parse(&bytes, &what)? else {
            return Err(Error::document(what, "it is no index"));
        };
        let names = |image: &Descriptor| -> Vec<String> {
            NAMES.iter().filter_map(|key| image.annotations.get(*key).cloned()).collect()
        };
        if let Some(name) = &self.name {
            let there: Vec<String> = images.iter().flat_map(names).collect();
            images.retain(|image| names(image).contains(name));
            if images.is_empty() {
                let message = format!("it has no image `{name}`; it has {}", there.join(", "));
                return Err(Error::document(what, message));
            }
        }
        let mut named: Vec<String> = images.iter().flat_map(names).collect();
        named.sort();
        named.dedup();
        let is_one = images.windows(2).all(|pair| pair[0].digest == pair[1].digest);
        if self.name.is_none() && named.len() > 1 && !is_one {
            let message = format!("it has several images, name one after a `:`; it has {}", named.join(", "));
            return Err(Error::document(what, message));
        }
        if is_one {
            images.truncate(1);
        }
        if let [image] = &images[..] {
            let what = self.files.show(&path(&image.digest));
            let bytes = self.read(image, &what)?;
            let document = Document::parse(&bytes, &what)?;
            return Ok(Root { digest: image.digest.clone(), bytes, document });
        }
        Ok(Root { digest: Digest::of(&bytes), bytes, document: Document::Index(images) })
    }

    fn manifest(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>> {
        self.read(descriptor, what)
    }

    fn blob<'a>(&'a self, descriptor: &Descriptor, _progress: Progress<'a>) -> Result<Blob<'a>> {
        Ok(Box::new(self.files.open(&path(&descriptor.digest))?.0))
    }
}
