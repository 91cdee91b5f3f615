//! A host with networks of its own and somebody outside: what published ports are tested on.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use composer_network::firewall::{Firewall, Net, Protocol, Published, Rules, bridged};
use composer_network::{Bridge, Host, Ipv4Net, names};

use crate::world::{Container, PATIENCE, bring, link_group, run};

/// How long a packet that is dropped is waited for.
const SHORT: Duration = Duration::from_millis(250);
pub const HOST: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
pub const HOST_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
pub const OUTSIDE_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
/// The port that the services listen on.
pub const PORT: u16 = 80;

/// One stack's network, with IPv4 172.18.INDEX.0/24 and IPv6 fd00:INDEX::/64.
pub struct Network {
    pub bridge: Bridge,
    index: u8,
}

/// The current thread's host, which forwards, with an interface towards an outsider.
pub struct Landscape {
    pub host: Host,
    pub outsider: Container,
}

impl Landscape {
    pub async fn new() -> Self {
        let host = Host::open().expect("a connection");
        let outsider = Container::new("outside-1", 0);
        without_detection();
        let netns = format!("/proc/{}/fd/{}", std::process::id(), outsider.netns.as_raw_fd());
        run("ip", &format!("link add up0 type veth peer name eth0 netns {netns}"));
        for (address, interface) in [(format!("{HOST}/24"), "up0"), (format!("{HOST_V6}/64 nodad"), "up0")] {
            run("ip", &format!("address add {address} dev {interface}"));
        }
        run("ip", "link set up0 up");
        outsider
            .inside(|| {
                without_detection();
                run("ip", &format!("address add {OUTSIDE}/24 dev eth0"));
                run("ip", &format!("address add {OUTSIDE_V6}/64 dev eth0 nodad"));
                run("ip", "link set lo up");
                run("ip", "link set eth0 up");
                // Somebody who knows the containers' networks and tries to get there directly.
                run("ip", &format!("route add 172.16.0.0/12 via {HOST}"));
                run("ip", &format!("route add fd00::/16 via {HOST_V6}"));
                is_there(HOST_V6);
            })
            .await;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("set");
        fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").expect("set");
        Self { host, outsider }
    }

    pub async fn network(&self, stack: &str, index: u8) -> Network {
        let subnet = Ipv4Net::new([172, 18, index, 0].into(), 24).expect("a subnet");
        let name = names::bridge(stack, "default");
        let bridge = bring(&self.host, &name, subnet, link_group(subnet)).await.expect("a bridge");
        fs::write(format!("/proc/sys/net/ipv6/conf/{name}/disable_ipv6"), "0").expect("set");
        run("ip", &format!("address add fd00:{index}::1/64 dev {name} nodad"));
        Network { bridge, index }
    }

    pub async fn container(&self, network: &Network, last: u8) -> Container {
        let mut container = Container::new(&format!("one-{}-{last}", network.index), last);
        container.inside(without_detection).await;
        container.address = Ipv4Addr::new(172, 18, network.index, last);
        drop(container.attach(&self.host, &network.bridge).await.expect("attached"));
        let index = network.index;
        container
            .inside(move || {
                fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0").expect("set");
                run("ip", &format!("address add fd00:{index}::{last}/64 dev eth0 nodad"));
                run("ip", &format!("route add default via fd00:{index}::1"));
                is_there(format!("fd00:{index}::1").parse().expect("an address"));
            })
            .await;
        container
    }
}

/// An interface of the thread's namespace has its IPv6 addresses at once.
fn without_detection() {
    for which in ["all", "default"] {
        fs::write(format!("/proc/sys/net/ipv6/conf/{which}/accept_dad"), "0").expect("set");
    }
}

/// Returns when a neighbour answers, which it does once the kernel has seen that the cable is in at both ends.
fn is_there(neighbour: Ipv6Addr) {
    let refused = TcpStream::connect_timeout(&(neighbour, 1).into(), PATIENCE).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

impl Network {
    pub fn net(&self) -> Net {
        let bridge = self.bridge.name.clone();
        let v6 = format!("fd00:{}::/64", self.index).parse().expect("a subnet");
        let subnets = vec![self.bridge.subnets[0].net, v6];
        Net {
            bridge,
            subnets,
            masquerade: true,
            internal: false,
            isolated: self.bridge.isolated,
            unprotected: [false; 2],
            routed: [false; 2],
            source: [None; 2],
            trusted: Vec::new(),
        }
    }

    pub fn v6(&self, last: u8) -> Ipv6Addr {
        Ipv6Addr::new(0xfd00, self.index.into(), 0, 0, 0, 0, 0, last.into())
    }
}

/// A port of a container, published at every address of the host.
pub fn published(network: &Network, container: &Container, host_port: u16) -> Published {
    let to_v6 = Some(network.v6(container.address.octets()[3]));
    let to_v4 = Some(container.address);
    Published { host_ip: None, host_port, protocol: Protocol::Tcp, to_v4, to_v6, port: PORT }
}

pub fn rules(networks: &[&Network], published: Vec<Published>) -> Rules {
    let networks = networks.iter().map(|network| network.net()).collect();
    Rules { networks, published, direct: Vec::new(), bridged: bridged() }
}

pub fn firewall(stack: &str, rules: &Rules) -> Firewall {
    let mut firewall = Firewall::new(stack);
    firewall.apply(rules).expect("applied");
    firewall
}

/// A service that tells whoever asks over TCP or UDP who that is.
pub async fn serve(container: &Container) {
    let (tcp, udp) = container
        .inside(|| {
            let any = (Ipv6Addr::UNSPECIFIED, PORT);
            (TcpListener::bind(any).expect("a listener"), UdpSocket::bind(any).expect("a socket"))
        })
        .await;
    thread::spawn(move || {
        while let Ok((mut stream, from)) = tcp.accept() {
            // A line tells who it is; then everything comes back.
            thread::spawn(move || {
                let _ = writeln!(stream, "{}", from.ip().to_canonical());
                let _ = std::io::copy(&mut stream.try_clone().expect("a copy"), &mut stream);
            });
        }
    });
    let own = container.address;
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = udp.recv_from(&mut buffer) {
            let _ = udp.send_to(format!("{} {own}", from.ip().to_canonical()).as_bytes(), from);
        }
    });
}

/// Who a service says we are, over TCP; nothing where it cannot be reached.
pub fn ask_tcp(to: impl Into<SocketAddr>) -> Option<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&to.into(), SHORT).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).ok()? == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).ok()?.parse().ok()
}

/// Who a service says we are over UDP, and its own address.
pub fn ask_udp(socket: &UdpSocket, to: impl Into<SocketAddr>) -> Option<(IpAddr, IpAddr)> {
    // Who answers is a thread of ours, which a busy machine lets run later.
    socket.set_read_timeout(Some(4 * SHORT)).expect("a time-out");
    socket.send_to(b"who", to.into()).ok()?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).ok()?;
    let text = std::str::from_utf8(&buffer[..length]).ok()?;
    let (from, own) = text.split_once(' ')?;
    Some((from.parse().ok()?, own.parse().ok()?))
}

impl Container {
    pub async fn asks_tcp(&self, to: impl Into<SocketAddr>) -> Option<IpAddr> {
        let to = to.into();
        self.inside(move || ask_tcp(to)).await
    }
}
