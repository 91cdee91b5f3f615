//! What is mounted into containers: mounts, volumes, and the files of secrets and configs.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::image::ImageUse;

/// A mount of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the container.
    pub target: String,
    /// `read_only` or `:ro`.
    pub read_only: bool,
    /// What is mounted.
    pub kind: MountKind,
    /// How. Left out where nothing is asked: what was written before it was known stays what it was.
    #[serde(default, skip_serializing_if = "MountOptions::is_plain")]
    pub options: MountOptions,
}

/// What is mounted at a target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountKind {
    /// A file or folder of the host.
    Bind {
        /// Absolute host path.
        source: PathBuf,
        /// Make a missing source as a folder instead of failing.
        create_host_path: bool,
    },
    /// A named volume: a key of [`super::Stack::volumes`].
    Volume {
        /// The key.
        source: String,
    },
    /// A volume without a name, kept with the container and removed with it.
    Anonymous,
    /// The volume without a name that the first container of another service has at a path: `volumes_from`.
    Borrowed {
        /// The service.
        service: String,
        /// Where that one mounts it.
        target: String,
    },
    /// The files of an image, which nobody can write.
    Image(ImageUse),
    /// Memory.
    Tmpfs {
        /// Size in bytes; the kernel's default where absent.
        size: Option<u64>,
        /// Permission bits; 01777 where absent.
        mode: Option<u32>,
    },
}

/// The options of a mount, each of its own kind alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountOptions {
    /// `bind.propagation`.
    #[serde(skip_serializing_if = "Propagation::is_private")]
    pub propagation: Propagation,
    /// `bind.recursive`.
    #[serde(skip_serializing_if = "Recursion::is_whole")]
    pub recursion: Recursion,
    /// `volume.nocopy`: an empty volume stays so.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub no_copy: bool,
    /// `volume.subpath`, `image.subpath`: what of the volume or image is mounted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subpath: Option<String>,
    /// `volume.labels`, of a volume without a name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl MountOptions {
    /// Whether nothing is asked.
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// How what is mounted below a bind mount's source passes between host and container (mount_namespaces(7)). The
/// recursive words mean the same: what comes along is below the source already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    /// `private`, `rprivate`: not at all.
    #[default]
    Private,
    /// `slave`, `rslave`: from the host to the container.
    Slave,
    /// `shared`, `rshared`: both ways.
    Shared,
}

impl Propagation {
    fn is_private(&self) -> bool {
        *self == Self::Private
    }
}

/// What of a bind mount's source is mounted, and what of it is read-only where the mount is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recursion {
    /// `enabled`, `readonly`: all that is mounted below it too, and so is what is read-only.
    #[default]
    Whole,
    /// `disabled`: the source alone.
    Alone,
    /// `writable`: all, but what is mounted below it stays writable.
    Writable,
}

impl Recursion {
    fn is_whole(&self) -> bool {
        *self == Self::Whole
    }
}

/// A named volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// The name on the host: `name:`, or `STACK_KEY`.
    pub name: String,
    /// `external`: made and removed by somebody else.
    pub external: bool,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `driver_opts` of the driver `local`: `type`, `o` and `device` of what is mounted in its place.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub driver_opts: BTreeMap<String, String>,
}

/// A secret or config that a service gets as a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileMount {
    /// Its key at the top level.
    pub source: String,
    /// Absolute path inside the container.
    pub target: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// What it holds: a key of [`super::Stack::contents`]. Records keep no more of it than this.
    pub digest: String,
}

/// `volumes_from: container:NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// Of any stack.
    pub container: String,
    /// What it mounts cannot be written here.
    pub read_only: bool,
}
