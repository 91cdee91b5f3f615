//! Queries over TCP (RFC 7766).

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::message::Transport;
use super::server::{Client, Step};

/// How many TCP connections a container may have; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How long a message may take to arrive, and an answer to be read (RFC 7766, 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// How long no connection is accepted when the process is out of descriptors: nothing tells when some are back.
const RECOVERY: Duration = Duration::from_millis(100);

/// Answers connections until it is dropped.
pub(super) async fn serve(client: Rc<Client>, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => { connections.spawn_local(converse(Rc::clone(&client), stream)); }
                Err(_) => sleep(RECOVERY).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers the queries of a connection, one after the other, until it ends or is silent for too long.
async fn converse(client: Rc<Client>, mut stream: TcpStream) {
    // Else the second answer waits for the client to acknowledge the first; a failure costs that time only.
    let _ = stream.set_nodelay(true);
    while let Ok(Ok(query)) = timeout(IDLE, read_framed(&mut stream)).await {
        let answer = match client.step(&query, Transport::Tcp) {
            Step::Send(answer) => Some(answer.bytes),
            Step::Ask(admitted) => admitted.ask(&query, Transport::Tcp).await,
            Step::Nothing => None,
        };
        let Some(answer) = answer else { return };
        match timeout(IDLE, write_framed(&mut stream, &answer)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}

/// Reads a message with its length before it (RFC 1035, 4.2.2).
pub(super) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let length = stream.read_u16().await?;
    let mut message = Vec::new();
    // Grows with what arrives, not with what is announced.
    let read = stream.take(length.into()).read_to_end(&mut message).await?;
    if read == usize::from(length) { Ok(message) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Writes a message with its length before it, in one segment where it fits.
pub(super) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut framed = Vec::with_capacity(2 + message.len());
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    stream.write_all(&framed).await
}
