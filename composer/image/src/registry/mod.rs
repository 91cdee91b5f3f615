//! Registries, by the distribution API. The client library does the protocol; here are retries, downloads that go on where
//! they broke off, and the choice between HTTPS and HTTP.

mod certificates;
pub(crate) mod credentials;
mod download;
#[cfg(test)]
mod tests;
mod words;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use oci_client::client::{ClientConfig, ClientProtocol};
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

/// What is known of registries.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    /// Those (`HOST[:PORT]`) that may do without TLS or with a certificate that nobody vouches for. Loopback always may do
    /// without TLS.
    pub insecure: Vec<String>,
    /// Docker's `config.json`, which has credentials or says who has them.
    pub docker_config: Option<PathBuf>,
    /// A folder in which `HOST[:PORT]/*.crt` are authorities to be trusted, as Docker's `/etc/docker/certs.d`.
    pub certificates: Option<PathBuf>,
}

/// How often a request is made before it counts as failed.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const CONNECT: Duration = Duration::from_secs(15);
/// In which something must come.
const SILENCE: Duration = Duration::from_secs(30);

/// One image of a registry.
pub(crate) struct Registry {
    runtime: Runtime,
    remote: Arc<Remote>,
    named: Named,
    credentials: Option<credentials::Credentials>,
}

struct Remote {
    client: Client,
    image: oci_client::Reference,
}

impl Registry {
    pub(crate) fn new(named: &Named, registries: &Registries) -> Result<Self> {
        let registry = named.registry();
        let credentials = match &registries.docker_config {
            Some(path) => credentials::find(path, registry)?,
            None => None,
        };
        let auth = match &credentials {
            Some(found) => RegistryAuth::Basic(found.user.clone(), found.secret.clone()),
            None => RegistryAuth::Anonymous,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .map_err(|error| failed(named, "start the client for", &error.to_string()))?;
        let image = oci_image(named);
        let insecure = registries.insecure.iter().any(|name| name == registry);
        let certificates = match &registries.certificates {
            Some(folder) => certificates::read(&folder.join(registry))?,
            None => Vec::new(),
        };
        let make = |http: bool| {
            client(registry, http, insecure, certificates.clone())
                .map_err(|error| failed(named, "start the client for", &error.to_string()))
        };
        let https = make(false)?;
        let log_in = |client: &Client| {
            let again = || client.auth(&image, &auth, RegistryOperation::Pull);
            runtime.block_on(retry(again))
        };
        let refused = |error| failed(named, "log in for", &words::of(&error, credentials.as_ref()));
        let client = match log_in(&https) {
            Ok(_) => https,
            Err(OciDistributionError::RequestError(error))
                if (insecure || is_loopback(registry)) && words::speaks_no_tls(&error) =>
            {
                let http = make(true)?;
                log_in(&http).map_err(refused)?;
                http
            }
            Err(error) => return Err(refused(error)),
        };
        Ok(Self { runtime, remote: Arc::new(Remote { client, image }), named: named.clone(), credentials })
    }

    fn fetch(&self, image: &oci_client::Reference, doing: &'static str) -> Result<Vec<u8>> {
        let accepted = [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST];
        let again = || self.remote.client.pull_manifest_raw(image, &RegistryAuth::Anonymous, &accepted);
        let (bytes, _) = self
            .runtime
            .block_on(retry(again))
            .map_err(|error| failed(&self.named, doing, &words::of(&error, self.credentials.as_ref())))?;
        if bytes.len() as u64 > LARGEST_DOCUMENT {
            return Err(failed(&self.named, doing, &format!("the manifest has {} bytes", bytes.len())));
        }
        Ok(bytes.into())
    }
}

impl Source for Registry {
    fn root(&self) -> Result<Root> {
        let bytes = self.fetch(&self.remote.image, "find")?;
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

fn oci_image(named: &Named) -> oci_client::Reference {
    let (registry, repository) = (named.registry().to_owned(), named.repository().to_owned());
    match (named.digest(), named.tag()) {
        (Some(digest), _) => oci_client::Reference::with_digest(registry, repository, digest.to_string()),
        (None, tag) => {
            oci_client::Reference::with_tag(registry, repository, tag.unwrap_or("latest").to_owned())
        }
    }
}

fn client(
    registry: &str,
    http: bool,
    insecure: bool,
    certificates: Vec<oci_client::client::Certificate>,
) -> std::result::Result<Client, OciDistributionError> {
    // One for the process; whoever comes second finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::try_from(ClientConfig {
        protocol: match http {
            true => ClientProtocol::HttpsExcept(vec![registry.to_owned()]),
            false => ClientProtocol::Https,
        },
        accept_invalid_certificates: insecure,
        extra_root_certificates: certificates,
        platform_resolver: None,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(SILENCE),
        user_agent: concat!("composer/", env!("CARGO_PKG_VERSION")),
        ..ClientConfig::default()
    })
}

/// As Docker has it: `localhost`, 127.0.0.0/8 and ::1, on any port.
fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => registry.split_once(':').map_or(registry, |(host, _)| host),
    };
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// Asks again, after growing pauses, where that may help.
async fn retry<T, F>(again: impl Fn() -> F) -> std::result::Result<T, OciDistributionError>
where
    F: Future<Output = std::result::Result<T, OciDistributionError>>,
{
    let mut attempt = 0;
    loop {
        match again().await {
            Err(error) if words::may_pass(&error) && attempt + 1 < ATTEMPTS => {
                tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt)).await;
                attempt += 1;
            }
            result => return result,
        }
    }
}
