//! The bridge: made, left alone, mended; the group: removed in one go, and nothing of others with it.

use std::net::TcpStream;

use composer_network::{Error, Host, Ipv4Net, names};

use crate::world::{Container, PATIENCE, STACK, bridge, bring, link_group, on_a_host, rename, run, subnet};

#[test]
fn a_bridge_has_the_first_address_and_is_up() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let seen = run("ip", &format!("-d addr show dev {}", bridge.name));
        assert!(seen.contains("inet 172.18.0.1/22"), "{seen}");
        assert!(seen.contains("link/ether 02:42:ac:12:00:01"), "{seen}");
        assert!(seen.contains(",UP"), "{seen}");
        // A router that announces itself behind it is not heard.
        assert!(!seen.contains("inet6"), "{seen}");
    });
}

#[test]
fn a_bridge_that_is_right_is_left_as_it_is() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let first = bridge(&host).await;
        assert_eq!(bridge(&host).await, first);
    });
}

#[test]
fn a_bridge_is_mended() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let made = bridge(&host).await;
        let name = &made.name;
        run("ip", &format!("addr del 172.18.0.1/22 dev {name}"));
        run("ip", &format!("addr add 10.99.0.1/24 dev {name}"));
        run("ip", &format!("link set {name} down group 7"));
        assert_eq!(bridge(&host).await, made);
        let seen = run("ip", &format!("-4 addr show dev {name}"));
        assert!(seen.contains("inet 172.18.0.1/22") && !seen.contains("10.99.0.1"), "{seen}");
        assert!(seen.contains(",UP"), "{seen}");
        let link = host
            .links()
            .await
            .expect("links")
            .into_iter()
            .find(|link| link.name == *name)
            .expect("the bridge");
        assert_eq!((link.group, link.up), (link_group(subnet()), true));
    });
}

#[test]
fn a_bridge_moves_to_another_subnet() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let name = bridge(&host).await.name;
        let other: Ipv4Net = "172.19.4.0/22".parse().expect("a subnet");
        bring(&host, &name, other, link_group(other)).await.expect("moved");
        let seen = run("ip", &format!("-4 addr show dev {name}"));
        assert!(seen.contains("inet 172.19.4.1/22") && !seen.contains("172.18.0.1"), "{seen}");
    });
}

#[test]
fn a_link_of_another_kind_is_not_taken_for_the_bridge() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let name = names::bridge(STACK, "default");
        run("ip", &format!("link add {name} type veth"));
        let error = bring(&host, &name, subnet(), 5).await.expect_err("a veth is no bridge");
        assert!(matches!(error, Error::WrongKind { .. }), "{error}");
    });
}

#[test]
fn a_bridge_of_the_hosts_own_is_neither_taken_over_nor_removed() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        run("ip", "link add docker0 type bridge");
        run("ip", "addr add 172.17.0.1/16 dev docker0");
        let before = run("ip", "-d addr show dev docker0");
        let error = bring(&host, "docker0", subnet(), 5).await.expect_err("it is the host's");
        assert!(matches!(error, Error::ForeignBridge { .. }), "{error}");
        host.remove_bridge("docker0", 5).await.expect("none of ours");
        assert_eq!(run("ip", "-d addr show dev docker0"), before);
        bring(&host, "lan0", subnet(), 5).await.expect("one of a name that is free");
        bring(&host, "lan0", subnet(), 5).await.expect("our own");
        host.remove_bridge("lan0", 5).await.expect("removed");
        assert!(!host.has_link("lan0").await.expect("an answer"));
    });
}

#[test]
fn a_group_goes_in_one_go_and_nothing_else_does() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        run("ip", "link add stranger type bridge");
        let bridge = bridge(&host).await;
        let mut containers = Vec::new();
        for last in 2..6 {
            containers.push(Container::attached(&format!("api-{last}"), last, &host, &bridge).await);
        }
        host.remove_group(bridge.group, &[]).await.expect("removed");
        let mut left: Vec<_> = host.links().await.expect("links").into_iter().map(|link| link.name).collect();
        left.retain(|name| !name.starts_with("ifb"));
        assert_eq!(left, ["lo", "stranger"]);
        host.remove_group(bridge.group, &[]).await.expect("an empty group is no error");
    });
}

#[test]
fn a_stranger_in_a_group_stays_and_keeps_nothing_else() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let _one = Container::attached("one-1", 2, &host, &bridge).await;
        for kind in ["bridge", "ifb", "veth peer other-peer"] {
            let name = kind.split(' ').next().expect("a kind");
            run("ip", &format!("link add other-{name} group {} type {kind}", bridge.group));
        }
        let left = host.remove_group(bridge.group, &[]).await.expect("removed");
        assert_eq!(left, ["other-bridge", "other-ifb", "other-veth"]);
        assert!(matches!(host.remove_group(0, &[]).await, Err(Error::DefaultGroup)));
        let links = run("ip", "link");
        assert!(left.iter().all(|name| links.contains(name)), "{links}");
        assert!(!links.contains(&bridge.name) && !links.contains("cv"), "{links}");
    });
}

#[test]
fn what_somebody_renamed_goes_with_its_group() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let (two, _) = Container::attached("two-1", 3, &host, &bridge).await;
        run("ip", &format!("link add stranger group {} type bridge", bridge.group));
        rename(&bridge.name, "foo");
        rename(&one.veth, "bar");
        assert_eq!(host.remove_group(bridge.group, &[&bridge.name]).await.expect("removed"), ["stranger"]);
        let links = run("ip", "link");
        assert!(["foo", "bar", &two.veth].iter().all(|name| !links.contains(*name)), "{links}");
    });
}

#[test]
fn a_bridge_that_somebody_renamed_is_called_by_its_name_again() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let made = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &made).await;
        let other = names::bridge(STACK, "other");
        let subnets = [subnet().into()];
        rename(&made.name, "foo");
        host.recall_bridge(&other, made.group, &["172.19.4.0/22".parse().expect("a subnet")])
            .await
            .expect("none");
        host.recall_bridge(&made.name, made.group + 1, &subnets).await.expect("none of that group");
        assert!(host.has_link("foo").await.expect("an answer"), "it is no other network's");
        host.recall_bridge(&made.name, made.group, &subnets).await.expect("renamed");
        assert_eq!(bridge(&host).await, made, "with what is in it");
        let _service = one.listens(80).await;
        assert!(TcpStream::connect_timeout(&(one.address, 80).into(), PATIENCE).is_ok());
        // One of the name is not renamed over.
        host.recall_bridge(&made.name, made.group, &subnets).await.expect("nothing to do");
        assert!(!host.has_link("foo").await.expect("an answer"));
    });
}

#[test]
fn what_is_taken_covers_every_table_and_address() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        run("ip", "link add vpn type bridge");
        run("ip", "link set vpn up");
        run("ip", "addr add 10.8.0.5/24 dev vpn");
        run("ip", "route add 172.18.0.0/16 dev vpn table 77");
        run("ip", "route add blackhole 192.168.7.0/24");
        run("ip", "route add default dev vpn");
        let taken = host.taken(&[]).await.expect("routes").all();
        for wanted in ["172.18.0.0/16", "192.168.7.0/24", "10.8.0.0/24", "10.8.0.5/24"] {
            assert!(taken.contains(&wanted.parse().expect("a subnet")), "{wanted} in {taken:?}");
        }
        assert!(taken.iter().all(|net| net.prefix_len() > 0));
    });
}

#[test]
fn a_part_of_what_lies_behind_others_may_be_chosen() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        run("ip", "link add lan type bridge");
        run("ip", "link set lan up");
        run("ip", "addr add 192.0.2.5/24 dev lan");
        run("ip", "addr add 2001:db8::5/64 dev lan nodad");
        for route in [
            "10.0.0.0/8 via 192.0.2.1",
            "10.66.0.0/16 nexthop via 192.0.2.1 nexthop via 192.0.2.2",
            "10.66.7.0/24 via 192.0.2.1",
            "172.20.0.0/14 dev lan",
            "unreachable 172.24.0.0/13",
            "192.0.0.0/6 via 192.0.2.1",
            "fd00::/8 via 2001:db8::1",
        ] {
            run("ip", &format!("route add {route}"));
        }
        let taken = host.taken(&[]).await.expect("routes");
        let net = |text: &str| -> composer_network::IpNet { text.parse().expect("a subnet") };
        for (subnet, in_the_way, around) in [
            ("10.1.0.0/24", None, Some("10.0.0.0/8")),
            ("10.66.0.0/24", None, Some("10.66.0.0/16")),
            ("172.25.0.0/16", None, Some("172.24.0.0/13")),
            ("fd07::/64", None, Some("fd00::/8")),
            // What all of it would hide, or a part of which leads elsewhere already.
            ("10.66.7.0/24", Some("10.66.7.0/24"), Some("10.66.0.0/16")),
            ("10.66.0.0/20", Some("10.66.7.0/24"), Some("10.66.0.0/16")),
            // What is on a link of the host is somebody's for certain.
            ("172.21.0.0/16", Some("172.20.0.0/14"), None),
            ("192.0.2.64/26", Some("192.0.2.0/24"), None),
            // Ways to everywhere are no matter.
            ("193.0.0.0/24", None, None),
        ] {
            let subnet = net(subnet);
            let clash = |other: &composer_network::IpNet| {
                other.prefix_len() > 7 && (other.contains(&subnet) || subnet.contains(other))
            };
            let found = taken.in_the_way_of(subnet).into_iter().find(clash);
            assert_eq!((found, taken.around(subnet)), (in_the_way.map(net), around.map(net)), "{subnet}");
        }
    });
}
