//! Who has been told an address before learns of it when another hardware address has it.

use std::net::{IpAddr, Ipv6Addr, TcpStream};

use composer_network::addresses::Subnet;
use composer_network::{
    Bridge, BridgeSpec, Gateways, Host, IpNet, MacvlanMode, Medium, Plug, Wiring, attach, remove_inside,
};

use crate::world::{Container, PATIENCE, address, bridge, on_a_host, run, subnet, unlimited};

const OLD: &str = "02:42:01:01:01:01";
const NEW: &str = "02:42:09:09:09:09";

fn both(last: u8) -> [IpAddr; 2] {
    [address(last).into(), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()).into()]
}

async fn plug(host: &Host, bridge: &Bridge, container: &Container, last: u8, mac: &str) {
    let mac: Vec<u8> = mac.split(':').map(|byte| u8::from_str_radix(byte, 16).expect("a byte")).collect();
    let plug = Plug {
        bridge: bridge.clone(),
        group: bridge.group,
        veth: container.veth.clone(),
        interface: "eth0".to_owned(),
        mac: mac.try_into().expect("six bytes"),
        addresses: both(last)
            .map(|address| IpNet::new(address, if address.is_ipv4() { 22 } else { 64 }).expect("a prefix"))
            .to_vec(),
        gateways: Gateways::default(),
    };
    let wiring = Wiring { plugs: vec![plug], ..Wiring::default() };
    attach(host, container.netns(), wiring, unlimited()).await.expect("attached");
}

/// Has a neighbour look for both addresses, as whoever connects.
fn look_for(last: u8) {
    for to in both(last) {
        let refused = TcpStream::connect_timeout(&(to, 1).into(), PATIENCE).expect_err("nobody listens");
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused, "{to}");
    }
}

/// Returns when a neighbour knows both addresses by this hardware address. Nobody sends anything meanwhile: what it
/// knows stays what it is.
fn knows(last: u8, mac: &str) {
    let entry = |to: IpAddr| run("ip", &format!("neigh show {to}"));
    for to in both(last) {
        while !entry(to).contains(mac) {
            std::thread::yield_now();
        }
    }
}

/// What the kernel does by itself is not to be seen by who is inside.
fn is_as_before() {
    for key in ["ipv4/conf/eth0/arp_notify", "ipv6/conf/eth0/ndisc_notify"] {
        let value = std::fs::read_to_string(format!("/proc/sys/net/{key}")).expect("a setting");
        assert_eq!(value, "0\n", "{key}");
    }
}

#[test]
fn neighbours_on_a_bridge_learn_of_another_hardware_address_at_once() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let neighbour = Container::new("neighbour-1", 3);
        plug(&host, &bridge, &neighbour, 3, "02:42:03:03:03:03").await;
        let old = Container::new("one-1", 2);
        plug(&host, &bridge, &old, 2, OLD).await;
        neighbour.inside(|| look_for(2)).await;
        neighbour.inside(|| knows(2, OLD)).await;
        TcpStream::connect_timeout(&(address(2), 1).into(), PATIENCE).expect_err("nobody listens");
        host.unplug(&old.veth).await.expect("unplugged");
        let new = Container::new("one-1", 2);
        plug(&host, &bridge, &new, 2, NEW).await;
        neighbour.inside(|| knows(2, NEW)).await;
        let on_host = run("ip", &format!("neigh show {}", address(2)));
        assert!(on_host.contains(NEW), "the host itself: {on_host}");
        new.inside(is_as_before).await;
    });
}

#[test]
fn machines_outside_learn_of_another_hardware_address_on_a_macvlan() {
    on_a_host(|| async {
        let outside = Container::new("outside-1", 3);
        let netns =
            format!("/proc/{}/fd/{}", std::process::id(), std::os::fd::AsRawFd::as_raw_fd(&outside.netns));
        run("ip", &format!("link add lan type veth peer name eth0 netns {netns}"));
        run("ip", "link set lan up");
        outside
            .inside(|| {
                for to in both(3) {
                    let (prefix, nodad) = if to.is_ipv4() { (22, "") } else { (64, " nodad") };
                    run("ip", &format!("addr add {to}/{prefix} dev eth0{nodad}"));
                }
                run("ip", "link set eth0 up");
            })
            .await;
        let host = Host::open().expect("a connection");
        let spec = BridgeSpec {
            name: "lan".to_owned(),
            subnets: vec![Subnet::whole(subnet())],
            group: 78,
            mtu: None,
            isolated: false,
            medium: Medium::Macvlan(MacvlanMode::Bridge),
        };
        let parent = host.bring_bridge(&spec).await.expect("it is there");
        let old = Container::new("one-1", 2);
        plug(&host, &parent, &old, 2, OLD).await;
        // Which the other end answers once it takes what is sent to many.
        old.inside(|| look_for(3)).await;
        outside.inside(|| look_for(2)).await;
        outside.inside(|| knows(2, OLD)).await;
        remove_inside(old.netns()).await.expect("removed");
        let new = Container::new("one-1", 2);
        plug(&host, &parent, &new, 2, NEW).await;
        outside.inside(|| knows(2, NEW)).await;
        new.inside(is_as_before).await;
    });
}
