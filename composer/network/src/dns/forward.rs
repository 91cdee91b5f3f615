//! Forwarding: a query goes to the host's resolvers as the bytes it came as, under an id of our own, and the answer
//! comes back as theirs.

use std::cell::RefCell;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use simple_dns::RCODE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::message::{self, Transport};
use super::question;
use super::upstreams::{Ranking, Upstreams};

/// How long one resolver is waited for: two of them within the 5 s that clients wait (resolv.conf(5), timeout).
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a resolver is asked when it is the only one: one packet may be lost.
const TRIES_OF_ONE: usize = 2;
/// How many queries are under way at the same time, for a whole stack; each holds a socket.
const IN_FLIGHT: usize = 256;
/// Bytes of the longest UDP payload.
const LONGEST: usize = 65535;

/// Asks the host's resolvers, for all containers of a stack.
#[derive(Debug)]
pub(super) struct Forwarder {
    ranking: Ranking,
    in_flight: Semaphore,
    /// One buffer to receive into for all: it is used between two waits only.
    pub(super) scratch: Rc<RefCell<Box<[u8]>>>,
}

impl Forwarder {
    pub(super) fn new(upstreams: Upstreams) -> Self {
        Self {
            ranking: Ranking::new(upstreams),
            in_flight: Semaphore::new(IN_FLIGHT),
            scratch: Rc::new(RefCell::new(vec![0; LONGEST].into_boxed_slice())),
        }
    }

    /// Whether there is anyone to ask.
    pub(super) fn has_upstreams(&self) -> bool {
        !self.ranking.servers().is_empty()
    }

    /// The answer of the first resolver that has one. Where none has, the last refusal, else SERVFAIL; `None` only
    /// for a message without a header.
    pub(super) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let failure = || message::refusal(query, RCODE::ServerFailure);
        let Ok(_permit) = self.in_flight.try_acquire() else {
            return failure();
        };
        let mut servers = self.ranking.servers();
        if let [only] = servers[..] {
            servers = vec![only; TRIES_OF_ONE];
        }
        let mut refused = None;
        for server in servers {
            let id = random_id();
            let mut asked = query.to_vec();
            asked.get_mut(..2)?.copy_from_slice(&id);
            let answer = match transport {
                Transport::Udp => timeout(PATIENCE, self.over_udp(server, &asked)).await,
                Transport::Tcp => timeout(PATIENCE, over_tcp(server, &asked)).await,
            };
            match answer {
                Ok(Ok(mut answer)) => {
                    answer.get_mut(..2)?.copy_from_slice(query.get(..2)?);
                    match question::response_code(&answer) {
                        // Another resolver may know better.
                        Some(RCODE::ServerFailure | RCODE::Refused | RCODE::NotImplemented) => {
                            refused = Some(answer)
                        }
                        _ => return Some(answer),
                    }
                }
                Ok(Err(_)) | Err(_) => self.ranking.demote(server),
            }
        }
        refused.or_else(failure)
    }

    async fn over_udp(&self, server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
        let any: SocketAddr = match server {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        // A socket for each query has a random port, and connected takes packets of this server only: with the id,
        // what a forger has to guess.
        let socket = UdpSocket::bind(any).await?;
        socket.connect(server).await?;
        socket.send(query).await?;
        loop {
            socket.readable().await?;
            let mut scratch = self.scratch.borrow_mut();
            match socket.try_recv(&mut scratch) {
                Ok(length) if question::answers(query, &scratch[..length]) => {
                    return Ok(scratch[..length].to_vec());
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}

async fn over_tcp(server: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if question::answers(query, &answer) {
        Ok(answer)
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is to another question"))
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

/// An id that cannot be guessed: the standard library's keyed hash, of a new random key each time.
fn random_id() -> [u8; 2] {
    let [one, other, ..] = RandomState::new().build_hasher().finish().to_ne_bytes();
    [one, other]
}
