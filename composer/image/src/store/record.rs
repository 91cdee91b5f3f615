//! Which manifest a reference stands for: one file for each reference and platform.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Store, disk, read_json, to_json};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::reference::Reference;

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub reference: String,
    pub platform: Platform,
    pub source: Digest,
    pub manifest: Digest,
    pub config: Digest,
    /// Seconds since 1970.
    pulled: u64,
}

impl Record {
    pub(crate) fn new(
        reference: &Reference,
        platform: &Platform,
        (source, manifest, config): (Digest, Digest, Digest),
        now: SystemTime,
    ) -> Self {
        let pulled = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        Self {
            reference: reference.to_string(),
            platform: platform.clone(),
            source,
            manifest,
            config,
            pulled,
        }
    }

    pub(crate) fn pulled(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.pulled)
    }
}

impl Store {
    pub(crate) fn keep_record(&self, record: &Record) -> Result<()> {
        let path = self.record_path(&record.reference, &record.platform);
        disk::write(&self.tmp(), &path, &to_json(record), &self.stop)
    }

    pub(super) fn record(&self, reference: &Reference, platform: &Platform) -> Result<Option<Record>> {
        let wanted = reference.to_string();
        let named: Option<Record> = read_json(&self.record_path(&wanted, platform))?;
        if let Some(record) =
            named.filter(|record| record.reference == wanted && record.platform == *platform)
        {
            return Ok(Some(record));
        }
        // Content by its digest is the same under every name.
        let is_it = |record: &Record| match reference {
            Reference::Id(id) => record.config == *id,
            Reference::Registry(named) => {
                named.digest().is_some_and(|digest| record.source == *digest || record.manifest == *digest)
            }
            Reference::Layout(_) | Reference::OciArchive(_) | Reference::DockerArchive(_) => false,
        };
        let mut records = self.records()?;
        records.retain(|(_, record)| record.platform == *platform && is_it(record));
        Ok(records.pop().map(|(_, record)| record))
    }

    pub(super) fn records(&self) -> Result<Vec<(PathBuf, Record)>> {
        let folder = self.root.join("images");
        let mut records = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::file("read", &folder))? {
            let path = entry.map_err(Error::file("read", &folder))?.path();
            records.extend(read_json(&path)?.map(|record| (path, record)));
        }
        Ok(records)
    }

    fn record_path(&self, reference: &str, platform: &Platform) -> PathBuf {
        let key = Digest::of(format!("{reference}\n{platform}").as_bytes());
        self.root.join("images").join(format!("{}.json", key.hex()))
    }
}
