//! Manifests and indexes, of OCI and of Docker (version 2, schema 2).

use serde::{Deserialize, Serialize};

use crate::config::nullable;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

pub(crate) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(crate) const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(crate) const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(crate) const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(crate) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";

/// The largest manifest, index or configuration that is read: four times what registries accept of a manifest.
pub(crate) const LARGEST_DOCUMENT: u64 = 16 << 20;
/// The most layers of an image. Docker stops at 127.
const MOST_LAYERS: usize = 1000;

/// A piece of content: what it is, its digest and its length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, deserialize_with = "nullable")]
    pub media_type: String,
    pub digest: Digest,
    pub size: u64,
    #[serde(default, skip_serializing)]
    platform: Option<Offered>,
    #[serde(default, skip_serializing, deserialize_with = "nullable")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Offered {
    #[serde(default, deserialize_with = "nullable")]
    os: String,
    #[serde(default, deserialize_with = "nullable")]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
}

impl Descriptor {
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: Default::default(),
        }
    }

    pub(crate) fn platform(&self) -> Option<Platform> {
        let offered = self.platform.as_ref()?;
        Some(Platform::new(&offered.os, &offered.architecture, offered.variant.as_deref()))
    }
}

/// What a manifest's digest may stand for.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Manifest(Manifest),
}

/// One image: its configuration and its layers, the lowest first.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u32,
    media_type: &'static str,
    pub config: Descriptor,
    pub layers: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: u32,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
}

impl Manifest {
    /// A manifest for what came without one.
    pub(crate) fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self { schema_version: 2, media_type: OCI_MANIFEST, config, layers }
    }
}

impl Document {
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let wrong = |message: String| Error::document(what, message);
        let raw: Raw = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if raw.schema_version != 2 {
            return Err(wrong(format!(
                "it is a manifest of schema {}, and only 2 is known",
                raw.schema_version
            )));
        }
        // The members decide what is read, and a media type that says otherwise is refused, so that nobody takes the
        // same bytes for something else than others do (CVE-2021-41190).
        match (raw.media_type.as_deref(), raw.manifests, raw.config, raw.layers) {
            (None | Some(OCI_INDEX | DOCKER_INDEX), Some(manifests), None, None) => {
                Ok(Self::Index(manifests))
            }
            (None | Some(OCI_MANIFEST | DOCKER_MANIFEST), None, Some(config), Some(layers)) => {
                if ![OCI_CONFIG, DOCKER_CONFIG].contains(&config.media_type.as_str()) {
                    return Err(wrong(format!(
                        "it is no image but an artifact of type `{}`",
                        config.media_type
                    )));
                }
                if layers.len() > MOST_LAYERS {
                    return Err(wrong(format!("it has {} layers, more than {MOST_LAYERS}", layers.len())));
                }
                if let Some(layer) = layers.iter().find(|layer| !is_layer(&layer.media_type)) {
                    return Err(wrong(format!("it has a layer of the unknown type `{}`", layer.media_type)));
                }
                Ok(Self::Manifest(Manifest::new(config, layers)))
            }
            (Some(other), ..) => {
                Err(wrong(format!("it is of type `{other}`, and its content is none known of it")))
            }
            (None, ..) => Err(wrong("it is neither a manifest nor an index".to_owned())),
        }
    }
}

/// How it is compressed, its first bytes say; the name says that it is a tar at all.
fn is_layer(media_type: &str) -> bool {
    let base = media_type.split_once('+').map_or(media_type, |(base, compression)| match compression {
        "gzip" | "zstd" => base,
        _ => "",
    });
    matches!(
        base,
        OCI_LAYER
            | "application/vnd.oci.image.layer.nondistributable.v1.tar"
            | "application/vnd.docker.image.rootfs.diff.tar"
            | "application/vnd.docker.image.rootfs.diff.tar.gzip"
            | "application/vnd.docker.image.rootfs.diff.tar.zstd"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar"
            | "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(media_type: &str) -> String {
        format!(r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":3}}"#, "ab".repeat(32))
    }

    fn manifest(config: &str, layer: &str) -> String {
        format!(r#"{{"schemaVersion":2,"config":{},"layers":[{}]}}"#, descriptor(config), descriptor(layer))
    }

    #[test]
    fn both_families() {
        for layer in [
            OCI_LAYER,
            "application/vnd.oci.image.layer.v1.tar+gzip",
            "application/vnd.oci.image.layer.v1.tar+zstd",
            "application/vnd.docker.image.rootfs.diff.tar.gzip",
        ] {
            for config in [OCI_CONFIG, DOCKER_CONFIG] {
                let text = manifest(config, layer);
                assert!(matches!(Document::parse(text.as_bytes(), ""), Ok(Document::Manifest(_))), "{text}");
            }
        }
        let index = format!(r#"{{"schemaVersion":2,"mediaType":"{DOCKER_INDEX}","manifests":[]}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), ""), Ok(Document::Index(_))));
    }

    #[test]
    fn what_is_refused() {
        let both = manifest(OCI_CONFIG, OCI_LAYER).replace("\"config\"", "\"manifests\":[],\"config\"");
        let lying = manifest(OCI_CONFIG, OCI_LAYER)
            .replace("\"config\"", &format!("\"mediaType\":\"{OCI_INDEX}\",\"config\""));
        for (text, says) in [
            (r#"{"schemaVersion":1,"fsLayers":[]}"#.to_owned(), "schema 1"),
            (r#"{"schemaVersion":2}"#.to_owned(), "neither"),
            (both, "neither"),
            (lying, "is of type"),
            (manifest("application/vnd.cncf.helm.config.v1+json", OCI_LAYER), "artifact of type"),
            (manifest(OCI_CONFIG, "application/wasm"), "unknown type `application/wasm`"),
            (manifest(OCI_CONFIG, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted"), "encrypted"),
            (manifest(OCI_CONFIG, OCI_LAYER).replace("abab", "a/.."), "is not a digest"),
            ("nothing".to_owned(), "expected"),
        ] {
            let error = Document::parse(text.as_bytes(), "the manifest").unwrap_err().to_string();
            assert!(error.starts_with("the manifest cannot be used") && error.contains(says), "{error}");
        }
    }
}
