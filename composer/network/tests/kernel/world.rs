//! A host and containers made of network namespaces.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use composer_network::addresses::Subnet;
use composer_network::{
    Attached, Bridge, BridgeSpec, Gateways, Host, Ipv4Net, Medium, Plug, Result, Wiring, attach, isolate,
    mac_of, names,
};
use nix::sched::{CloneFlags, unshare};
use simple_dns::{CLASS, Name, Packet, PacketFlag, Question, TYPE};
use tokio::runtime::Builder;
use tokio::task::LocalSet;

pub const PATIENCE: Duration = Duration::from_secs(10);
pub const STACK: &str = "shop";

/// Runs a test on a thread that is a host of its own, within the runtime that the supervisor has.
pub fn on_a_host<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send) {
    thread::scope(|scope| {
        let host = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("root, for a network namespace");
            raise_loopback();
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async {
                // A bound on what hangs: a hundred thousand queries take a busy machine its time.
                tokio::time::timeout(Duration::from_secs(600), test()).await.expect("it ends");
            });
        });
        host.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

fn raise_loopback() {
    let done = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().expect("iproute2");
    assert!(done.success());
}

/// Runs iproute2 or nft on the current thread's host, for a second opinion.
pub fn run(program: &str, arguments: &str) -> String {
    let output =
        std::process::Command::new(program).args(arguments.split(' ')).output().expect("the program");
    assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What somebody may do who knows better.
pub fn rename(link: &str, name: &str) {
    run("ip", &format!("link set {link} down"));
    run("ip", &format!("link set {link} name {name}"));
    run("ip", &format!("link set {name} up"));
}

pub fn subnet() -> Ipv4Net {
    "172.18.0.0/22".parse().expect("a subnet")
}

pub fn address(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(172, 18, 0, last)
}

/// A link group that no other subnet of a test has.
pub fn link_group(subnet: Ipv4Net) -> u32 {
    subnet.network().to_bits() >> 1
}

pub async fn bridge(host: &Host) -> Bridge {
    let name = names::bridge(STACK, "default");
    bring(host, &name, subnet(), link_group(subnet())).await.expect("a bridge")
}

/// A bridge of one subnet, all of which is for containers.
pub async fn bring(host: &Host, name: &str, subnet: Ipv4Net, group: u32) -> Result<Bridge> {
    let subnets = vec![Subnet::whole(subnet)];
    let (mtu, isolated, medium) = (None, false, Medium::Bridge);
    host.bring_bridge(&BridgeSpec { name: name.into(), subnets, group, mtu, isolated, medium }).await
}

/// The bridge's own address, the containers' gateway.
pub fn gateway(bridge: &Bridge) -> Ipv4Addr {
    match bridge.subnets.first().expect("a subnet").gateway {
        IpAddr::V4(address) => address,
        IpAddr::V6(_) => panic!("the first subnet is of IPv4"),
    }
}

/// What makes a bridge the only network of a container.
pub fn only(bridge: &Bridge, veth: &str, address: Ipv4Addr) -> Plug {
    let subnet = bridge.subnets.first().expect("a subnet");
    Plug {
        bridge: bridge.clone(),
        group: bridge.group,
        veth: veth.to_owned(),
        interface: "eth0".to_owned(),
        mac: mac_of(address.into()),
        addresses: vec![subnet.with_prefix(address.into())],
        gateways: Gateways { v4: Some(gateway(bridge)), v6: None },
    }
}

/// What limits nothing.
pub async fn unlimited() -> Result<()> {
    Ok(())
}

/// A container as the network sees it: a namespace.
pub struct Container {
    pub netns: OwnedFd,
    pub veth: String,
    pub address: Ipv4Addr,
}

impl Container {
    /// A new namespace with nothing in it.
    pub fn new(name: &str, last: u8) -> Self {
        let (send, receive) = mpsc::channel();
        thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("root, for a network namespace");
            send.send(File::open("/proc/thread-self/ns/net").expect("the namespace"))
                .expect("a waiting test");
        });
        let netns = receive.recv().expect("a namespace").into();
        Self { netns, veth: names::veth(STACK, name, "default"), address: address(last) }
    }

    pub async fn attached(name: &str, last: u8, host: &Host, bridge: &Bridge) -> (Self, Attached) {
        let container = Self::new(name, last);
        let attached = container.attach(host, bridge).await.expect("attached");
        (container, attached)
    }

    pub async fn attach(&self, host: &Host, bridge: &Bridge) -> Result<Attached> {
        let plugs = vec![only(bridge, &self.veth, self.address)];
        attach(host, self.netns(), Wiring { plugs, ..Wiring::default() }, unlimited()).await
    }

    /// On the bridge, without a resolver.
    pub async fn plugged(&self, host: &Host, bridge: &Bridge) {
        isolate(self.netns(), BTreeMap::new()).await.expect("a loopback");
        host.replug(only(bridge, &self.veth, self.address), self.netns.as_fd(), unlimited())
            .await
            .expect("plugged");
    }

    pub fn netns(&self) -> OwnedFd {
        self.netns.as_fd().try_clone_to_owned().expect("a descriptor")
    }

    /// Runs what a service would do in the container, off the runtime.
    pub async fn inside<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        composer_network::netns::run(self.netns(), move || Ok(job())).await.expect("inside the container")
    }

    /// Whether a TCP connection to a port there comes about.
    pub async fn reaches(&self, address: Ipv4Addr, port: u16) -> bool {
        self.inside(move || TcpStream::connect_timeout(&(address, port).into(), PATIENCE).is_ok()).await
    }

    /// A service of the container that listens on every address, from now on.
    pub async fn listens(&self, port: u16) -> TcpListener {
        self.inside(move || TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).expect("a listener")).await
    }

    /// Asks 127.0.0.11 port 53 as a plain client would.
    pub async fn asks(&self, over: Over, query: Vec<u8>) -> Vec<u8> {
        self.inside(move || ask(over, (Ipv4Addr::new(127, 0, 0, 11), 53).into(), &query)).await
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Over {
    Udp,
    Tcp,
}

pub fn ask(over: Over, server: SocketAddr, query: &[u8]) -> Vec<u8> {
    match over {
        Over::Udp => {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            socket.connect(server).expect("a route");
            socket.send(query).expect("sent");
            let mut buffer = vec![0; 65535];
            let length = socket.recv(&mut buffer).expect("an answer");
            buffer.truncate(length);
            buffer
        }
        Over::Tcp => {
            let mut stream = TcpStream::connect_timeout(&server, PATIENCE).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            write_framed(&mut stream, query);
            read_framed(&mut stream)
        }
    }
}

pub fn write_framed(stream: &mut impl std::io::Write, message: &[u8]) {
    let length = u16::try_from(message.len()).expect("a message");
    stream.write_all(&[&length.to_be_bytes(), message].concat()).expect("sent");
}

pub fn read_framed(stream: &mut impl std::io::Read) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("a length");
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).expect("a message");
    message
}

pub fn query(id: u16, name: &str, kind: TYPE) -> Vec<u8> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(
        Name::new(name).expect("a name"),
        kind.into(),
        CLASS::IN.into(),
        false,
    ));
    packet.build_bytes_vec().expect("a query")
}

/// The addresses in an answer, after it was checked to be one to the query with this id.
pub fn addresses(id: u16, answer: &[u8]) -> Vec<Ipv4Addr> {
    let packet = Packet::parse(answer).expect("an answer");
    assert_eq!(packet.id(), id);
    assert!(packet.has_flags(PacketFlag::RESPONSE));
    packet
        .answers
        .iter()
        .filter_map(|record| match &record.rdata {
            simple_dns::rdata::RData::A(a) => Some(Ipv4Addr::from(a.address)),
            _ => None,
        })
        .collect()
}
