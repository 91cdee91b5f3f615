//! A client that has logged in: with TLS where there is TLS, and without where that is allowed.

use std::time::Duration;

use oci_client::client::{Certificate, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, RegistryOperation};
use tokio::runtime::Runtime;

use super::credentials::{self, Credentials};
use super::identity::{self, Exchange};
use super::settings::{Proxies, Registries};
use super::{AGENT, CONNECT, Error, Result, SILENCE, certificates, is_loopback, run, words};
use crate::stop::Stop;

/// How a registry is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// With TLS; without where the other side speaks none and may.
    Either,
    Http,
    Https,
}

/// What a client is made for.
pub(super) struct Wanted<'a> {
    /// `HOST[:PORT]`.
    pub host: &'a str,
    pub speech: Speech,
    /// Its registry is `host`.
    pub image: &'a oci_client::Reference,
    pub operation: RegistryOperation,
    pub credentials: Option<&'a Credentials>,
}

/// A client that has logged in.
pub(super) struct Connection {
    pub client: Client,
    /// The token that it has been given.
    pub token: Option<String>,
    /// Whether it speaks without TLS.
    pub http: bool,
}

/// The credentials for a registry, if there are any.
pub(super) fn known(registries: &Registries, host: &str) -> Result<Option<Credentials>> {
    match &registries.docker_config {
        Some(path) => credentials::find(path, host),
        None => Ok(None),
    }
}

/// A client that has logged in. `failed` words what a failure says.
pub(super) fn connect(
    runtime: &Runtime,
    wanted: &Wanted<'_>,
    registries: &Registries,
    stop: &Stop,
    failed: impl Fn(&'static str, &str) -> Error,
) -> Result<Connection> {
    let insecure = registries.is_insecure(wanted.host);
    let certificates = trusted(registries, wanted.host)?;
    let proxies = registries.proxies.of(wanted.host);
    let network = (&proxies, registries.silence.unwrap_or(SILENCE));
    let unmade =
        |error: OciDistributionError| failed("start the client for", &words::of(&error, wanted.credentials));
    let identity = wanted.credentials.and_then(Credentials::identity);
    let make = |http: bool| {
        let config = config(wanted.host, http, insecure, certificates.clone(), network);
        let config = match identity {
            Some(_) => ClientConfig { default_token_expiration_secs: identity::KEPT, ..config },
            None => config,
        };
        Client::try_from(config).map_err(unmade)
    };
    let auth = match wanted.credentials {
        Some(found) => RegistryAuth::Basic(found.user.clone(), found.secret.clone()),
        None => RegistryAuth::Anonymous,
    };
    let first = make(wanted.speech == Speech::Http)?;
    let asking = identity.map(|_| identity::http(insecure, &certificates, network)).transpose();
    let asking = asking.map_err(unmade)?;
    let log_in = |client: &Client, http: bool| match (identity, &asking) {
        (Some(identity), Some(asking)) => {
            let again = || {
                let scheme = if http { "http" } else { "https" };
                let exchange = Exchange {
                    http: asking.clone(),
                    base: format!("{scheme}://{}", wanted.image.resolve_registry()),
                    image: wanted.image.clone(),
                    operation: wanted.operation,
                    identity: identity.to_owned(),
                };
                exchange.log_in(client)
            };
            run(runtime, stop, again)
        }
        _ => run(runtime, stop, || client.auth(wanted.image, &auth, wanted.operation)),
    };
    let refused = |error: Option<OciDistributionError>| match error {
        // Nobody has been asked for a name yet.
        Some(error @ OciDistributionError::RequestError(_)) => {
            failed("reach the registry of", &words::of(&error, wanted.credentials))
        }
        Some(error) => failed("log in for", &words::of(&error, wanted.credentials)),
        None => Error::Stopped,
    };
    match log_in(&first, wanted.speech == Speech::Http) {
        Ok(token) => Ok(Connection { client: first, token, http: wanted.speech == Speech::Http }),
        Err(Some(OciDistributionError::RequestError(error)))
            if wanted.speech == Speech::Either
                && (insecure || is_loopback(wanted.host))
                && words::speaks_no_tls(&error) =>
        {
            let client = make(true)?;
            let token = log_in(&client, true).map_err(refused)?;
            Ok(Connection { client, token, http: true })
        }
        Err(error) => Err(refused(error)),
    }
}

/// The identity token that a registry's token service gives for credentials which it has taken; `None` where it gives
/// none.
pub(super) fn offered(
    runtime: &Runtime,
    wanted: &Wanted<'_>,
    registries: &Registries,
    stop: &Stop,
    http: bool,
) -> Result<Option<String>> {
    let Some(credentials) = wanted.credentials.filter(|found| found.identity().is_none()) else {
        return Ok(None);
    };
    let certificates = trusted(registries, wanted.host)?;
    let proxies = registries.proxies.of(wanted.host);
    let network = (&proxies, registries.silence.unwrap_or(SILENCE));
    let scheme = if http { "http" } else { "https" };
    let base = format!("{scheme}://{}", wanted.image.resolve_registry());
    let Ok(asking) = identity::http(registries.is_insecure(wanted.host), &certificates, network) else {
        return Ok(None);
    };
    match run(runtime, stop, || identity::offered(&asking, &base, wanted.image, credentials)) {
        Ok(token) => Ok(token),
        Err(None) => Err(Error::Stopped),
        // The password does as well.
        Err(Some(_)) => Ok(None),
    }
}

/// The certificates by which a registry is known beside those of the system.
fn trusted(registries: &Registries, host: &str) -> Result<Vec<Certificate>> {
    match &registries.certificates {
        Some(folder) => certificates::read(&folder.join(host)),
        None => Ok(Vec::new()),
    }
}

pub(super) fn config(
    registry: &str,
    http: bool,
    insecure: bool,
    certificates: Vec<Certificate>,
    (proxies, silence): (&Proxies, Duration),
) -> ClientConfig {
    // One for the process; whoever comes second finds it there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    ClientConfig {
        protocol: match http {
            true => ClientProtocol::HttpsExcept(vec![registry.to_owned()]),
            false => ClientProtocol::Https,
        },
        accept_invalid_certificates: insecure,
        extra_root_certificates: certificates,
        platform_resolver: None,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(silence),
        user_agent: AGENT,
        https_proxy: proxies.https.clone(),
        http_proxy: proxies.http.clone(),
        no_proxy: proxies.none.clone(),
        ..ClientConfig::default()
    }
}
