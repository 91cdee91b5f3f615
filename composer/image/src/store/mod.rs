//! The store of images: content by its digest, each layer unpacked once for all images.
//!
//! ```text
//! images/KEY.json             which manifest a reference stands for on a platform
//! blobs/sha256/HEX            manifests and configurations
//! layers/sha256/HEX/fs        a layer by its diff id, as overlayfs wants it; layer.json beside it says its size
//! locks/ lock                 who is at work
//! tmp/                        what is being made; of dead processes once nobody has the store
//! ```
//!
//! Something is there when its name is: it is made beside, flushed and renamed. An image is recorded last.

mod disk;
mod gc;
mod lock;
mod record;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Document, Manifest, OCI_MANIFEST};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::registry::Registries;
use crate::stop::Stop;
use crate::unpack::{Limits, Unpacked};

pub use gc::Freed;
pub use lock::Hold;
pub(crate) use record::Record;

/// A store of images in a folder.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
    pub(crate) limits: Limits,
    pub(crate) registries: Registries,
    pub(crate) stop: Stop,
}

/// An image that is there whole.
#[derive(Debug, Clone)]
pub struct Image {
    /// As it was asked for, in its normal form.
    pub reference: String,
    /// The platform it was asked for.
    pub platform: Platform,
    /// The digest of its manifest: what holds it against [`Store::prune`].
    pub digest: Digest,
    /// The digest that the reference stood for: of the index, where there is one.
    pub source: Digest,
    /// Docker's id: the digest of its configuration.
    pub id: Digest,
    /// What it says of itself.
    pub config: Config,
    /// Its layers as folders for overlayfs, the lowest first, each once.
    pub layers: Vec<PathBuf>,
    /// How much its files hold.
    pub size: u64,
    /// When it was last pulled.
    pub pulled: SystemTime,
}

/// What a manifest says that it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    media_type: Option<String>,
}

/// What is known of a layer.
#[derive(Debug, Serialize, Deserialize)]
struct LayerInfo {
    bytes: u64,
    entries: u64,
}

impl Store {
    /// Opens the store in `root`, and makes it where there is none.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self {
            root: root.to_owned(),
            limits: Limits::default(),
            registries: Registries::default(),
            stop: Stop::default(),
        };
        for folder in ["images", "blobs", "layers", "locks", "tmp"] {
            let folder = store.root.join(folder);
            if !folder.is_dir() {
                disk::make_folder(&folder)?;
            }
        }
        Ok(store)
    }

    /// With other limits of a layer.
    #[must_use]
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// With what is known of registries.
    #[must_use]
    pub fn with_registries(self, registries: Registries) -> Self {
        Self { registries, ..self }
    }

    /// Whose work ends when `stop` says so.
    #[must_use]
    pub fn with_stop(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// Keeps others from removing anything until the hold is dropped: between finding an image and recording that it is
    /// in use. Whoever holds it must not remove or prune meanwhile: that waits for all holds to end.
    pub fn hold(&self) -> Result<Hold> {
        Hold::shared(&self.root.join("lock"))
    }

    /// The image of a reference, if all of it is here. Asks no network.
    pub fn find(&self, reference: &Reference, platform: &Platform) -> Result<Option<Image>> {
        match self.record(reference, platform)? {
            Some(record) => self.image(record),
            None => Ok(None),
        }
    }

    /// Every image that is here whole, by reference and platform.
    pub fn list(&self) -> Result<Vec<Image>> {
        let mut images = Vec::new();
        for (_, record) in self.records()? {
            images.extend(self.image(record)?);
        }
        images.sort_by(|a, b| (&a.reference, &a.platform).cmp(&(&b.reference, &b.platform)));
        Ok(images)
    }

    fn image(&self, record: Record) -> Result<Option<Image>> {
        let Some((_, config)) = self.documents(&record.manifest)? else {
            return Ok(None);
        };
        let Some((layers, size)) = self.layers(&config)? else { return Ok(None) };
        Ok(Some(Image {
            pulled: record.pulled(),
            reference: record.reference,
            platform: record.platform,
            digest: record.manifest,
            source: record.source,
            id: record.config,
            config,
            layers,
            size,
        }))
    }

    /// What an image says of itself and how much its files hold, whether or not it has a name still.
    pub fn of_manifest(&self, manifest: &Digest) -> Result<Option<(Config, u64)>> {
        let Some((_, config)) = self.documents(manifest)? else { return Ok(None) };
        Ok(self.layers(&config)?.map(|(_, size)| (config, size)))
    }

    /// The folders of an image's layers, the lowest first, and how much they hold; `None` where not all are here.
    fn layers(&self, config: &Config) -> Result<Option<(Vec<PathBuf>, u64)>> {
        let mut layers: Vec<PathBuf> = Vec::new();
        let mut size = 0;
        // The kernel refuses a folder that comes twice. The upper one shows and hides all that the lower would.
        for diff_id in config.diff_ids.iter().rev() {
            let folder = self.layer_path(diff_id);
            let files = folder.join("fs");
            if layers.contains(&files) {
                continue;
            }
            // Somebody may have taken its files away and left the rest.
            let info = read_json::<LayerInfo>(&folder.join("layer.json"))?.filter(|_| files.is_dir());
            let Some(info) = info else {
                return Ok(None);
            };
            size += info.bytes;
            layers.push(files);
        }
        layers.reverse();
        Ok(Some((layers, size)))
    }

    /// The manifest of an image as it came, read and under its media type.
    pub(crate) fn manifest(&self, image: &Image) -> Result<(Manifest, (String, Vec<u8>))> {
        let gone = || Error::document("the manifest in the store", "it is damaged: pull the image again");
        let bytes = self.blob(&image.digest)?.ok_or_else(gone)?;
        let Document::Manifest(manifest) = Document::parse(&bytes, "a manifest in the store")? else {
            return Err(gone());
        };
        let kind = serde_json::from_slice::<Kind>(&bytes).ok().and_then(|found| found.media_type);
        Ok((manifest, (kind.unwrap_or_else(|| OCI_MANIFEST.to_owned()), bytes)))
    }

    /// The configuration of an image as it came.
    pub(crate) fn config_bytes(&self, image: &Image) -> Result<Vec<u8>> {
        let gone =
            || Error::document("the configuration in the store", "it is damaged: pull the image again");
        self.blob(&image.id)?.ok_or_else(gone)
    }

    /// The folder of a layer.
    pub(crate) fn files(&self, diff_id: &Digest) -> PathBuf {
        self.layer_path(diff_id).join("fs")
    }

    /// A folder for what is being made.
    pub(crate) fn temporary(&self) -> Result<disk::Temporary> {
        disk::Temporary::new(&self.tmp(), &self.stop)
    }

    /// Manifest and configuration, where both are here and what they should be.
    fn documents(&self, manifest: &Digest) -> Result<Option<(Manifest, Config)>> {
        let Some(bytes) = self.blob(manifest)? else { return Ok(None) };
        let Document::Manifest(manifest) = Document::parse(&bytes, "a manifest in the store")? else {
            return Ok(None);
        };
        let Some(bytes) = self.blob(&manifest.config.digest)? else { return Ok(None) };
        let config = Config::parse(&bytes, || "a configuration in the store".to_owned())?;
        Ok(Some((manifest, config)))
    }

    /// A blob, if it is here and is what its name says.
    pub(crate) fn blob(&self, digest: &Digest) -> Result<Option<Vec<u8>>> {
        let Some(bytes) = read(&self.blob_path(digest))? else { return Ok(None) };
        let mut hasher = crate::digest::Hasher::like(digest);
        hasher.update(&bytes);
        Ok((hasher.finish() == *digest).then_some(bytes))
    }

    /// Keeps a blob whose digest has been verified.
    pub(crate) fn keep_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        if self.blob(digest)?.is_some() {
            return Ok(());
        }
        let path = self.blob_path(digest);
        self.parent_of(&path)?;
        disk::write(&self.tmp(), &path, bytes, &self.stop)
    }

    /// Whether a layer is here.
    pub(crate) fn has_layer(&self, diff_id: &Digest) -> bool {
        let folder = self.layer_path(diff_id);
        folder.join("layer.json").exists() && folder.join("fs").is_dir()
    }

    /// Has a layer made by `fill`, unless it is here. Where another process makes it, it is waited for, after a call of
    /// `waiting`. Whether it was made here.
    pub(crate) fn layer(
        &self,
        diff_id: &Digest,
        waiting: impl FnOnce(),
        fill: impl FnOnce(BorrowedFd<'_>) -> Result<Unpacked>,
    ) -> Result<bool> {
        if self.has_layer(diff_id) {
            return Ok(false);
        }
        let _lock = lock::LayerLock::take(self.root.join("locks").join(diff_id.hex()), &self.stop, waiting)?;
        if self.has_layer(diff_id) {
            return Ok(false);
        }
        let temporary = disk::Temporary::new(&self.tmp(), &self.stop)?;
        let files = temporary.path().join("fs");
        fs::create_dir(&files).map_err(Error::file("make", &files))?;
        // Whatever the umask is: an archive need not have the root of its layer in it.
        fs::set_permissions(&files, fs::Permissions::from_mode(0o755))
            .map_err(Error::file("make", &files))?;
        let folder = File::open(&files).map_err(Error::file("open", &files))?;
        let unpacked = fill(folder.as_fd())?;
        let info = LayerInfo { bytes: unpacked.bytes, entries: unpacked.entries };
        let path = temporary.path().join("layer.json");
        fs::write(&path, to_json(&info)).map_err(Error::file("write", &path))?;
        // Once for all of a layer's files, not once for each.
        rustix::fs::syncfs(&folder).map_err(Error::os("flush", &files))?;
        let place = self.layer_path(diff_id);
        self.parent_of(&place)?;
        // What is left of one that is not whole any more.
        crate::tree::remove_path(&place)?;
        temporary.place(&place)?;
        Ok(true)
    }

    /// Removes what processes have left that died, unless somebody is at work.
    pub(crate) fn sweep(&self) -> Result<()> {
        match Hold::alone_if_free(&self.root.join("lock"))? {
            Some(alone) => self.sweep_alone(&alone),
            None => Ok(()),
        }
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm()).join(digest.hex())
    }

    fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.algorithm()).join(diff_id.hex())
    }

    fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Makes the folder that `path` is in.
    fn parent_of(&self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(folder) if !folder.is_dir() => {
                disk::make_folder(folder)?;
                disk::sync_parent(folder)
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The content of a file; nothing where there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", path)(error)),
    }
}

fn read_json<T: for<'de> Deserialize<'de>>(path: &Path) -> Result<Option<T>> {
    // What cannot be read was written by somebody else; it is as good as not there, and is pulled anew.
    Ok(read(path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}
