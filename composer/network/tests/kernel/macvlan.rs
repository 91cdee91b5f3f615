//! Interfaces of containers on one of the host's, with a network outside that is another namespace.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;

use composer_network::addresses::Subnet;
use composer_network::{
    Attached, Bridge, BridgeSpec, Error, Gateways, Host, IpNet, MacvlanMode, Medium, Plug, Wiring, attach,
    names, remove_inside,
};

use crate::world::{Container, PATIENCE, STACK, on_a_host, run, unlimited};

const GROUP: u32 = 78;

fn at(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 9, 0, last)
}

fn spec(parent: &str, mode: MacvlanMode) -> BridgeSpec {
    let net: IpNet = "10.9.0.0/24".parse().expect("a subnet");
    BridgeSpec {
        name: parent.to_owned(),
        subnets: vec![Subnet::whole(net)],
        group: GROUP,
        mtu: None,
        isolated: false,
        medium: Medium::Macvlan(mode),
    }
}

/// The host's interface `lan`, and at its other end a machine with the address that ends in 1.
async fn lan() -> Container {
    let outside = Container::new("outside", 1);
    run("ip", "link add lan type veth peer name eth0");
    run("ip", "link set lan up");
    let netns = format!("/proc/{}/fd/{}", std::process::id(), outside.netns.as_raw_fd());
    run("ip", &format!("link set eth0 netns {netns}"));
    outside
        .inside(|| {
            run("ip", "addr add 10.9.0.1/24 dev eth0");
            run("ip", "addr add fd09::1/64 dev eth0 nodad");
            run("ip", "link set eth0 up");
        })
        .await;
    outside
}

async fn plugged(host: &Host, parent: &Bridge, last: u8) -> (Container, composer_network::Result<Attached>) {
    let container = Container::new(&format!("c-{last}"), last);
    let attached = plug(host, parent, &container, last).await;
    (container, attached)
}

async fn plug(
    host: &Host,
    parent: &Bridge,
    container: &Container,
    last: u8,
) -> composer_network::Result<Attached> {
    let plug = Plug {
        bridge: parent.clone(),
        group: GROUP,
        veth: container.veth.clone(),
        interface: "eth0".to_owned(),
        mac: [2, 0x42, 10, 9, 0, last],
        addresses: vec![
            IpNet::new(IpAddr::V4(at(last)), 24).expect("a prefix"),
            format!("fd09::{last}/64").parse().expect("an address"),
        ],
        gateways: Gateways { v4: Some(at(1)), v6: None },
    };
    attach(host, container.netns(), Wiring { plugs: vec![plug], ..Wiring::default() }, unlimited()).await
}

#[test]
fn containers_are_on_the_network_of_the_hosts_interface() {
    on_a_host(|| async {
        let outside = lan().await;
        let host = Host::open().expect("a connection");
        let parent = host.bring_bridge(&spec("lan", MacvlanMode::Bridge)).await.expect("it is there");
        let (one, attached) = plugged(&host, &parent, 2).await;
        attached.expect("plugged in");
        let (other, attached) = plugged(&host, &parent, 3).await;
        attached.expect("plugged in");
        let (_a, _b) = (one.listens(80).await, outside.listens(81).await);
        assert!(outside.reaches(at(2), 80).await && one.reaches(at(1), 81).await);
        assert!(other.reaches(at(2), 80).await, "they reach each other");
        let six = || std::net::TcpListener::bind("[fd09::2]:82").expect("a listener");
        let _c = one.inside(six).await;
        let to = "[fd09::2]:82".parse().expect("an address");
        let reached =
            outside.inside(move || std::net::TcpStream::connect_timeout(&to, PATIENCE).is_ok()).await;
        assert!(reached, "by IPv6 too");
        let way = one.inside(|| run("ip", "route")).await;
        assert!(way.contains("default via 10.9.0.1 dev eth0"), "{way}");
        let link = one.inside(|| run("ip", "-d link show eth0")).await;
        assert!(link.contains("macvlan mode bridge") && link.contains("02:42:0a:09:00:02"), "{link}");
        // It is not ours, so it stays what it is.
        host.pass_parent("lan", GROUP, GROUP + 1).await.expect("nothing to do");
        host.remove_parent("lan", GROUP).await.expect("nothing to do");
        assert!(run("ip", "link show lan").contains("group default"));
    });
}

#[test]
fn an_interface_that_was_taken_away_gives_its_address_to_the_next_at_once() {
    on_a_host(|| async {
        let outside = lan().await;
        let host = Host::open().expect("a connection");
        let parent = host.bring_bridge(&spec("lan", MacvlanMode::Bridge)).await.expect("it is there");
        let (one, attached) = plugged(&host, &parent, 2).await;
        attached.expect("plugged in");
        let (again, attached) = plugged(&host, &parent, 2).await;
        let error = attached.expect_err("the hardware address is taken");
        assert!(error.to_string().contains("Address already in use"), "{error}");
        remove_inside(one.netns()).await.expect("removed");
        remove_inside(one.netns()).await.expect("it is gone already");
        remove_inside(again.netns()).await.expect("removed");
        plug(&host, &parent, &again, 2).await.expect("plugged in");
        let _listener = again.listens(80).await;
        assert!(outside.reaches(at(2), 80).await);
    });
}

#[test]
fn a_link_that_is_gone_is_brought_back() {
    on_a_host(|| async {
        let outside = lan().await;
        let host = Host::open().expect("a connection");
        let parent = host.bring_bridge(&spec("lan", MacvlanMode::Bridge)).await.expect("it is there");
        let (one, attached) = plugged(&host, &parent, 2).await;
        attached.expect("plugged in");
        let wanted = Plug {
            bridge: parent.clone(),
            group: GROUP,
            veth: one.veth.clone(),
            interface: "eth0".to_owned(),
            mac: [2, 0x42, 10, 9, 0, 2],
            addresses: vec!["10.9.0.2/24".parse().expect("an address")],
            gateways: Gateways::default(),
        };
        let netns = one.netns();
        use std::os::fd::AsFd;
        host.replug(wanted.clone(), netns.as_fd(), unlimited()).await.expect("it is there");
        one.inside(|| run("ip", "link del eth0")).await;
        host.replug(wanted, netns.as_fd(), unlimited()).await.expect("brought back");
        let _listener = one.listens(80).await;
        assert!(outside.reaches(at(2), 80).await);
    });
}

#[test]
fn private_interfaces_reach_the_outside_alone() {
    on_a_host(|| async {
        let outside = lan().await;
        let host = Host::open().expect("a connection");
        let parent = host.bring_bridge(&spec("lan", MacvlanMode::Private)).await.expect("it is there");
        let (one, attached) = plugged(&host, &parent, 2).await;
        attached.expect("plugged in");
        let (other, attached) = plugged(&host, &parent, 3).await;
        attached.expect("plugged in");
        let (_a, _b) = (one.listens(80).await, outside.listens(81).await);
        assert!(outside.reaches(at(2), 80).await && other.reaches(at(1), 81).await);
        assert!(!other.reaches(at(2), 80).await, "nor do they answer who asks for their address");
    });
}

#[test]
fn passthru_is_for_one() {
    on_a_host(|| async {
        let _outside = lan().await;
        let host = Host::open().expect("a connection");
        let parent = host.bring_bridge(&spec("lan", MacvlanMode::Passthru)).await.expect("it is there");
        let (_one, attached) = plugged(&host, &parent, 2).await;
        attached.expect("plugged in");
        let error = plugged(&host, &parent, 3).await.1.expect_err("a second one");
        assert!(matches!(error, Error::Alone { .. }), "{error}");
    });
}

#[test]
fn without_an_interface_of_the_host_containers_reach_each_other() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let name = names::inner(STACK, "lan");
        let parent = host.bring_bridge(&spec(&name, MacvlanMode::Bridge)).await.expect("it is made");
        assert_eq!(host.bring_bridge(&spec(&name, MacvlanMode::Bridge)).await.expect("it stays"), parent);
        let (one, attached) = plugged(&host, &parent, 2).await;
        attached.expect("plugged in");
        let (other, attached) = plugged(&host, &parent, 3).await;
        attached.expect("plugged in");
        let _listener = one.listens(80).await;
        assert!(other.reaches(at(2), 80).await);
        // Others that are on it as well may have it.
        let group = |wanted: u32| {
            assert!(run("ip", &format!("link show {name}")).contains(&format!("group {wanted} ")))
        };
        host.pass_parent(&name, GROUP, GROUP + 1).await.expect("passed on");
        group(GROUP + 1);
        host.pass_parent(&name, GROUP, 7).await.expect("it is theirs");
        group(GROUP + 1);
        host.pass_parent(&name, GROUP + 1, GROUP).await.expect("passed back");
        host.remove_group(GROUP, &[]).await.expect("removed");
        assert_eq!(host.links().await.expect("a list").len(), 1, "the loopback");
        let left = one.inside(|| run("ip", "link")).await;
        assert!(!left.contains("eth0"), "what was on it is gone as well: {left}");
    });
}

#[test]
fn a_tagged_interface_is_made_where_the_kernel_can() {
    on_a_host(|| async {
        let _outside = lan().await;
        let host = Host::open().expect("a connection");
        for missing in ["wan", "wan.7", "lan.x", "lan.4095"] {
            let error =
                host.bring_bridge(&spec(missing, MacvlanMode::Bridge)).await.expect_err("no interface");
            assert!(matches!(error, Error::NoParent { .. }), "{missing}: {error}");
        }
        let can = std::process::Command::new("ip")
            .args(["link", "add", "link", "lan", "name", "lan.9", "type", "vlan", "id", "9"])
            .output()
            .expect("iproute2");
        match host.bring_bridge(&spec("lan.7", MacvlanMode::Bridge)).await {
            Ok(_) => {
                assert!(can.status.success());
                assert!(run("ip", "-d link show lan.7").contains("vlan protocol 802.1Q id 7"));
                // One that was there is not ours to remove.
                host.bring_bridge(&spec("lan.9", MacvlanMode::Bridge)).await.expect("it is there");
                for name in ["lan.7", "lan.9"] {
                    host.remove_parent(name, GROUP).await.expect("no error");
                }
                assert!(!host.has_link("lan.7").await.expect("a look"));
                assert!(host.has_link("lan.9").await.expect("a look"));
            }
            Err(error) => {
                assert!(!can.status.success(), "{error}");
                assert!(matches!(error, Error::NoVlans { .. }), "{error}");
            }
        }
    });
}
