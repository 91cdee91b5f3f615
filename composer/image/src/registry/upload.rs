//! Sending blobs and manifests to a registry.

use std::io;
use std::pin::pin;
use std::sync::mpsc;

use bytes::Bytes;
use futures_util::future::{Either, select};
use oci_client::errors::OciDistributionError;
use oci_client::{Client, RegistryOperation};
use tokio::runtime::Runtime;

use super::connection::{self, Speech, Wanted};
use super::credentials::Credentials;
use super::{failed, oci_image, run, runtime, words};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Named;
use crate::registry::Registries;
use crate::stop::Stop;

/// A repository of a registry that is sent to.
pub(crate) struct Upload {
    runtime: Runtime,
    client: Client,
    image: oci_client::Reference,
    named: Named,
    credentials: Option<Credentials>,
    stop: Stop,
}

impl Upload {
    pub(crate) fn new(named: &Named, registries: &Registries, stop: &Stop) -> Result<Self> {
        let host = named.registry();
        let failure = |doing, message: &str| failed(named, doing, message);
        let runtime = runtime().map_err(|error| failure("start the client for", &error.to_string()))?;
        let credentials = connection::known(registries, host)?;
        let image = oci_image(named, host);
        let wanted = Wanted {
            host,
            speech: Speech::Either,
            image: &image,
            operation: RegistryOperation::Push,
            credentials: credentials.as_ref(),
        };
        let client = connection::connect(&runtime, &wanted, registries, stop, failure)?.client;
        Ok(Self { runtime, client, image, named: named.clone(), credentials, stop: stop.clone() })
    }

    fn ask<T, F>(&self, doing: &'static str, again: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = std::result::Result<T, OciDistributionError>>,
    {
        run(&self.runtime, &self.stop, again).map_err(|error| self.error(doing, error))
    }

    fn error(&self, doing: &'static str, error: Option<OciDistributionError>) -> Error {
        match error {
            Some(error) => failed(&self.named, doing, &words::of(&error, self.credentials.as_ref())),
            None => Error::Stopped,
        }
    }

    /// Whether the repository has a blob.
    pub(crate) fn has(&self, digest: &Digest) -> Result<bool> {
        let digest = digest.to_string();
        self.ask("look for the layers of", || self.client.blob_exists(&self.image, &digest))
    }

    /// Whether the registry takes a blob over from one of these repositories.
    pub(crate) fn mounts(&self, digest: &Digest, repositories: &[String]) -> Result<bool> {
        let digest = digest.to_string();
        for repository in repositories {
            let registry = self.named.registry().to_owned();
            let from = oci_client::Reference::with_tag(registry, repository.clone(), "latest".to_owned());
            match run(&self.runtime, &self.stop, || self.client.mount_blob(&self.image, &from, &digest)) {
                Ok(()) => return Ok(true),
                Err(None) => return Err(Error::Stopped),
                // It has it not there, or does not say so to us; it is sent then.
                Err(Some(_)) => {}
            }
        }
        Ok(false)
    }

    /// Sends a blob that is in memory.
    pub(crate) fn bytes(&self, digest: &Digest, bytes: Vec<u8>) -> Result<()> {
        if self.has(digest)? {
            return Ok(());
        }
        let (bytes, digest) = (Bytes::from(bytes), digest.to_string());
        self.ask("send the configuration of", || self.client.push_blob(&self.image, bytes.clone(), &digest))?;
        Ok(())
    }

    /// Sends a blob that comes in pieces.
    pub(crate) fn stream(
        &self,
        digest: &Digest,
        next: &mut dyn FnMut() -> io::Result<Option<Bytes>>,
    ) -> Result<()> {
        // The client wants a stream that borrows nothing: pieces go to it by way of a channel.
        let (pieces, taken) = tokio::sync::mpsc::channel::<Bytes>(4);
        let (said, end) = mpsc::channel();
        let (client, image, digest) = (self.client.clone(), self.image.clone(), digest.to_string());
        let stop = self.stop.clone();
        self.runtime.spawn(async move {
            let stream = futures_util::stream::unfold(taken, |mut taken| async {
                Some((Ok(taken.recv().await?), taken))
            });
            let sent = client.push_blob_stream(&image, stream, &digest, None);
            let sent = match select(pin!(stop.asked()), pin!(sent)).await {
                Either::Left(((), _)) => Err(None),
                Either::Right((sent, _)) => sent.map(|_| ()).map_err(Some),
            };
            // Whoever has sent the pieces waits for it.
            let _ = said.send(sent);
        });
        while let Some(piece) =
            next().map_err(|error| failed(&self.named, "read a layer of", &error.to_string()))?
        {
            if pieces.blocking_send(piece).is_err() {
                // It has ended early, and says why.
                break;
            }
        }
        drop(pieces);
        let sent = end.recv().unwrap_or(Err(None));
        sent.map_err(|error| self.error("send a layer of", error))
    }

    /// Sends the manifest, under the tag.
    pub(crate) fn manifest(&self, kind: &str, bytes: Vec<u8>) -> Result<()> {
        let wrong = |_| failed(&self.named, "send the manifest of", "its media type is no text");
        let kind = kind.parse().map_err(wrong)?;
        let (bytes, kind) = (Bytes::from(bytes), &kind);
        self.ask("send the manifest of", || {
            self.client.push_manifest_raw(&self.image, bytes.clone(), Clone::clone(kind))
        })?;
        Ok(())
    }
}
