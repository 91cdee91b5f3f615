//! The resolver of a stack: one server, a pair of sockets for each container.

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use simple_dns::RCODE;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::{JoinHandle, JoinSet, spawn_local, yield_now};
use tokio::time::{sleep, timeout};

use super::forward::{Forwarder, read_framed, write_framed};
use super::message::{self, Transport, Verdict};
use super::upstreams::Upstreams;
use super::zone::Zone;
use crate::error::{Error, Result};

/// How many messages of one container are answered before the others have their turn.
const BURST: usize = 32;
/// How many TCP connections a container may have; more wait to be accepted.
const CONNECTIONS: usize = 64;
/// How many queries of a container may be with the upstreams; more are answered with SERVFAIL.
const FORWARDS: usize = 128;
/// How long a TCP connection may be silent, and how long an answer may wait to be read (RFC 7766, 6.2.3).
const IDLE: Duration = Duration::from_secs(10);
/// How long no connection is accepted when the process is out of descriptors: nothing tells when some are back.
const RECOVERY: Duration = Duration::from_millis(100);

/// The resolver of a stack.
#[derive(Debug, Clone)]
pub struct Server {
    forwarder: Rc<Forwarder>,
}

/// One container's sockets being answered; ends when it is dropped.
#[derive(Debug)]
pub struct Listener {
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Server {
    /// A server that forwards to these resolvers what its zones do not know.
    pub fn new(upstreams: Upstreams) -> Self {
        Self { forwarder: Rc::new(Forwarder::new(upstreams)) }
    }

    /// Answers what arrives at a container's sockets, from the zone that the container sees. Must be called within a
    /// `LocalSet`.
    ///
    /// # Errors
    /// When the descriptors are no sockets that can be waited for.
    pub fn serve(&self, zone: Rc<Zone>, udp: OwnedFd, tcp: OwnedFd) -> Result<Listener> {
        let (udp, tcp) =
            adopt(udp, tcp).map_err(|source| Error::kernel("serve", "a container's resolver", source))?;
        let asked = Asked { zone, forwarder: Rc::clone(&self.forwarder) };
        let tasks = [spawn_local(serve_udp(asked.clone(), Rc::new(udp))), spawn_local(serve_tcp(asked, tcp))];
        Ok(Listener { tasks })
    }
}

fn adopt(udp: OwnedFd, tcp: OwnedFd) -> io::Result<(UdpSocket, TcpListener)> {
    let (udp, tcp) = (std::net::UdpSocket::from(udp), std::net::TcpListener::from(tcp));
    udp.set_nonblocking(true)?;
    tcp.set_nonblocking(true)?;
    Ok((UdpSocket::from_std(udp)?, TcpListener::from_std(tcp)?))
}

/// Who answers one container.
#[derive(Debug, Clone)]
struct Asked {
    zone: Rc<Zone>,
    forwarder: Rc<Forwarder>,
}

/// What follows from a message at once.
enum Step {
    Send(Vec<u8>),
    Ask,
    Nothing,
}

impl Asked {
    fn step(&self, message: &[u8], transport: Transport) -> Step {
        let single_label = match message::examine(&self.zone, message, transport) {
            Verdict::Answer(answer) => return Step::Send(answer),
            Verdict::Drop => return Step::Nothing,
            Verdict::Forward { single_label } => single_label,
        };
        if self.forwarder.has_upstreams() {
            return Step::Ask;
        }
        let code = if single_label { RCODE::NameError } else { RCODE::ServerFailure };
        message::refusal(message, code).map_or(Step::Nothing, Step::Send)
    }
}

async fn serve_udp(asked: Asked, socket: Rc<UdpSocket>) {
    // Aborted with this task: what a container asked ends with it.
    let mut forwards = JoinSet::new();
    loop {
        tokio::select! {
            ready = socket.readable() => if ready.is_err() { return },
            Some(_) = forwards.join_next() => continue,
        }
        for _ in 0..BURST {
            let (query, from) = match receive(&asked, &socket) {
                Received::Forward(query, from) => (query, from),
                Received::Done => continue,
                Received::Drained => break,
            };
            if forwards.len() >= FORWARDS {
                let refusal = message::refusal(&query, RCODE::ServerFailure);
                refusal.into_iter().for_each(|answer| send(&socket, &answer, from));
                continue;
            }
            let (forwarder, socket) = (Rc::clone(&asked.forwarder), Rc::clone(&socket));
            forwards.spawn_local(async move {
                if let Some(answer) = forwarder.ask(&query, Transport::Udp).await {
                    send(&socket, &answer, from);
                }
            });
        }
        yield_now().await;
    }
}

/// What became of one packet.
enum Received {
    Forward(Vec<u8>, SocketAddr),
    Done,
    Drained,
}

fn receive(asked: &Asked, socket: &UdpSocket) -> Received {
    let mut scratch = asked.forwarder.scratch.borrow_mut();
    // An error other than that nothing is there is one packet's and gone with it: a later turn goes on.
    let Ok((length, from)) = socket.try_recv_from(&mut scratch) else {
        return Received::Drained;
    };
    let message = &scratch[..length];
    match asked.step(message, Transport::Udp) {
        Step::Send(answer) => send(socket, &answer, from),
        Step::Ask => return Received::Forward(message.to_vec(), from),
        Step::Nothing => {}
    }
    Received::Done
}

/// Sends without waiting: a full buffer loses the answer, as UDP may, and the client asks again.
fn send(socket: &UdpSocket, answer: &[u8], to: SocketAddr) {
    let _ = socket.try_send_to(answer, to);
}

async fn serve_tcp(asked: Asked, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((stream, _)) => { connections.spawn_local(converse(asked.clone(), stream)); }
                Err(_) => sleep(RECOVERY).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers the queries of a connection, one after the other, until it ends or is silent for too long.
async fn converse(asked: Asked, mut stream: TcpStream) {
    // Else the second answer waits for the client to acknowledge the first; a failure costs that time only.
    let _ = stream.set_nodelay(true);
    while let Ok(Ok(query)) = timeout(IDLE, read_framed(&mut stream)).await {
        let answer = match asked.step(&query, Transport::Tcp) {
            Step::Send(answer) => Some(answer),
            Step::Ask => asked.forwarder.ask(&query, Transport::Tcp).await,
            Step::Nothing => None,
        };
        let Some(answer) = answer else { return };
        match timeout(IDLE, write_framed(&mut stream, &answer)).await {
            Ok(Ok(())) => {}
            _ => return,
        }
    }
}
