//! Containers on several networks: addresses of both families, the way out, and what keeps ports apart.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, TcpListener, TcpStream};

use composer_network::addresses::Subnet;
use composer_network::{Bridge, BridgeSpec, Gateways, Host, IpNet, Medium, Plug, Wiring, attach, names};

use crate::world::{Container, PATIENCE, STACK, address, bridge, on_a_host, only, run, unlimited};

fn net(text: &str) -> IpNet {
    text.parse().expect("a subnet")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

async fn second(host: &Host, isolated: bool) -> Bridge {
    let spec = BridgeSpec {
        name: names::bridge(STACK, "back"),
        subnets: vec![
            Subnet { gateway: ip("10.7.0.254"), ..Subnet::whole(net("10.7.0.0/24")) },
            Subnet::whole(net("fd07::/64")),
        ],
        group: 77,
        mtu: Some(1400),
        isolated,
        medium: Medium::Bridge,
    };
    host.bring_bridge(&spec).await.expect("a bridge")
}

fn plug(bridge: &Bridge, container: &str, interface: &str, last: u8, gateways: Gateways) -> Plug {
    Plug {
        bridge: bridge.clone(),
        group: 5,
        veth: names::veth(STACK, container, "back"),
        interface: interface.to_owned(),
        mac: [2, 0, 0, 0, 7, last],
        addresses: vec![
            net(&format!("10.7.0.{last}/24")),
            net(&format!("fd07::{last}/64")),
            net("169.254.7.7/16"),
        ],
        gateways,
    }
}

#[test]
fn a_bridge_whose_addresses_were_flushed_asks_for_whom_it_forwards_to_again() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let back = second(&host, false).await;
        let one = Container::new("one-1", 9);
        let gateways = Gateways { v4: None, v6: Some("fd07::1".parse().expect("it")) };
        let plugs = vec![plug(&back, "one-1", "lan", 9, gateways)];
        attach(&host, one.netns(), Wiring { plugs, ..Wiring::default() }, unlimited())
            .await
            .expect("attached");
        let listed = || run("ip", &format!("-6 -br addr show dev {}", back.name));
        // The host's end of the cable has it once the kernel has seen that the cable is in.
        let _service = one.inside(|| TcpListener::bind("[::]:80").expect("a listener")).await;
        TcpStream::connect_timeout(&(ip("fd07::9"), 80).into(), PATIENCE).expect("a container");
        let before = listed();
        assert!(before.contains(" fe80::"), "{before}");
        run("ip", &format!("-6 addr flush dev {}", back.name));
        second(&host, false).await;
        let words = |text: &str| {
            text.split_whitespace().map(str::to_owned).collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(words(&listed()), words(&before), "as the kernel had made it");
        // One that somebody has chosen is as good.
        run("ip", &format!("-6 addr flush dev {} scope link", back.name));
        run("ip", &format!("addr add fe80::7/64 dev {} nodad", back.name));
        second(&host, false).await;
        assert_eq!(listed().matches("fe80::").count(), 1, "{}", listed());
        // From somebody beyond the host.
        run("ip", &format!("-6 addr flush dev {}", back.name));
        second(&host, false).await;
        std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").expect("set");
        let beyond = Container::new("beyond-1", 2);
        beyond.plugged(&host, &bridge(&host).await).await;
        run("ip", "neigh flush all");
        let front = bridge(&host).await.name;
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{front}/disable_ipv6"), "0").expect("set");
        run("ip", &format!("addr add fd08::1/64 dev {front} nodad"));
        beyond
            .inside(|| {
                std::fs::write("/proc/sys/net/ipv6/conf/eth0/disable_ipv6", "0").expect("set");
                run("ip", "addr add fd08::2/64 dev eth0 nodad");
                run("ip", "route add default via fd08::1");
                TcpStream::connect_timeout(&(ip("fd07::9"), 80).into(), PATIENCE).expect("forwarded");
            })
            .await;
    });
}

#[test]
fn a_container_on_two_networks() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let (front, back) = (bridge(&host).await, second(&host, false).await);
        let one = Container::new("one-1", 2);
        let mut first = only(&front, &one.veth, one.address);
        first.gateways = Gateways::default();
        let ways = Gateways {
            v4: Some("10.7.0.254".parse().expect("it")),
            v6: Some("fd07::1".parse().expect("it")),
        };
        let plugs = vec![first, plug(&back, "one-1", "lan", 9, ways)];
        let sysctls = BTreeMap::from([
            ("net.ipv4.ip_forward".to_owned(), "1".to_owned()),
            ("net/ipv4/conf/lan/forwarding".to_owned(), "0".to_owned()),
        ]);
        attach(&host, one.netns(), Wiring { plugs, sysctls }, unlimited()).await.expect("attached");
        let seen = one
            .inside(|| {
                run("ip", "addr")
                    + &run("ip", "route")
                    + &run("ip", "-6 route")
                    + &run("sysctl", "net.ipv4.ip_forward")
                    + &run("sysctl", "net.ipv6.conf.lan.accept_ra")
            })
            .await;
        for wanted in [
            "inet 172.18.0.2/22",
            "inet 10.7.0.9/24",
            "inet 169.254.7.7/16",
            "inet6 fd07::9/64 scope global",
            "02:00:00:00:07:09",
            "mtu 1400",
            "default via 10.7.0.254 dev lan",
            "default via fd07::1 dev lan",
            "net.ipv4.ip_forward = 1",
            "net.ipv6.conf.lan.accept_ra = 0",
        ] {
            assert!(seen.contains(wanted), "{wanted} in {seen}");
        }
        assert!(!seen.contains("default via 172"), "{seen}");
        let is_tentative = seen.lines().any(|line| line.contains("fd07::9") && line.contains("tentative"));
        assert!(!is_tentative, "{seen}");
        // Each family over each network, at once.
        let _service = one.inside(|| TcpListener::bind(("::", 80)).expect("a listener")).await;
        for address in ["172.18.0.2", "10.7.0.9", "fd07::9"] {
            TcpStream::connect_timeout(&(ip(address), 80).into(), PATIENCE).expect(address);
        }
        let group = host.links().await.expect("links").into_iter().filter(|link| link.group == 5).count();
        assert_eq!(group, 1, "the pair is in the stack's group, whatever its bridge's is");
    });
}

#[test]
fn ports_that_are_kept_apart_reach_the_bridge_alone() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let back = second(&host, true).await;
        let (one, two) = (Container::new("one-1", 2), Container::new("two-1", 3));
        for (container, name, last) in [(&one, "one-1", 2), (&two, "two-1", 3)] {
            let plugs = vec![plug(&back, name, "eth0", last, Gateways::default())];
            attach(&host, container.netns(), Wiring { plugs, ..Wiring::default() }, unlimited())
                .await
                .expect("attached");
        }
        let _service = one.inside(|| TcpListener::bind(("10.7.0.2", 80)).expect("a listener")).await;
        TcpStream::connect_timeout(&(ip("10.7.0.2"), 80).into(), PATIENCE).expect("from the host");
        // What is not answered by ARP is no host: an error after some tries, not a matter of patience.
        let reached = two.inside(|| TcpStream::connect_timeout(&(ip("10.7.0.2"), 80).into(), PATIENCE)).await;
        assert_eq!(reached.expect_err("kept apart").kind(), std::io::ErrorKind::HostUnreachable);
    });
}

#[test]
fn a_parameter_that_is_not_there_is_named_and_leaves_no_pair() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let one = Container::new("one-1", 2);
        let plugs = vec![only(&bridge, &one.veth, address(2))];
        let sysctls = BTreeMap::from([("net.ipv4.no_such".to_owned(), "1".to_owned())]);
        let error =
            attach(&host, one.netns(), Wiring { plugs, sysctls }, unlimited()).await.expect_err("no such");
        assert!(error.to_string().starts_with("cannot set the parameter net.ipv4.no_such to 1: "), "{error}");
        assert!(!run("ip", "link").contains(&one.veth));
        // None of these leads out of what is the namespace's own.
        for key in ["net/../net/ipv4/ip_forward", "net.//.net.ipv4.ip_forward", "kernel.shmmax"] {
            let plugs = vec![only(&bridge, &one.veth, address(2))];
            let sysctls = BTreeMap::from([(key.to_owned(), "1".to_owned())]);
            let error =
                attach(&host, one.netns(), Wiring { plugs, sysctls }, unlimited()).await.expect_err(key);
            assert!(error.to_string().contains("invalid input"), "{error}");
        }
    });
}

#[test]
fn a_bridge_of_both_families_is_mended() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let made = second(&host, false).await;
        run("ip", &format!("addr del fd07::1/64 dev {}", made.name));
        run("ip", &format!("addr add fd08::1/64 dev {}", made.name));
        run("ip", &format!("link set {} mtu 1300", made.name));
        assert_eq!(second(&host, false).await, made);
        let seen = run("ip", &format!("addr show dev {}", made.name));
        assert!(
            seen.contains("fd07::1/64") && !seen.contains("fd08::1") && seen.contains("mtu 1400"),
            "{seen}"
        );
        assert!(seen.contains("10.7.0.254/24"), "{seen}");
        // What it adds to the host is its own, and nobody else's to clash with.
        let taken = host.taken(&[&made.name]).await.expect("a list").all();
        assert!(!taken.contains(&net("10.7.0.0/24")) && !taken.contains(&net("fd07::/64")), "{taken:?}");
        let all: BTreeSet<IpNet> = host.taken(&[]).await.expect("a list").all().into_iter().collect();
        assert!(all.contains(&net("10.7.0.0/24")) && all.contains(&net("fd07::/64")), "{all:?}");
    });
}
