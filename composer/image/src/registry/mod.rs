//! Registries, by the distribution API. The client library does the protocol; here are retries, downloads that go on where
//! they broke off, and the choice between HTTPS and HTTP.

mod certificates;
mod connection;
mod credentials;
mod download;
mod identity;
mod login;
mod settings;
#[cfg(test)]
mod tests;
mod upload;
mod words;

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};
use tokio::runtime::Runtime;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{
    DOCKER_INDEX, DOCKER_MANIFEST, Descriptor, Document, LARGEST_DOCUMENT, OCI_INDEX, OCI_MANIFEST,
};
use crate::progress::Progress;
use crate::reference::Named;
use crate::source::{Blob, Root, Source};
use crate::stop::Stop;
use connection::{Speech, Wanted};
pub use credentials::{Kept, Owner};
pub use settings::{Mirror, Proxies, Registries};
pub(crate) use upload::Upload;

/// How often a request is made before it counts as failed.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How it calls itself.
const AGENT: &str = concat!("composer/", env!("CARGO_PKG_VERSION"));
const CONNECT: Duration = Duration::from_secs(15);
/// In which something must come.
const SILENCE: Duration = Duration::from_secs(20);
/// Who says nothing is asked so often: longer waits would look like a hang.
const SILENT_ATTEMPTS: u32 = 2;

/// One image of a registry.
pub(crate) struct Registry {
    runtime: Runtime,
    remote: Arc<Remote>,
    named: Named,
    credentials: Option<credentials::Credentials>,
    /// The first document, where it has been fetched to see whether a mirror has it.
    first: Mutex<Option<Vec<u8>>>,
    /// What the mirrors before it said.
    in_vain: String,
}

struct Remote {
    client: Client,
    image: oci_client::Reference,
    stop: Stop,
}

impl Registry {
    /// Whatever of the mirrors and the registry itself answers first, in this order.
    pub(crate) fn new(named: &Named, registries: &Registries, stop: &Stop) -> Result<Self> {
        let registry = named.registry();
        let mut in_vain = String::new();
        for mirror in registries.mirrors.get(registry).into_iter().flatten() {
            let speech = if mirror.http { Speech::Http } else { Speech::Https };
            let found = Self::at(named, &mirror.host, speech, registries, stop).and_then(|found| {
                let first = found.fetch(&found.remote.image, "find")?;
                Ok(Self { first: Mutex::new(Some(first)), ..found })
            });
            match found {
                Ok(found) => return Ok(found),
                Err(Error::Stopped) => return Err(Error::Stopped),
                Err(Error::Registry { message, .. }) => {
                    in_vain = format!("{in_vain}; its mirror {}: {message}", mirror.host);
                }
                Err(error) => in_vain = format!("{in_vain}; its mirror {}: {error}", mirror.host),
            }
        }
        let found = Self::at(named, registry, Speech::Either, registries, stop);
        match found {
            Ok(found) => Ok(Self { in_vain, ..found }),
            Err(Error::Registry { doing, image, message }) => {
                Err(Error::Registry { doing, image, message: message + &in_vain })
            }
            Err(error) => Err(error),
        }
    }

    fn at(named: &Named, host: &str, speech: Speech, registries: &Registries, stop: &Stop) -> Result<Self> {
        let credentials = connection::known(registries, host)?;
        let runtime = runtime().map_err(|error| failed(named, "start the client for", &error.to_string()))?;
        let image = oci_image(named, host);
        let operation = RegistryOperation::Pull;
        let wanted = Wanted { host, speech, image: &image, operation, credentials: credentials.as_ref() };
        let failed = |doing, message: &str| failed(named, doing, message);
        let client = connection::connect(&runtime, &wanted, registries, stop, failed)?.client;
        let remote = Arc::new(Remote { client, image, stop: stop.clone() });
        let first = Mutex::new(None);
        Ok(Self { runtime, remote, named: named.clone(), credentials, first, in_vain: String::new() })
    }

    fn fetch(&self, image: &oci_client::Reference, doing: &'static str) -> Result<Vec<u8>> {
        let accepted = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
        let again = || self.remote.client.pull_manifest_raw(image, &RegistryAuth::Anonymous, &accepted);
        let said = |error| words::of(&error, self.credentials.as_ref()) + &self.in_vain;
        let (bytes, _) = run(&self.runtime, &self.remote.stop, again).map_err(|error| match error {
            Some(error) => failed(&self.named, doing, &said(error)),
            None => Error::Stopped,
        })?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(failed(&self.named, doing, &format!("the manifest has {} bytes", bytes.len())));
        }
        Ok(bytes.into())
    }
}

impl Source for Registry {
    fn root(&self) -> Result<Root> {
        let first = self.first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let bytes = match first {
            Some(bytes) => bytes,
            None => self.fetch(&self.remote.image, "find")?,
        };
        let what = format!("the manifest of `{}`", self.named);
        let digest = match self.named.digest() {
            Some(wanted) => {
                let mut hasher = crate::digest::Hasher::like(wanted);
                hasher.update(&bytes);
                let found = hasher.finish();
                wanted.expect(&found, || what.clone())?;
                found
            }
            None => Digest::of(&bytes),
        };
        let document = Document::parse(&bytes, &what)?;
        Ok(Root { digest, bytes, document })
    }

    fn manifest(&self, descriptor: &Descriptor, what: &str) -> Result<Vec<u8>> {
        let image = self.remote.image.clone_with_digest(descriptor.digest.to_string());
        let bytes = self.fetch(&image, "get the manifest of")?;
        let mut hasher = crate::digest::Hasher::like(&descriptor.digest);
        hasher.update(&bytes);
        descriptor.digest.expect(&hasher.finish(), || what.to_owned())?;
        Ok(bytes)
    }

    fn blob<'a>(&'a self, descriptor: &Descriptor, progress: Progress<'a>) -> Result<Blob<'a>> {
        Ok(Box::new(download::start(&self.runtime, Arc::clone(&self.remote), descriptor, progress)))
    }
}

fn failed(named: &Named, doing: &'static str, message: &str) -> Error {
    let image = crate::reference::Reference::Registry(named.clone()).familiar();
    Error::Registry { doing, image, message: message.to_owned() }
}

/// As a registry, or a mirror of it, calls it.
fn oci_image(named: &Named, host: &str) -> oci_client::Reference {
    let (registry, repository) = (host.to_owned(), named.repository().to_owned());
    match (named.digest(), named.tag()) {
        (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.to_string()),
        (None, tag) => {
            oci_client::Reference::with_tag(registry, repository, tag.unwrap_or("latest").to_owned())
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// As Docker has it: `localhost`, 127.0.0.0/8 and ::1, on any port.
fn is_loopback(registry: &str) -> bool {
    let host = settings::host(registry);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// What a request brings, retries and all; `None` for a failure when it is wanted no more.
fn run<T, F>(
    runtime: &Runtime,
    stop: &Stop,
    again: impl Fn() -> F,
) -> std::result::Result<T, Option<OciDistributionError>>
where
    F: Future<Output = std::result::Result<T, OciDistributionError>>,
{
    runtime.block_on(async {
        match select(pin!(stop.asked()), pin!(retry(again))).await {
            Either::Left(((), _)) => Err(None),
            Either::Right((result, _)) => result.map_err(Some),
        }
    })
}

/// Asks again, after growing pauses, where that may help.
async fn retry<T, F>(again: impl Fn() -> F) -> std::result::Result<T, OciDistributionError>
where
    F: Future<Output = std::result::Result<T, OciDistributionError>>,
{
    let (mut attempt, mut silent) = (0, 0);
    loop {
        match again().await {
            Err(error) if words::is_silence(&error) && silent + 1 >= SILENT_ATTEMPTS => return Err(error),
            Err(error) if words::may_pass(&error) && attempt + 1 < ATTEMPTS => {
                silent += u32::from(words::is_silence(&error));
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}
