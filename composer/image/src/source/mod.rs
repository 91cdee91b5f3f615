//! Where images come from: something that has a first document and blobs by their digest.

mod docker;
mod files;
mod layout;

use std::io::Read;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, LARGEST_DOCUMENT};
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::{Registries, Registry};
use crate::stop::Stop;

/// The bytes of a blob as they come; nobody has verified them.
pub(crate) type Blob<'a> = Box<dyn Read + Send + 'a>;

pub(crate) trait Source: Sync {
    /// What the reference stands for, and the digest of that.
    fn root(&self) -> Result<Root>;

    /// A manifest or an index.
    fn manifest(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>>;

    /// Any other blob.
    fn blob<'a>(&'a self, descriptor: &Descriptor, progress: Progress<'a>) -> Result<Blob<'a>>;
}

/// The first document of a source.
pub(crate) struct Root {
    pub digest: Digest,
    pub bytes: Vec<u8>,
    pub document: Document,
}

/// The source that a reference names.
pub(crate) fn open(
    reference: &Reference,
    registries: &Registries,
    stop: &Stop,
) -> Result<Option<Box<dyn Source>>> {
    Ok(Some(match reference {
        Reference::Registry(named) => Box::new(Registry::new(named, registries, stop)?),
        Reference::Layout(local) => Box::new(layout::Layout::folder(local)),
        Reference::OciArchive(local) => Box::new(layout::Layout::archive(local)?),
        Reference::DockerArchive(local) => Box::new(docker::DockerArchive::open(local)?),
        Reference::Id(_) => return Ok(None),
    }))
}

/// The digest that a reference stands for now: of the index, where there is one.
///
/// # Errors
/// Those of asking its source.
pub fn digest(reference: &Reference, registries: &Registries) -> Result<Option<Digest>> {
    let source = open(reference, registries, &Stop::default())?;
    source.map(|source| Ok(source.root()?.digest)).transpose()
}

/// Reads a document to its end and believes it by its digest.
pub(crate) fn read_document(reader: impl Read, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>> {
    if descriptor.size > LARGEST_DOCUMENT {
        return Err(Error::document(what, format!("it says that it has {} bytes", descriptor.size)));
    }
    let mut bytes = Vec::new();
    reader.take(descriptor.size + 1).read_to_end(&mut bytes).map_err(|error| Error::document(what, error))?;
    let mut hasher = Hasher::like(&descriptor.digest);
    hasher.update(&bytes);
    descriptor.digest.expect(&hasher.finish(), || what.to_owned())?;
    Ok(bytes)
}
