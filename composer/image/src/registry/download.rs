//! A blob as a stream that goes on where it broke off. Who reads it hashes it: nothing is believed here.

use std::io::{self, Read};
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::select;
use oci_client::client::BlobResponse;
use oci_client::errors::OciDistributionError;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use super::{ATTEMPTS, FIRST_PAUSE, Remote, SILENT_ATTEMPTS, words};
use crate::digest::Digest;
use crate::manifest::Descriptor;
use crate::progress::{Event, Progress};

/// Pieces that are on their way from the network to whoever unpacks: some megabytes.
const AHEAD: usize = 256;

enum Piece {
    Data(Bytes),
    Retrying(String),
    Failed(String),
    End,
}

/// The reading end.
pub(super) struct Download<'a> {
    pieces: mpsc::Receiver<Piece>,
    data: Bytes,
    digest: Digest,
    progress: Progress<'a>,
    ended: bool,
}

pub(super) fn start<'a>(
    runtime: &Runtime,
    remote: Arc<Remote>,
    blob: &Descriptor,
    progress: Progress<'a>,
) -> Download<'a> {
    let (sender, pieces) = mpsc::channel(AHEAD);
    let (digest, size) = (blob.digest.clone(), blob.size);
    let wanted = digest.to_string();
    runtime.spawn(async move {
        select(pin!(remote.stop.asked()), pin!(feed(&remote, &wanted, size, &sender))).await;
    });
    Download { pieces, data: Bytes::new(), digest, progress, ended: false }
}

/// Sends the blob, and why it ends. Stops when nobody reads any more.
async fn feed(remote: &Remote, digest: &str, size: u64, pieces: &mpsc::Sender<Piece>) {
    let mut at = 0;
    let (mut attempt, mut silent) = (0, 0);
    loop {
        let before = at;
        let failure = match once(remote, digest, &mut at, pieces).await {
            Ok(true) if at < size => OciDistributionError::IoError(io::ErrorKind::UnexpectedEof.into()),
            Ok(true) => {
                let _ = pieces.send(Piece::End).await;
                return;
            }
            Ok(false) => return,
            Err(failure) => failure,
        };
        if at > before {
            (attempt, silent) = (0, 0);
        }
        silent += u32::from(words::is_silence(&failure));
        let reason = words::of(&failure, None);
        attempt += 1;
        if (at == 0 && !words::may_pass(&failure)) || attempt >= ATTEMPTS || silent >= SILENT_ATTEMPTS {
            let _ = pieces.send(Piece::Failed(reason)).await;
            return;
        }
        if pieces.send(Piece::Retrying(reason)).await.is_err() {
            return;
        }
        tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(attempt - 1)).await;
    }
}

/// One request for what is missing. Whether somebody still reads.
async fn once(
    remote: &Remote,
    digest: &str,
    at: &mut u64,
    pieces: &mpsc::Sender<Piece>,
) -> Result<bool, OciDistributionError> {
    let response = remote.client.pull_blob_stream_partial(&remote.image, digest, *at, None).await?;
    let (mut stream, mut skip) = match response {
        BlobResponse::Partial(stream) => (stream, 0),
        // It does not know how to begin in the middle.
        BlobResponse::Full(stream) => (stream, *at),
    };
    while let Some(data) = stream.next().await {
        let mut data = data?;
        let known = usize::try_from(skip).unwrap_or(usize::MAX).min(data.len());
        skip -= known as u64;
        let data = data.split_off(known);
        *at += data.len() as u64;
        if !data.is_empty() && pieces.send(Piece::Data(data)).await.is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Read for Download<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.data.is_empty() && !self.ended {
            match self.pieces.blocking_recv() {
                Some(Piece::Data(data)) => self.data = data,
                Some(Piece::Retrying(reason)) => {
                    (self.progress)(Event::Retrying { layer: &self.digest, reason: &reason });
                }
                Some(Piece::Failed(reason)) => return Err(io::Error::other(reason)),
                Some(Piece::End) => self.ended = true,
                None => return Err(io::Error::other("the download has ended without a word")),
            }
        }
        let count = self.data.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.data.split_to(count));
        Ok(count)
    }
}
