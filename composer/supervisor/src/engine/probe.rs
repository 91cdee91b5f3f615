//! Probes from outside: connections that begin in the container's network namespace, with nothing of the container's
//! own run. They are of IPv4: to the loopback, which servers on every address answer too, then to the container's own
//! address.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;

use composer_network::netns;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use nix::errno::Errno;
use nix::sys::socket::{SockaddrIn, connect};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;

/// How much of the body of an answer that is no success is told, in bytes.
const BODY: usize = 512;

/// Makes connections inside of one container's network namespace.
pub struct Prober {
    process: Rc<OwnedFd>,
    address: Option<Ipv4Addr>,
    /// One that was refused serves again: only a probe that has passed costs another thread in the namespace.
    idle: Option<OwnedFd>,
}

impl Prober {
    /// For the container whose PID 1 this is.
    pub fn new(process: Rc<OwnedFd>, address: Option<Ipv4Addr>) -> Self {
        Self { process, address, idle: None }
    }

    /// Whether a port takes a connection; why not.
    pub async fn tcp(&mut self, port: u16) -> Result<(), String> {
        self.connect(port).await.map(drop)
    }

    /// Whether a request is answered with a status from 200 to 399, without following a redirection; why not.
    pub async fn http(&mut self, port: u16, path: &str) -> Result<(), String> {
        let (socket, address) = self.connect(port).await?;
        let url = format!("http://{address}{path}");
        match request(socket, port, path).await {
            Ok((status, _)) if status.is_success() || status.is_redirection() => Ok(()),
            Ok((status, body)) => Err(format!("GET {url} was answered with {status}\n{body}")),
            Err(error) => Err(format!("GET {url}: {error}")),
        }
    }

    async fn connect(&mut self, port: u16) -> Result<(OwnedFd, SocketAddrV4), String> {
        let mut failures = Vec::new();
        for address in [Some(Ipv4Addr::LOCALHOST), self.address].into_iter().flatten() {
            let socket = match self.idle.take() {
                Some(socket) => socket,
                None => {
                    let process = self.process.try_clone().map_err(|error| error.to_string())?;
                    netns::tcp_socket(process).await.map_err(|error| error.to_string())?
                }
            };
            let to = SocketAddrV4::new(address, port);
            match attempt(socket, to).await {
                Ok(socket) => return Ok((socket, to)),
                Err((socket, error)) => {
                    self.idle = socket;
                    failures.push(format!("connect to {to}: {error}"));
                }
            }
        }
        Err(failures.join("\n"))
    }
}

/// Connects, or gives a socket that was refused back.
async fn attempt(socket: OwnedFd, to: SocketAddrV4) -> Result<OwnedFd, (Option<OwnedFd>, io::Error)> {
    let address = SockaddrIn::from(to);
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) => return Ok(socket),
        Err(Errno::EINPROGRESS) => {}
        Err(errno) => return Err((Some(socket), errno.into())),
    }
    // Registered after the connection was begun: one that has none is ready for everything.
    #[allow(deprecated)]
    let waiting = AsyncFd::with_interest(socket, Interest::WRITABLE).map_err(|error| (None, error))?;
    let ready = waiting.writable().await.map(|mut ready| ready.clear_ready());
    let socket = waiting.into_inner();
    ready.map_err(|error| (None, error))?;
    // Asked a second time the kernel tells the outcome, and makes a socket that was refused fit for another try
    // (SS_UNCONNECTED), which SO_ERROR would not.
    match connect(socket.as_raw_fd(), &address) {
        Ok(()) | Err(Errno::EISCONN) => Ok(socket),
        Err(errno) => Err((Some(socket), errno.into())),
    }
}

/// Asks once; the status and, where it is no success, the beginning of the body.
async fn request(
    socket: OwnedFd,
    port: u16,
    path: &str,
) -> Result<(StatusCode, String), Box<dyn std::error::Error>> {
    let stream = TcpStream::from_std(socket.into())?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(HOST, format!("localhost:{port}"))
        .header(USER_AGENT, concat!("compose-probe/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close")
        .body(Empty::<Bytes>::new())?;
    let answer = async {
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        if status.is_success() || status.is_redirection() {
            return Ok((status, String::new()));
        }
        let frame = answer.into_body().frame().await.and_then(Result::ok);
        let body = frame.and_then(|frame| frame.into_data().ok()).unwrap_or_default();
        Ok((status, String::from_utf8_lossy(&body[..body.len().min(BODY)]).into_owned()))
    };
    let carried = async {
        // Its error is the answer's as well.
        let _ = connection.await;
        std::future::pending().await
    };
    tokio::select! {
        answer = answer => answer,
        never = carried => never,
    }
}
