//! Published ports, outbound traffic and isolation: the table of a stack, seen by clients.

use std::fs;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use composer_network::firewall::{Protocol, Published};

use crate::firewall::feed;
use crate::landscape::{
    HOST, HOST_V6, Landscape, OUTSIDE, OUTSIDE_V6, PORT, ask_tcp, ask_udp, firewall, published, rules, serve,
};
use crate::world::{gateway, on_a_host, run};

const CALLS: [&str; 2] =
    ["/proc/sys/net/bridge/bridge-nf-call-iptables", "/proc/sys/net/bridge/bridge-nf-call-ip6tables"];

/// Whether frames within a bridge pass the firewall.
pub fn bridged_calls(on: bool) {
    for path in CALLS {
        fs::write(path, if on { "1" } else { "0" }).expect("a kernel with br_netfilter");
    }
}

#[test]
fn a_client_outside_is_led_to_the_container_and_keeps_its_address() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let _firewall = firewall("shop", &rules(&[&network], vec![published(&network, &web, 8080)]));
        assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, Some(OUTSIDE.into()));
        assert_eq!(land.outsider.asks_tcp((HOST_V6, 8080)).await, Some(OUTSIDE_V6.into()));
        assert_eq!(land.outsider.asks_tcp((HOST, 8081)).await, None);
    });
}

#[test]
fn the_bridge_can_ask_for_containers_by_ipv6_at_once() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        land.container(&network, 2).await;
        let shown = |more: &str| run("ip", &format!("-6 address show dev {}{more}", network.bridge.name));
        // An address that is tentative is none to ask from.
        assert!(shown("").contains("inet6 fe80:"), "{}", shown(""));
        assert_eq!(shown(" tentative"), "");
    });
}

#[test]
fn the_rules_can_be_saved_and_loaded() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let _firewall = firewall("shop", &rules(&[&network], vec![published(&network, &web, 8080)]));
        let saved = run("nft", "list ruleset");
        assert!(saved.contains(&format!("elements = {{ \"{}\" }}", network.bridge.name)), "{saved}");
        feed("nft", &["-f", "-"], &format!("flush ruleset\n{saved}"));
        assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, Some(OUTSIDE.into()));
    });
}

#[test]
fn the_host_reaches_it_by_its_loopback_and_by_its_addresses() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let _firewall = firewall("shop", &rules(&[&network], vec![published(&network, &web, 8080)]));
        let gateway = gateway(&network.bridge);
        assert_eq!(ask_tcp((Ipv4Addr::LOCALHOST, 8080)), Some(gateway.into()));
        assert_eq!(ask_tcp((Ipv4Addr::new(127, 9, 9, 9), 8080)), Some(gateway.into()));
        assert_eq!(ask_tcp((HOST, 8080)), Some(HOST.into()));
        assert_eq!(ask_tcp((HOST_V6, 8080)), Some(HOST_V6.into()));
        assert_eq!(ask_tcp((gateway, 8080)), Some(gateway.into()));
    });
}

#[test]
fn containers_reach_published_ports_of_others_and_their_own() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let (network, other) = (land.network("shop", 0).await, land.network("other", 1).await);
        let (web, neighbour) = (land.container(&network, 2).await, land.container(&network, 3).await);
        let stranger = land.container(&other, 2).await;
        land.host.return_own(&web.veth).await.expect("a port of the bridge");
        serve(&web).await;
        let _shop = firewall("shop", &rules(&[&network], vec![published(&network, &web, 8080)]));
        let _other = firewall("other", &rules(&[&other], Vec::new()));
        for calls in [false, true] {
            bridged_calls(calls);
            for (who, from) in [("itself", &web), ("its neighbour", &neighbour), ("another stack", &stranger)]
            {
                assert!(
                    from.asks_tcp((HOST, 8080)).await.is_some(),
                    "{who} over IPv4, bridged calls {calls}"
                );
                assert!(from.asks_tcp((HOST_V6, 8080)).await.is_some(), "{who}, IPv6, bridged calls {calls}");
            }
        }
    });
}

#[test]
fn networks_are_reached_by_published_ports_alone() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let (network, other) = (land.network("shop", 0).await, land.network("other", 1).await);
        let (web, stranger) = (land.container(&network, 2).await, land.container(&other, 2).await);
        let friend = land.container(&network, 3).await;
        serve(&web).await;
        let direct = [IpAddr::V4(web.address), IpAddr::V6(network.v6(2))];
        for to in direct {
            assert!(stranger.asks_tcp((to, PORT)).await.is_some(), "the host forwards");
            assert!(land.outsider.asks_tcp((to, PORT)).await.is_some(), "the host forwards");
        }
        let _shop = firewall("shop", &rules(&[&network], vec![published(&network, &web, 8080)]));
        let _other = firewall("other", &rules(&[&other], Vec::new()));
        for calls in [false, true] {
            bridged_calls(calls);
            for to in direct {
                assert_eq!(stranger.asks_tcp((to, PORT)).await, None, "another stack reaches {to}");
                assert_eq!(land.outsider.asks_tcp((to, PORT)).await, None, "the outside reaches {to}");
                assert!(friend.asks_tcp((to, PORT)).await.is_some(), "{to} from its own network");
                assert!(ask_tcp((to, PORT)).is_some(), "{to} from the host itself");
            }
        }
    });
}

#[test]
fn what_leaves_a_network_has_the_hosts_address_where_it_masquerades() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let client = land.container(&network, 2).await;
        serve(&land.outsider).await;
        let mut rules = rules(&[&network], Vec::new());
        let mut firewall = firewall("shop", &rules);
        assert_eq!(client.asks_tcp((OUTSIDE, PORT)).await, Some(HOST.into()));
        assert_eq!(client.asks_tcp((OUTSIDE_V6, PORT)).await, Some(HOST_V6.into()));
        rules.networks[0].masquerade = false;
        firewall.apply(&rules).expect("applied");
        assert_eq!(client.asks_tcp((OUTSIDE, PORT)).await, Some(client.address.into()));
        rules.networks[0].internal = true;
        firewall.apply(&rules).expect("applied");
        assert_eq!(client.asks_tcp((OUTSIDE, PORT)).await, None);
        assert_eq!(client.asks_tcp((OUTSIDE_V6, PORT)).await, None);
    });
}

#[test]
fn what_leaves_a_network_has_the_address_that_is_chosen_for_it() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        run("ip", "address add 198.51.100.9/24 dev up0");
        run("ip", "address add 2001:db8::9/64 dev up0 nodad preferred_lft 0");
        let network = land.network("shop", 0).await;
        let (client, neighbour) = (land.container(&network, 2).await, land.container(&network, 3).await);
        serve(&land.outsider).await;
        serve(&neighbour).await;
        let (v4, v6): (IpAddr, IpAddr) =
            ("198.51.100.9".parse().expect("it"), "2001:db8::9".parse().expect("it"));
        let mut rules = rules(&[&network], Vec::new());
        for source in [[Some(v4), None], [None, Some(v6)]] {
            rules.networks[0].source = source;
            let _firewall = firewall("shop", &rules);
            let expected = [source[0].unwrap_or(HOST.into()), source[1].unwrap_or(HOST_V6.into())];
            assert_eq!(client.asks_tcp((OUTSIDE, PORT)).await, Some(expected[0]));
            assert_eq!(client.asks_tcp((OUTSIDE_V6, PORT)).await, Some(expected[1]));
            for calls in [true, false] {
                bridged_calls(calls);
                let seen = client.asks_tcp((neighbour.address, PORT)).await;
                assert_eq!(seen, Some(client.address.into()), "within");
            }
        }
    });
}

#[test]
fn interfaces_that_are_trusted_reach_published_ports_at_the_containers_addresses() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let _hidden = web.listens(81).await;
        let here = Published { host_ip: Some(Ipv4Addr::LOCALHOST.into()), ..published(&network, &web, 8080) };
        let mut rules = rules(&[&network], vec![here]);
        for (trusted, is_open) in [("up0", true), ("up", false), ("up00", false)] {
            rules.networks[0].trusted = vec!["other".to_owned(), trusted.to_owned()];
            let _firewall = firewall("shop", &rules);
            for own in [IpAddr::V4(web.address), network.v6(2).into()] {
                assert_eq!(
                    land.outsider.asks_tcp((own, PORT)).await.is_some(),
                    is_open,
                    "{own} by {trusted}"
                );
                assert_eq!(land.outsider.asks_tcp((own, 81)).await, None, "{own}");
            }
            assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, None);
        }
    });
}

#[test]
fn an_internal_network_reaches_no_published_port_of_another_and_itself_all_the_same() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let (network, hidden) = (land.network("shop", 0).await, land.network("hidden", 1).await);
        let web = land.container(&network, 2).await;
        let (one, two) = (land.container(&hidden, 2).await, land.container(&hidden, 3).await);
        serve(&web).await;
        serve(&one).await;
        let mut rules = rules(&[&network, &hidden], vec![published(&network, &web, 8080)]);
        rules.networks[1].internal = true;
        let _firewall = firewall("shop", &rules);
        bridged_calls(true);
        assert_eq!(two.asks_tcp((one.address, PORT)).await, Some(two.address.into()));
        assert_eq!(two.asks_tcp((HOST, 8080)).await, None);
        assert_eq!(web.asks_tcp((one.address, PORT)).await, None);
    });
}

#[test]
fn isolated_containers_do_not_reach_each_other_where_frames_pass_the_firewall() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let (one, two) = (land.container(&network, 2).await, land.container(&network, 3).await);
        serve(&one).await;
        bridged_calls(true);
        let mut rules = rules(&[&network], Vec::new());
        rules.networks[0].isolated = true;
        let _firewall = firewall("shop", &rules);
        assert_eq!(two.asks_tcp((one.address, PORT)).await, None);
    });
}

#[test]
fn a_port_at_one_address_is_published_there_alone() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        run("ip", "address add 198.51.100.9/24 dev up0");
        run("ip", "address add 2001:db8::9/64 dev up0 nodad");
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let at = |address: &str, host_port| Published {
            host_ip: Some(address.parse().expect("an address")),
            ..published(&network, &web, host_port)
        };
        let published = vec![
            at("198.51.100.9", 1),
            at("2001:db8::9", 2),
            at("127.0.0.1", 3),
            at("0.0.0.0", 4),
            at("::", 5),
        ];
        let _firewall = firewall("shop", &rules(&[&network], published));
        let reach = async |address: &str, port: u16| {
            let address: IpAddr = address.parse().expect("an address");
            land.outsider.asks_tcp((address, port)).await.is_some()
        };
        for (address, ports) in [
            ("198.51.100.9", [1, 4].as_slice()),
            ("198.51.100.1", &[4]),
            ("2001:db8::9", &[2, 5]),
            ("2001:db8::1", &[5]),
        ] {
            for port in 1..=5 {
                assert_eq!(reach(address, port).await, ports.contains(&port), "{address} port {port}");
            }
        }
        assert!(ask_tcp((Ipv4Addr::LOCALHOST, 3)).is_some());
        assert!(ask_tcp((Ipv4Addr::new(127, 0, 0, 2), 3)).is_none() && ask_tcp((HOST, 3)).is_none());
    });
}

/// One of UDP for either family, of a client that goes on sending.
async fn sockets_outside(land: &Landscape) -> (UdpSocket, UdpSocket) {
    let bind = |address: &str| UdpSocket::bind(address).expect("a socket");
    land.outsider.inside(move || (bind("0.0.0.0:0"), bind("[::]:0"))).await
}

#[test]
fn udp_is_led_to_the_container_that_is_there_now() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let (one, two) = (land.container(&network, 2).await, land.container(&network, 3).await);
        serve(&one).await;
        serve(&two).await;
        let to = |container| {
            let udp = Published { protocol: Protocol::Udp, ..published(&network, container, 5353) };
            rules(&[&network], vec![udp])
        };
        let mut firewall = firewall("shop", &rules(&[&network], Vec::new()));
        // One socket each all along, as a client that goes on sending.
        let (outside, here) = sockets_outside(&land).await;
        let loopback = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let ask = |socket: &UdpSocket, to: IpAddr| ask_udp(socket, (to, 5353));
        assert_eq!(ask(&outside, HOST.into()), None, "before it is published");
        assert_eq!(ask(&loopback, Ipv4Addr::LOCALHOST.into()), None, "before it is published");
        for container in [&one, &two] {
            firewall.apply(&to(container)).expect("applied");
            let own = IpAddr::V4(container.address);
            assert_eq!(ask(&outside, HOST.into()), Some((OUTSIDE.into(), own)));
            assert_eq!(ask(&here, HOST_V6.into()), Some((OUTSIDE_V6.into(), own)));
            let gateway = gateway(&network.bridge).into();
            assert_eq!(ask(&loopback, Ipv4Addr::LOCALHOST.into()), Some((gateway, own)));
        }
    });
}

/// The kernel's table of flows is looked through once, and not once for each port: a hundred times the ports took a
/// hundred times as long.
#[test]
fn flows_of_thousands_of_udp_ports_are_forgotten_in_one_go() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let (one, two) = (land.container(&network, 2).await, land.container(&network, 3).await);
        serve(&one).await;
        serve(&two).await;
        let mut firewall = firewall("shop", &rules(&[&network], Vec::new()));
        let (outside, other) = sockets_outside(&land).await;
        let mut took = Vec::new();
        for last in [10_030, 13_000] {
            let to = |container| {
                let udp =
                    |port| Published { protocol: Protocol::Udp, ..published(&network, container, port) };
                rules(&[&network], (10_001..=last).map(udp).collect())
            };
            let started = Instant::now();
            for container in [&one, &two] {
                firewall.apply(&to(container)).expect("applied");
                for port in [10_001, last] {
                    let own = IpAddr::V4(container.address);
                    assert_eq!(ask_udp(&outside, (HOST, port)), Some((OUTSIDE.into(), own)), "{port}");
                    assert_eq!(ask_udp(&other, (HOST_V6, port)), Some((OUTSIDE_V6.into(), own)), "{port}");
                }
            }
            took.push(started.elapsed());
        }
        firewall.remove(std::slice::from_ref(&network.bridge.name), &[]).expect("removed");
        assert!(took[1] < took[0] * 50, "{took:?}");
    });
}

#[test]
fn connections_outlive_that_the_rules_are_replaced() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let with = rules(&[&network], vec![published(&network, &web, 8080)]);
        let mut firewall = firewall("shop", &with);
        let mut streams =
            land.outsider.inside(|| vec![TcpStream::connect((HOST, 8080)).expect("a connection")]).await;
        streams.push(TcpStream::connect((Ipv4Addr::LOCALHOST, 8080)).expect("a connection"));
        for again in [&with, &rules(&[&network], Vec::new()), &with] {
            firewall.apply(again).expect("applied");
            for stream in &mut streams {
                stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time-out");
                stream.write_all(b"still there\n").expect("sent");
                let mut got = Vec::new();
                while !got.ends_with(b"still there\n") {
                    let mut some = [0; 64];
                    let length = stream.read(&mut some).expect("it comes back");
                    got.extend_from_slice(&some[..length]);
                }
            }
        }
    });
}

#[test]
fn what_the_host_has_on_its_loopback_stays_its_own() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let evil = land.container(&network, 2).await;
        let _secret = TcpListener::bind((Ipv4Addr::LOCALHOST, 9999)).expect("a listener");
        let gateway = gateway(&network.bridge);
        // A container with the right to do so routes 127.0.0.1 out of itself.
        evil.inside(move || {
            fs::write("/proc/sys/net/ipv4/conf/eth0/route_localnet", "1").expect("set");
            run("ip", "rule add pref 10 lookup local");
            run("ip", "rule del pref 0");
            run("ip", "rule add pref 5 to 127.0.0.1 lookup 100");
            run("ip", &format!("route add 127.0.0.1 via {gateway} dev eth0 table 100"));
        })
        .await;
        fs::write(format!("/proc/sys/net/ipv4/conf/{}/route_localnet", network.bridge.name), "1")
            .expect("set");
        assert!(evil.reaches(Ipv4Addr::LOCALHOST, 9999).await, "the setting lets it in");
        let _firewall = firewall("shop", &rules(&[&network], Vec::new()));
        let to = (Ipv4Addr::LOCALHOST, 9999).into();
        let reached =
            evil.inside(move || TcpStream::connect_timeout(&to, Duration::from_millis(250)).is_ok());
        assert!(!reached.await);
    });
}

#[test]
fn thousands_of_ports_are_published_and_nothing_is_left() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let before = run("nft", "list ruleset");
        let all: Vec<_> = (1..=5000).map(|port| published(&network, &web, 10_000 + port)).collect();
        let mut firewall = firewall("shop", &rules(&[&network], all));
        for port in [10_001, 12_500, 15_000] {
            assert!(land.outsider.asks_tcp((HOST, port)).await.is_some(), "{port}");
            assert!(land.outsider.asks_tcp((HOST_V6, port)).await.is_some(), "{port}");
        }
        firewall.remove(std::slice::from_ref(&network.bridge.name), &[]).expect("removed");
        assert_eq!(run("nft", "list ruleset"), before);
        firewall.remove(std::slice::from_ref(&network.bridge.name), &[]).expect("nothing to remove is fine");
    });
}

#[test]
fn a_pair_of_addresses_of_one_family_alone_leads_from_that_family_alone() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let only_v4 = Published { to_v6: None, ..published(&network, &web, 8080) };
        let _firewall = firewall("shop", &rules(&[&network], vec![only_v4]));
        assert!(land.outsider.asks_tcp((HOST, 8080)).await.is_some());
        assert_eq!(land.outsider.asks_tcp((HOST_V6, 8080)).await, None);
        assert_eq!(ask_tcp((Ipv6Addr::LOCALHOST, 8080)), None);
    });
}
