//! Whom a network lets in at its containers' own addresses: gateway modes `nat`, `nat-unprotected` and `routed`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, TcpStream, UdpSocket};
use std::time::Duration;

use composer_network::firewall::{Direct, Protocol, Published};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::landscape::{
    HOST, HOST_V6, Landscape, OUTSIDE, OUTSIDE_V6, PORT, ask_udp, firewall, published, rules, serve,
};
use crate::world::{Container, on_a_host};

#[test]
fn unprotected_containers_are_reached_at_their_own_addresses() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let mut wanted = rules(&[&network], Vec::new());
        for unprotected in [[true, false], [false, true], [true, true], [false, false]] {
            wanted.networks[0].unprotected = unprotected;
            let _shop = firewall("shop", &wanted);
            let direct = [IpAddr::V4(web.address), IpAddr::V6(network.v6(2))];
            for (to, is_open) in direct.into_iter().zip(unprotected) {
                assert_eq!(
                    land.outsider.asks_tcp((to, PORT)).await.is_some(),
                    is_open,
                    "{to} {unprotected:?}"
                );
            }
        }
    });
}

/// Whether a connection from there comes about before long.
async fn takes(from: &Container, address: Ipv4Addr, port: u16) -> bool {
    let connect = move || TcpStream::connect_timeout(&(address, port).into(), Duration::from_millis(250));
    from.inside(move || connect().is_ok()).await
}

/// As Docker has it since 29 (TestInterNetworkDirectRouting): other networks of the host are outside like any other.
#[test]
fn what_is_open_to_the_outside_is_open_to_other_networks_that_lead_there() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let (network, second) = (land.network("shop", 0).await, land.network("shop-too", 1).await);
        let (other, hidden) = (land.network("other", 2).await, land.network("hidden", 3).await);
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let _unpublished = web.listens(81).await;
        let same_stack = land.container(&second, 2).await;
        let other_stack = land.container(&other, 2).await;
        let internal = land.container(&hidden, 2).await;
        let mut theirs = rules(&[&other, &hidden], Vec::new());
        theirs.networks[1].internal = true;
        let _theirs = firewall("other", &theirs);
        for (mode, open) in [("nat", &[][..]), ("routed", &[PORT]), ("nat-unprotected", &[PORT, 81])] {
            let mut wanted = rules(&[&network, &second], Vec::new());
            wanted.networks[0].unprotected = [mode == "nat-unprotected"; 2];
            if mode == "routed" {
                wanted.networks[0].routed = [true; 2];
                let own: [IpAddr; 2] = [web.address.into(), network.v6(2).into()];
                let direct = own.map(|address| Direct { address, protocol: Protocol::Tcp, port: PORT });
                wanted.direct = direct.into();
            }
            let _shop = firewall("shop", &wanted);
            for port in [PORT, 81] {
                let is_open = open.contains(&port);
                for (who, from) in
                    [("outside", &land.outsider), ("same", &same_stack), ("other", &other_stack)]
                {
                    assert_eq!(takes(from, web.address, port).await, is_open, "{mode} {port} from {who}");
                }
                assert!(!takes(&internal, web.address, port).await, "{mode} {port} from an internal network");
            }
        }
    });
}

/// Whether an echo comes back.
fn is_there(address: IpAddr) -> bool {
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").expect("set");
    let (family, protocol, echo) = match address {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128),
    };
    let opened = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol).expect("a socket");
    let socket = UdpSocket::from(opened);
    socket.set_read_timeout(Some(Duration::from_millis(250))).expect("a time-out");
    socket.send_to(&[echo, 0, 0, 0, 0, 0, 0, 1], (address, 0)).expect("sent");
    socket.recv(&mut [0; 64]).is_ok()
}

#[test]
fn routed_containers_are_reached_at_their_own_addresses_by_published_ports_alone() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let (network, other) = (land.network("shop", 0).await, land.network("other", 1).await);
        let (web, stranger) = (land.container(&network, 2).await, land.container(&other, 2).await);
        serve(&web).await;
        serve(&land.outsider).await;
        let _hidden = web.listens(81).await;
        let _other = firewall("other", &rules(&[&other], Vec::new()));
        for routed in [[true, false], [false, true], [true, true]] {
            let published = Published {
                to_v4: (!routed[0]).then_some(web.address),
                to_v6: (!routed[1]).then_some(network.v6(2)),
                ..published(&network, &web, 8080)
            };
            let mut wanted = rules(&[&network], vec![published]);
            wanted.networks[0].routed = routed;
            let families: [(IpAddr, IpAddr, IpAddr, IpAddr); 2] = [
                (web.address.into(), HOST.into(), OUTSIDE.into(), web.address.into()),
                (network.v6(2).into(), HOST_V6.into(), OUTSIDE_V6.into(), network.v6(2).into()),
            ];
            let direct = families.iter().zip(routed).filter(|(_, is_routed)| *is_routed);
            let direct = direct.flat_map(|((own, ..), _)| {
                [Protocol::Tcp, Protocol::Udp].map(|protocol| Direct { address: *own, protocol, port: PORT })
            });
            wanted.direct = direct.collect();
            let _shop = firewall("shop", &wanted);
            for ((own, host, outside, source), is_routed) in families.into_iter().zip(routed) {
                let seen = land.outsider.asks_tcp((own, PORT)).await;
                assert_eq!(seen, is_routed.then_some(outside), "{own} {routed:?}");
                assert_eq!(land.outsider.asks_tcp((own, 81)).await, None, "{own}");
                assert_eq!(
                    stranger.asks_tcp((own, PORT)).await.is_some(),
                    is_routed,
                    "{own} from another stack"
                );
                let at_host = land.outsider.asks_tcp((host, 8080)).await;
                assert_eq!(at_host.is_some(), !is_routed, "{host} {routed:?}");
                let asked = land.outsider.inside(move || {
                    let any: IpAddr = if own.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
                    ask_udp(&UdpSocket::bind((any, 0)).expect("a socket"), (own, PORT))
                });
                assert_eq!(asked.await.is_some(), is_routed, "UDP to {own}");
                let expected = if is_routed { source } else { host };
                assert_eq!(web.asks_tcp((outside, PORT)).await, Some(expected), "out of {own}");
                let pinged = land.outsider.inside(move || is_there(own));
                assert_eq!(pinged.await, is_routed, "ping {own}");
            }
        }
    });
}
