//! Bringing an image into the store: all layers at once, each downloaded, verified and unpacked as one stream.

use std::collections::{HashSet, VecDeque};
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use crate::config::Config;
use crate::digest::{Digest, Hasher, Hashing};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Document, Manifest};
use crate::platform::Platform;
use crate::progress::{Event, Progress};
use crate::reference::Reference;
use crate::source::{self, Source};
use crate::stop::Stop;
use crate::store::{Image, Record, Store};
use crate::unpack::{self, Unpacked, unpack};

/// When an image is pulled that may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Each time; what is there already is not moved again.
    Always,
    /// When it is not there.
    Missing,
    /// Never: an image that is not there is an error.
    Never,
    /// When it is not there or was pulled longer ago than this.
    After(Duration),
}

impl Policy {
    /// Whether an image that is here will do.
    #[must_use]
    pub fn is_content(self, image: &Image, now: SystemTime) -> bool {
        match self {
            Self::Always => false,
            Self::Missing | Self::Never => true,
            // A clock that was set back makes an image no newer.
            Self::After(age) => now.duration_since(image.pulled).is_ok_and(|since| since < age),
        }
    }
}

/// How many layers are worked on at a time: most images have fewer, and a registry serves no more any faster.
const AT_ONCE: usize = 8;
/// How much of a layer comes between two words about it.
const STEP: u64 = 64 << 10;
/// Indexes that lead to indexes.
const DEEPEST: usize = 4;

/// What a reference has turned out to be.
struct Resolved {
    source: Digest,
    digest: Digest,
    bytes: Vec<u8>,
    manifest: Manifest,
    config_bytes: Vec<u8>,
    config: Config,
}

impl Store {
    /// The image of a reference, brought here where the policy says so. Blocks; must not be called on a thread that runs
    /// asynchronous tasks.
    pub fn pull(
        &self,
        reference: &Reference,
        platform: &Platform,
        policy: Policy,
        progress: Progress<'_>,
    ) -> Result<Image> {
        let now = SystemTime::now();
        if policy != Policy::Always
            && let Some(image) = self.find(reference, platform)?
            && policy.is_content(&image, now)
        {
            return Ok(image);
        }
        let absent =
            |reason| Error::Absent { image: reference.familiar(), platform: platform.clone(), reason };
        if policy == Policy::Never {
            return Err(absent("its pull policy is `never`"));
        }
        let named = |error| Error::Pull { image: reference.familiar(), source: Box::new(error) };
        let image = self.bring_all(reference, platform, now, progress).map_err(|error| match error {
            Error::File { .. } => named(error),
            // What is read from disk goes by its path.
            Error::Document { ref what, .. } if !what.contains(&reference.familiar()) => named(error),
            error => error,
        });
        let image = image.and_then(|image| image.ok_or_else(|| absent("what was pulled is damaged")));
        progress(match &image {
            Ok(_) => Event::Pulled,
            Err(error) => Event::Failed { error },
        });
        image
    }

    fn bring_all(
        &self,
        reference: &Reference,
        platform: &Platform,
        now: SystemTime,
        progress: Progress<'_>,
    ) -> Result<Option<Image>> {
        self.sweep()?;
        let _hold = self.hold()?;
        let Some(source) = source::open(reference, &self.registries, &self.stop)? else {
            let (image, platform) = (reference.familiar(), platform.clone());
            return Err(Error::Absent { image, platform, reason: "an id cannot be pulled" });
        };
        let resolved = resolve(&*source, reference, platform, progress)?;
        self.bring(&*source, reference, &resolved, progress)?;
        self.keep_blob(&resolved.digest, &resolved.bytes)?;
        self.keep_blob(&resolved.manifest.config.digest, &resolved.config_bytes)?;
        let digests = (resolved.source, resolved.digest, resolved.manifest.config.digest);
        self.keep_record(&Record::new(reference, platform, digests, now))?;
        self.find(reference, platform)
    }

    /// Brings the layers that are not there.
    fn bring(
        &self,
        source: &dyn Source,
        reference: &Reference,
        resolved: &Resolved,
        progress: Progress<'_>,
    ) -> Result<()> {
        let layers = resolved.manifest.layers.iter().zip(&resolved.config.diff_ids);
        progress(Event::Resolved {
            manifest: &resolved.digest,
            layers: layers
                .clone()
                .map(|(layer, id)| (&layer.digest, layer.size, self.has_layer(id)))
                .collect(),
        });
        let mut seen = HashSet::new();
        let jobs: VecDeque<(&Descriptor, &Digest)> = layers
            .filter(|(layer, diff_id)| {
                let wanted = seen.insert(*diff_id) && !self.has_layer(diff_id);
                if !wanted {
                    progress(Event::Done { layer: &layer.digest });
                }
                wanted
            })
            .collect();
        let workers = jobs.len().min(AT_ONCE);
        let jobs = Mutex::new(jobs);
        let stop = AtomicBool::new(false);
        let first = Mutex::new(None);
        let work = || {
            while let Some((layer, diff_id)) = pop(&jobs) {
                let job = Job {
                    source,
                    image: reference,
                    layer,
                    diff_id,
                    stop: &stop,
                    stop_all: &self.stop,
                    progress,
                };
                if let Err(error) = self.bring_one(&job) {
                    stop.store(true, Ordering::Relaxed);
                    first.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get_or_insert(error);
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(work);
            }
        });
        match first.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn bring_one(&self, job: &Job<'_>) -> Result<()> {
        let waiting = || (job.progress)(Event::Waiting { layer: &job.layer.digest });
        self.layer(job.diff_id, waiting, |folder| job.unpack(folder, &self.limits))?;
        (job.progress)(Event::Done { layer: &job.layer.digest });
        Ok(())
    }
}

fn pop<'a>(jobs: &Mutex<VecDeque<(&'a Descriptor, &'a Digest)>>) -> Option<(&'a Descriptor, &'a Digest)> {
    jobs.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
}

fn resolve(
    source: &dyn Source,
    reference: &Reference,
    platform: &Platform,
    progress: Progress<'_>,
) -> Result<Resolved> {
    let image = reference.familiar();
    let root = source.root()?;
    let no_platform =
        |has: Vec<String>| Error::NoPlatform { image: image.clone(), wanted: platform.clone(), has };
    let (mut digest, mut bytes, mut document) = (root.digest.clone(), root.bytes, root.document);
    let mut depth = 0;
    let manifest = loop {
        let images = match document {
            Document::Manifest(manifest) => break manifest,
            Document::Index(images) => images,
        };
        depth += 1;
        let platforms: Vec<Option<Platform>> = images.iter().map(Descriptor::platform).collect();
        let chosen = match (platform.choose(platforms.iter().map(Option::as_ref)), &platforms[..]) {
            (None, [None]) => Some(0),
            (chosen, _) => chosen,
        };
        let Some(chosen) = chosen.filter(|_| depth <= DEEPEST) else {
            // Attestations are listed as if they were for a platform of this name.
            let names = platforms.iter().flatten().map(ToString::to_string);
            return Err(no_platform(names.filter(|name| name != "unknown/unknown").collect()));
        };
        let what = format!("the manifest of `{image}` for {platform}");
        bytes = source.manifest(&images[chosen], &what)?;
        document = Document::parse(&bytes, &what)?;
        digest = images[chosen].digest.clone();
    };
    let what = format!("the configuration of `{image}`");
    let blob = source.blob(&manifest.config, progress)?;
    let config_bytes = source::read_document(blob, &manifest.config, &what)?;
    let config = Config::parse(&config_bytes, || what.clone())?;
    if let Some(made_for) = config.platform.as_ref().filter(|made_for| !platform.runs(made_for)) {
        return Err(no_platform(vec![made_for.to_string()]));
    }
    if config.diff_ids.len() != manifest.layers.len() {
        let (ids, layers) = (config.diff_ids.len(), manifest.layers.len());
        return Err(Error::document(what, format!("it speaks of {ids} layers, the manifest of {layers}")));
    }
    Ok(Resolved { source: root.digest, digest, bytes, manifest, config_bytes, config })
}

/// One layer to be brought.
struct Job<'a> {
    source: &'a dyn Source,
    image: &'a Reference,
    layer: &'a Descriptor,
    diff_id: &'a Digest,
    /// Of this image's layers.
    stop: &'a AtomicBool,
    stop_all: &'a Stop,
    progress: Progress<'a>,
}

impl Job<'_> {
    fn unpack(&self, folder: BorrowedFd<'_>, limits: &unpack::Limits) -> Result<Unpacked> {
        let watched = Watched {
            inner: self.source.blob(self.layer, self.progress)?,
            job: self,
            count: 0,
            told: 0,
            failed: false,
            broken: None,
        };
        let mut hashing = Hashing::new(watched, Hasher::like(&self.layer.digest));
        let result = unpack(&mut hashing, folder, limits, self.diff_id);
        let failed =
            |source| Error::Layer { image: self.image.familiar(), layer: self.layer.digest.clone(), source };
        let broken = match result {
            Ok(unpacked) => {
                io::copy(&mut hashing, &mut io::sink())
                    .map_err(|error| failed(unpack::Error::Stream(error)))?;
                Ok(unpacked)
            }
            // Content that is not what was promised says more than what was wrong with it.
            Err(unpack::Error::Stream(error)) if !hashing.get_ref().failed => {
                let drained = io::copy(&mut hashing, &mut io::sink());
                drained.map_err(|error| failed(unpack::Error::Stream(error)))?;
                Err(unpack::Error::Stream(error))
            }
            Err(_) if self.stop_all.is_asked() => return Err(Error::Stopped),
            Err(_) if self.stopped() => return Err(Error::Cancelled),
            Err(_) if hashing.get_ref().broken.is_some() => return Err(self.lost(hashing.get_ref())),
            Err(error) => return Err(failed(error)),
        };
        let (found, _) = hashing.finish();
        self.layer.digest.expect(&found, || format!("a layer of `{}`", self.image.familiar()))?;
        let unpacked = broken.map_err(failed)?;
        self.diff_id.expect(&unpacked.diff_id, || {
            format!("layer {} of `{}`, unpacked,", self.layer.digest, self.image.familiar())
        })?;
        Ok(unpacked)
    }

    /// The source has gone in the middle of it.
    fn lost(&self, watched: &Watched<'_>) -> Error {
        let why = watched.broken.as_deref().unwrap_or_default();
        let message = match self.image {
            Reference::Registry(named) => {
                let (registry, layer) = (named.registry(), self.layer.digest.short());
                format!(
                    "{registry} has sent {} of {} bytes of layer {layer}: {why}; what is whole is kept: pull it again",
                    watched.count, self.layer.size
                )
            }
            Reference::Layout(_)
            | Reference::OciArchive(_)
            | Reference::DockerArchive(_)
            | Reference::Id(_) => {
                format!("layer {}: {why}", self.layer.digest.short())
            }
        };
        Error::Registry { doing: "read all of", image: self.image.familiar(), message }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.stop_all.is_asked()
    }
}

/// Tells how far a download has come, and ends it when another layer has failed or it is longer than was said.
struct Watched<'a> {
    inner: source::Blob<'a>,
    job: &'a Job<'a>,
    count: u64,
    /// How much of it has been told.
    told: u64,
    /// Whether it was the source that failed.
    failed: bool,
    /// What the source said, where it broke off.
    broken: Option<String>,
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.job.stopped() {
            self.failed = true;
            return Err(io::Error::other("given up, as another layer failed"));
        }
        let read = self.inner.read(buffer);
        if let Err(error) = &read {
            self.failed = true;
            self.broken = Some(error.to_string());
        }
        let count = read?;
        self.count += count as u64;
        if self.count > self.job.layer.size {
            self.failed = true;
            return Err(io::Error::other(format!(
                "it is longer than the {} bytes promised",
                self.job.layer.size
            )));
        }
        // An eye takes in a few hundred steps, and each costs whoever shows it.
        if self.count - self.told >= STEP || self.count == self.job.layer.size && self.told != self.count {
            self.told = self.count;
            (self.job.progress)(Event::Advanced { layer: &self.job.layer.digest, bytes: self.count });
        }
        Ok(count)
    }
}
