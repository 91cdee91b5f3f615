//! Images: what a file asks for, and what it has turned out to be.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MountKind, Rootfs, Service};

/// An image that a file asks for, with what the image could have another opinion of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageSource {
    /// `image`.
    pub reference: String,
    /// `platform`; the host's own where the file does not set it.
    pub platform: Option<String>,
    /// `pull_policy`.
    pub pull: PullPolicy,
    /// Whether the file sets `stop_signal`.
    pub has_stop_signal: bool,
    /// Whether the file switches the health check off.
    pub unprobed: bool,
    /// What the file says of the times of health checks.
    pub times: CheckTimes,
}

/// An image besides a service's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageUse {
    /// As the file has it. It has to be brought before it can be used.
    Source(Box<ImageSource>),
    /// Once it is there.
    Found(Box<Image>),
}

/// What of a service an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImagePlace {
    /// Its root filesystem.
    Root,
    /// A step of `pre_start`, from 0.
    Step(usize),
    /// A mount, from 0.
    Mount(usize),
}

impl Service {
    /// The images that it asks for and that have not been brought.
    pub fn image_sources(&self) -> Vec<(ImagePlace, &ImageSource)> {
        let root = match &self.rootfs {
            Rootfs::Source(source) => Some((ImagePlace::Root, &**source)),
            Rootfs::Host | Rootfs::Path(_) | Rootfs::Image(_) => None,
        };
        let others = self.other_images().filter_map(|(place, used)| match used {
            ImageUse::Source(source) => Some((place, &**source)),
            ImageUse::Found(_) => None,
        });
        root.into_iter().chain(others).collect()
    }

    /// The images that it has.
    pub fn images(&self) -> Vec<(ImagePlace, &Image)> {
        let root = match &self.rootfs {
            Rootfs::Image(image) => Some((ImagePlace::Root, &**image)),
            Rootfs::Host | Rootfs::Path(_) | Rootfs::Source(_) => None,
        };
        let others = self.other_images().filter_map(|(place, used)| match used {
            ImageUse::Source(_) => None,
            ImageUse::Found(image) => Some((place, &**image)),
        });
        root.into_iter().chain(others).collect()
    }

    fn other_images(&self) -> impl Iterator<Item = (ImagePlace, &ImageUse)> {
        let steps = self.pre_start.iter().enumerate();
        let steps = steps.filter_map(|(number, step)| Some((ImagePlace::Step(number), step.image.as_ref()?)));
        let mounts = self.mounts.iter().enumerate().filter_map(|(number, mount)| match &mount.kind {
            MountKind::Image(used) => Some((ImagePlace::Mount(number), used)),
            MountKind::Bind { .. }
            | MountKind::Volume { .. }
            | MountKind::Anonymous
            | MountKind::Borrowed { .. }
            | MountKind::Tmpfs { .. } => None,
        });
        steps.chain(mounts)
    }
}

/// An image that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// As the file has it.
    pub reference: String,
    /// The digest of its manifest, which keeps it from being pruned.
    pub digest: String,
    /// Docker's id: the digest of its configuration.
    pub id: String,
    /// `OS/ARCHITECTURE[/VARIANT]`.
    pub platform: String,
    /// Its layers as folders, the lowest first.
    pub layers: Vec<PathBuf>,
}

/// `pull_policy`: when an image is pulled that may be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PullPolicy {
    /// `always`.
    Always,
    /// `missing` or `if_not_present`.
    #[default]
    Missing,
    /// `never`.
    Never,
    /// `daily`, `weekly` or `every_…`: when it was pulled longer ago than this.
    After(Duration),
}

/// The times of a `healthcheck`; those that a file does not set are the image's, or Docker's defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckTimes {
    /// `interval`.
    pub interval: Option<Duration>,
    /// `timeout`.
    pub timeout: Option<Duration>,
    /// `retries`.
    pub retries: Option<u32>,
    /// `start_period`.
    pub start_period: Option<Duration>,
    /// `start_interval`.
    pub start_interval: Option<Duration>,
}

impl CheckTimes {
    /// These, and where there is none that of others.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            interval: self.interval.or(other.interval),
            timeout: self.timeout.or(other.timeout),
            retries: self.retries.or(other.retries),
            start_period: self.start_period.or(other.start_period),
            start_interval: self.start_interval.or(other.start_interval),
        }
    }

    /// A health check with these times, and Docker's defaults where there is none.
    #[must_use]
    pub fn of(self, test: super::Test) -> super::Healthcheck {
        let default = Duration::from_secs(30);
        super::Healthcheck {
            test,
            interval: self.interval.unwrap_or(default),
            timeout: self.timeout.unwrap_or(default),
            retries: self.retries.unwrap_or(3),
            start_period: self.start_period.unwrap_or_default(),
            start_interval: self.start_interval,
        }
    }
}
