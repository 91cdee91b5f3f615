//! Removing: names first, then what no name and no container needs any more, each in one rename.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Hold, Image, LayerInfo, Record, Store, disk, read_json};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::tree;

/// What has been removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Freed {
    /// The references that are gone.
    pub references: Vec<String>,
    /// How many layers.
    pub layers: usize,
    /// How much their files held.
    pub bytes: u64,
}

impl Store {
    /// Removes the name of an image, and what nobody else needs. `used` are the manifests of the images that containers
    /// stand on: what belongs to them stays. It is asked once nobody is at work, who might be about to make a container.
    pub fn remove<E: From<Error>>(
        &self,
        reference: &Reference,
        platform: &Platform,
        used: impl FnOnce() -> Result<Vec<Digest>, E>,
    ) -> Result<Freed, E> {
        let alone = Hold::alone(&self.root.join("lock"))?;
        let used = used()?;
        let Some(found) = self.record(reference, platform)? else {
            return Err(Error::Absent {
                image: reference.familiar(),
                platform: platform.clone(),
                reason: "nothing to remove",
            }
            .into());
        };
        let goes = |record: &Record| match reference {
            // All names of what has this id.
            Reference::Id(_) => record.config == found.config && record.platform == *platform,
            _ => record.reference == found.reference && record.platform == *platform,
        };
        Ok(self.collect(&alone, goes, &used)?)
    }

    /// Removes every image that is not in `used`, the manifests of the images that containers stand on.
    pub fn prune(&self, used: &[Digest]) -> Result<Freed> {
        self.prune_where(|| Ok(used.to_vec()), &|_| true)
    }

    /// Removes of the images that are not in `used` those that `goes` agrees to, and what no image needs any more.
    pub fn prune_where<E: From<Error>>(
        &self,
        used: impl FnOnce() -> Result<Vec<Digest>, E>,
        goes: &dyn Fn(&Image) -> bool,
    ) -> Result<Freed, E> {
        let alone = Hold::alone(&self.root.join("lock"))?;
        let used = used()?;
        // One that is not whole is of no use to anybody.
        let whole = self.list()?;
        let is_wanted = |record: &Record| {
            whole.iter().any(|image| {
                image.reference == record.reference && image.platform == record.platform && !goes(image)
            })
        };
        Ok(self.collect(&alone, |record| !used.contains(&record.manifest) && !is_wanted(record), &used)?)
    }

    fn collect(&self, alone: &Hold, goes: impl Fn(&Record) -> bool, used: &[Digest]) -> Result<Freed> {
        let mut freed = Freed::default();
        let mut manifests: HashSet<Digest> = used.iter().cloned().collect();
        for (path, record) in self.records()? {
            if goes(&record) {
                fs::remove_file(&path).map_err(Error::file("remove", &path))?;
                disk::sync_parent(&path)?;
                freed.references.push(record.reference);
            } else {
                manifests.insert(record.manifest);
            }
        }
        freed.references.sort();
        let (mut blobs, mut layers) = (HashSet::new(), HashSet::new());
        for manifest in manifests {
            if let Some((document, config)) = self.documents(&manifest)? {
                layers.extend(config.diff_ids.iter().map(|id| self.layer_path(id)));
                blobs.insert(self.blob_path(&document.config.digest));
                blobs.insert(self.blob_path(&manifest));
            }
        }
        for path in content(&self.root.join("layers"))?.into_iter().filter(|path| !layers.contains(path)) {
            let info: Option<LayerInfo> = read_json(&path.join("layer.json"))?;
            freed.layers += 1;
            freed.bytes += info.map_or(0, |info| info.bytes);
            self.throw_away(&path)?;
        }
        for path in content(&self.root.join("blobs"))?.into_iter().filter(|path| !blobs.contains(path)) {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
        self.sweep_alone(alone)?;
        Ok(freed)
    }

    /// In one step for whoever looks: a layer is whole or gone.
    fn throw_away(&self, path: &Path) -> Result<()> {
        let temporary = disk::Temporary::new(&self.tmp(), &self.stop)?;
        fs::rename(path, temporary.path().join("gone")).map_err(Error::file("remove", path))
    }

    /// Removes what was being made. Nobody is at work, so whoever made it is dead.
    pub(super) fn sweep_alone(&self, _alone: &Hold) -> Result<()> {
        for path in entries(&self.tmp())? {
            tree::remove_path(&path)?;
        }
        for path in entries(&self.root.join("locks"))? {
            fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        }
        Ok(())
    }
}

/// What is in the folders of the algorithms.
fn content(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for algorithm in entries(folder)? {
        found.extend(entries(&algorithm)?);
    }
    Ok(found)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    fs::read_dir(folder)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
        .map_err(Error::file("read", folder))
}
