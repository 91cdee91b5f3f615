//! A new image: another one with a layer more, and another configuration.

use std::fs::File;
use std::io::{self, Read};
use std::time::SystemTime;

use serde_json::{Map, Value, json};

use crate::digest::{Digest, Hasher, Hashing};
use crate::error::{Error, Result};
use crate::manifest::{DOCKER_MANIFEST, OCI_LAYER};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Image, Record, Store};
use crate::unpack;

const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

/// What is said of a new image.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Its name; its id where there is none.
    pub reference: Option<Reference>,
    /// Who has made it.
    pub author: String,
    /// What for.
    pub comment: String,
    /// When, by RFC 3339.
    pub created: String,
}

impl Store {
    /// Makes an image of the one with this manifest and a layer, a tar archive as OCI's image-spec has it (layer.md).
    /// `change` changes what a container of it runs, under the keys that Docker has given them. The name is taken from
    /// whatever has it.
    pub fn commit(
        &self,
        base: &Digest,
        platform: &Platform,
        layer: impl Read,
        commit: &Commit,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Image> {
        let _hold = self.hold()?;
        let (mut manifest, old) = self.base(base)?;
        let config_digest = manifest["config"]["digest"].as_str().unwrap_or_default();
        let (mut config, _) = self.base(&Digest::parse(config_digest)?)?;
        let (diff_id, size) = self.added(layer)?;

        let object = |value: &mut Value| match value.take() {
            Value::Object(map) => map,
            _ => Map::new(),
        };
        let mut run = object(&mut config["config"]);
        change(&mut run);
        config["config"] = Value::Object(run);
        config["created"] = json!(commit.created);
        config["author"] = json!(commit.author);
        append(&mut config["rootfs"]["diff_ids"], json!(diff_id));
        let step = json!({"created": commit.created, "author": commit.author, "comment": commit.comment});
        append(&mut config["history"], step);
        let config = config.to_string();
        let config_digest = Digest::of(config.as_bytes());

        let kind = if old == DOCKER_MANIFEST { DOCKER_LAYER } else { OCI_LAYER };
        append(&mut manifest["layers"], json!({"mediaType": kind, "digest": diff_id, "size": size}));
        manifest["config"]["digest"] = json!(config_digest);
        manifest["config"]["size"] = json!(config.len());
        let manifest = manifest.to_string();
        let digest = Digest::of(manifest.as_bytes());

        self.keep_blob(&digest, manifest.as_bytes())?;
        self.keep_blob(&config_digest, config.as_bytes())?;
        let reference = commit.reference.clone().unwrap_or_else(|| Reference::Id(config_digest.clone()));
        let digests = (digest.clone(), digest, config_digest);
        self.keep_record(&Record::new(&reference, platform, digests, SystemTime::now()))?;
        let made = self.find(&reference, platform)?;
        made.ok_or_else(|| Error::document("the new image", "a part of it is damaged"))
    }

    /// A document of the image that the new one stands on, with its media type.
    fn base(&self, digest: &Digest) -> Result<(Value, String)> {
        let what = || "the image that the container stands on".to_owned();
        let bytes = self.blob(digest)?;
        let bytes = bytes.ok_or_else(|| Error::document(what(), "it is not in the store any more"))?;
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| Error::document(what(), error))?;
        let kind = value["mediaType"].as_str().unwrap_or_default().to_owned();
        Ok((value, kind))
    }

    /// Adds a layer of which nobody knows the digest yet: that and its size.
    fn added(&self, layer: impl Read) -> Result<(Digest, u64)> {
        let temporary = self.temporary()?;
        let path = temporary.path().join("layer.tar");
        let mut file = File::create_new(&path).map_err(Error::file("make", &path))?;
        let mut hashing = Hashing::new(layer, Hasher::sha256());
        io::copy(&mut hashing, &mut file).map_err(Error::file("write the new layer to", &path))?;
        let (diff_id, size) = hashing.finish();
        let failed =
            |source| Error::Layer { image: "the new image".to_owned(), layer: diff_id.clone(), source };
        self.layer(
            &diff_id,
            || {},
            |folder| {
                let file = File::open(&path).map_err(Error::file("read", &path))?;
                unpack::unpack(file, folder, &self.limits, &diff_id).map_err(failed)
            },
        )?;
        Ok((diff_id, size))
    }
}

fn append(list: &mut Value, item: Value) {
    match list {
        Value::Array(items) => items.push(item),
        other => *other = json!([item]),
    }
}
