//! `login` and `logout`: credentials that a registry has accepted are kept as Docker keeps them.

use oci_client::RegistryOperation;
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::secrets::RegistryAuth;

use super::connection::{self, Speech, Wanted};
use super::credentials::{self, Credentials, Kept, Owner};
use super::settings::Registries;
use super::{run, runtime, words};
use crate::error::{Error, Result};
use crate::stop::Stop;

/// A repository that needs not exist: whoever may ask for it is told so, others are refused.
const ANY: &str = "composer/login";

impl Registries {
    /// The registry that somebody means who writes this: Docker Hub where it is nothing.
    #[must_use]
    pub fn named(server: &str) -> &str {
        if server.is_empty() { "docker.io" } else { credentials::host(server) }
    }

    /// The user whose credentials are kept for a registry; without a name where they are an identity token.
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub fn user(&self, registry: &str) -> Result<Option<String>> {
        let known = connection::known(self, registry)?;
        Ok(known.map(|found| if found.identity().is_some() { String::new() } else { found.user }))
    }

    /// Has a registry look at credentials, those that are kept where none are given, and keeps them; where it gives an
    /// identity token for them, that one in their place, as Docker does. Blocks.
    ///
    /// # Errors
    /// When it refuses them or cannot be reached, and when they cannot be kept.
    pub fn log_in(
        &self,
        registry: &str,
        given: Option<(String, String)>,
        owner: Option<Owner>,
        stop: &Stop,
    ) -> Result<Kept> {
        let path =
            self.docker_config.as_deref().ok_or_else(|| failed(registry, "nobody knows your home folder"))?;
        let credentials = match given {
            Some((user, secret)) => Credentials { user, secret },
            None => connection::known(self, registry)?
                .ok_or_else(|| failed(registry, "there are no credentials of it"))?,
        };
        let identity = self.verify(registry, &credentials, stop)?;
        let credentials = identity.map_or(credentials, Credentials::of_identity);
        credentials::keep(path, registry, &credentials, owner)
    }

    /// Forgets the credentials of a registry; whether there were any.
    ///
    /// # Errors
    /// When what is kept cannot be read or written.
    pub fn log_out(&self, registry: &str, owner: Option<Owner>) -> Result<bool> {
        match &self.docker_config {
            Some(path) => credentials::forget(path, registry, owner),
            None => Ok(false),
        }
    }

    /// Has a registry look at credentials; the identity token that it gives for them, if it gives one.
    fn verify(&self, registry: &str, credentials: &Credentials, stop: &Stop) -> Result<Option<String>> {
        let runtime = runtime().map_err(|error| failed(registry, &error.to_string()))?;
        let image = oci_client::Reference::with_tag(registry.to_owned(), ANY.to_owned(), "latest".to_owned());
        let wanted = Wanted {
            host: registry,
            speech: Speech::Either,
            image: &image,
            operation: RegistryOperation::Pull,
            credentials: Some(credentials),
        };
        let refused = |_: &'static str, message: &str| failed(registry, message);
        let connection = connection::connect(&runtime, &wanted, self, stop, refused)?;
        if connection.token.is_some() {
            // Its token service has looked at them.
            return connection::offered(&runtime, &wanted, self, stop, connection.http);
        }
        let client = connection.client;
        let auth = RegistryAuth::Basic(credentials.user.clone(), credentials.secret.clone());
        match run(&runtime, stop, || client.list_tags(&image, &auth, None, None)) {
            Ok(_) => Ok(None),
            Err(None) => Err(Error::Stopped),
            // Who is told that there is no such repository has been let in.
            Err(Some(OciDistributionError::ImageManifestNotFoundError(_))) => Ok(None),
            Err(Some(OciDistributionError::RegistryError { envelope, .. }))
                if envelope.errors.iter().any(|error| {
                    matches!(error.code, OciErrorCode::NameUnknown | OciErrorCode::ManifestUnknown)
                }) =>
            {
                Ok(None)
            }
            Err(Some(error)) => Err(failed(registry, &words::of(&error, Some(credentials)))),
        }
    }
}

fn failed(registry: &str, message: &str) -> Error {
    Error::Registry { doing: "log in to", image: registry.to_owned(), message: message.to_owned() }
}
