//! Datagrams: each client has a socket of its own towards the container, until neither has said anything for a while.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::{Rc, Weak};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, sendmsg};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::UdpSocket;
use tokio::sync::SemaphorePermit;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{DESCRIPTORS, Target};

/// How long a client and its container may be silent: as the kernel keeps a flow that has gone both ways
/// (net.netfilter.nf_conntrack_udp_timeout_stream).
const IDLE: Duration = Duration::from_secs(120);
/// Clients of a port at once: each has a descriptor. For one more, the one goes that has been silent for longest.
const CLIENTS: usize = 4096;
/// The largest datagram.
const LARGEST: usize = 65_535;

/// Whom an answer goes to, and the host's address that was asked.
type Client = (SocketAddr, Option<IpAddr>);

/// A socket towards a container, and what it was made for.
struct Flow {
    socket: Rc<UdpSocket>,
    target: SocketAddr,
    /// When something was last said.
    last: Rc<Cell<Instant>>,
    /// Passes on the answers.
    answers: JoinHandle<()>,
    _permit: SemaphorePermit<'static>,
}

impl Drop for Flow {
    fn drop(&mut self) {
        self.answers.abort();
    }
}

/// A socket that clients send to.
type Listener = AsyncFd<OwnedFd>;

thread_local! {
    /// One buffer to receive into for all ports: it is used between two waits only. Thousands of ports that nobody sends
    /// to would have hundreds of megabytes of their own.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; LARGEST].into_boxed_slice());
}

type Flows = Rc<RefCell<HashMap<Client, Flow>>>;

pub(super) fn serve(socket: OwnedFd, target: Rc<Cell<Option<Target>>>) -> io::Result<JoinHandle<()>> {
    // Deprecated for types whose AsRawFd may lie, which OwnedFd's cannot.
    #[allow(deprecated)]
    let listener = Rc::new(AsyncFd::new(socket)?);
    let flows = Flows::default();
    Ok(tokio::task::spawn_local(async move {
        let mut datagram = Vec::new();
        loop {
            let received = listener.async_io(Interest::READABLE, |fd| receive(fd, &mut datagram)).await;
            // An error of an earlier answer (ICMP), which concerns one client.
            let Ok(client) = received else { continue };
            let Some(to) = target.get().and_then(|target| target.address(client.0.is_ipv4())) else {
                continue;
            };
            if let Some(socket) = flow(&listener, &flows, client, to).await {
                // What is refused is lost, as datagrams are.
                let _ = socket.send(&datagram).await;
            }
        }
    }))
}

/// The client's way to the container, made where there is none.
async fn flow(
    listener: &Rc<Listener>,
    flows: &Flows,
    client: Client,
    to: SocketAddr,
) -> Option<Rc<UdpSocket>> {
    if let Some(flow) = flows.borrow().get(&client)
        && flow.target == to
    {
        flow.last.set(Instant::now());
        return Some(Rc::clone(&flow.socket));
    }
    // One that led elsewhere.
    flows.borrow_mut().remove(&client);
    let permit = room(flows)?;
    let any: IpAddr = if to.is_ipv4() { [0, 0, 0, 0].into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = Rc::new(UdpSocket::bind((any, 0)).await.ok()?);
    socket.connect(to).await.ok()?;
    let last = Rc::new(Cell::new(Instant::now()));
    let answers = {
        let (listener, socket, last) = (Rc::clone(listener), Rc::clone(&socket), Rc::clone(&last));
        // All flows go with who serves the port: what is left of one would have the port for as long as it is kept.
        let flows: Weak<_> = Rc::downgrade(flows);
        tokio::task::spawn_local(async move {
            answer(&listener, client, &socket, &last).await;
            // Another of the client's would have ended this task.
            if let Some(flows) = flows.upgrade() {
                flows.borrow_mut().remove(&client);
            }
        })
    };
    let made = Flow { socket: Rc::clone(&socket), target: to, last, answers, _permit: permit };
    flows.borrow_mut().insert(client, made);
    Some(socket)
}

/// A descriptor for one more, if need be that of the one that has been silent for longest.
fn room(flows: &Flows) -> Option<SemaphorePermit<'static>> {
    let mut flows = flows.borrow_mut();
    let is_full = flows.len() >= CLIENTS;
    if !is_full && let Ok(permit) = DESCRIPTORS.try_acquire() {
        return Some(permit);
    }
    let oldest = flows.iter().min_by_key(|(_, flow)| flow.last.get()).map(|(client, _)| *client)?;
    flows.remove(&oldest);
    DESCRIPTORS.try_acquire().ok()
}

/// Passes on what the container says until both have been silent for long.
async fn answer(listener: &Listener, client: Client, from: &UdpSocket, last: &Cell<Instant>) {
    loop {
        match tokio::time::timeout_at(last.get() + IDLE, from.readable()).await {
            Ok(Ok(())) => match pass_on(listener, client, from) {
                Ok(later) => {
                    last.set(Instant::now());
                    if let Some(bytes) = later {
                        let to_client = |fd: &OwnedFd| send(fd, &bytes, client);
                        // What cannot be delivered is lost, as datagrams are.
                        let _ = listener.async_io(Interest::WRITABLE, to_client).await;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // Nobody listens there (ICMP): the client's next datagram asks anew.
                Err(_) => return,
            },
            Ok(Err(_)) => return,
            Err(_) if Instant::now() < last.get() + IDLE => {}
            Err(_) => return,
        }
    }
}

/// Passes one datagram on; what has to wait for its turn is returned.
fn pass_on(listener: &Listener, client: Client, from: &UdpSocket) -> io::Result<Option<Vec<u8>>> {
    SCRATCH.with_borrow_mut(|buffer| {
        let length = from.try_recv(buffer)?;
        let bytes = &buffer[..length];
        match send(listener.get_ref(), bytes, client) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(bytes.to_vec())),
            _ => Ok(None),
        }
    })
}

/// Receives what a client says into a buffer that is as large as what came.
fn receive(fd: &OwnedFd, datagram: &mut Vec<u8>) -> io::Result<Client> {
    SCRATCH.with_borrow_mut(|buffer| {
        let (length, client) = receive_into(fd, buffer)?;
        datagram.clear();
        datagram.extend_from_slice(&buffer[..length]);
        Ok(client)
    })
}

fn receive_into(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<(usize, Client)> {
    let mut space = nix::cmsg_space!(libc::in6_pktinfo);
    let mut slices = [IoSliceMut::new(buffer)];
    let message =
        recvmsg::<SockaddrStorage>(fd.as_raw_fd(), &mut slices, Some(&mut space), MsgFlags::empty())?;
    let from = message.address.and_then(address).ok_or(Errno::EINVAL)?;
    let mut asked = None;
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                asked = Some(IpAddr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => asked = Some(IpAddr::from(info.ipi6_addr.s6_addr)),
            _ => {}
        }
    }
    Ok((message.bytes, (from, asked)))
}

fn send(fd: &OwnedFd, bytes: &[u8], (to, asked): Client) -> io::Result<usize> {
    let slices = [IoSlice::new(bytes)];
    let to = SockaddrStorage::from(to);
    let (v4, v6);
    let control = match asked {
        Some(IpAddr::V4(address)) => {
            v4 = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            vec![ControlMessage::Ipv4PacketInfo(&v4)]
        }
        Some(IpAddr::V6(address)) => {
            v6 = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr { s6_addr: address.octets() },
                ipi6_ifindex: 0,
            };
            vec![ControlMessage::Ipv6PacketInfo(&v6)]
        }
        None => Vec::new(),
    };
    Ok(sendmsg(fd.as_raw_fd(), &slices, &control, MsgFlags::empty(), Some(&to))?)
}

fn address(storage: SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}
