//! What a container sees depends on the networks that it is on, on its links, and on whom it has asked.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use composer_network::Host;
use composer_network::dns::{Entry, Forwarding, Listener, Server, Upstreams, View, Zone};
use simple_dns::rdata::RData;
use simple_dns::{Packet, RCODE, TYPE};

use crate::dns::{entry, serve_view, zone};
use crate::forwarding::{Manner, last_octets, upstream_at};
use crate::world::{Container, Over, addresses, bridge, on_a_host, query, run};

const BOTH: [Over; 2] = [Over::Udp, Over::Tcp];
const SIX: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

/// A container that sees this, of a server that asks an upstream at 127.0.0.53 of the host.
async fn seeing(server: &Server, view: View) -> (Host, Container, Listener) {
    let host = Host::open().expect("a connection");
    let bridge = bridge(&host).await;
    let (one, attached) = Container::attached("api-1", 2, &host, &bridge).await;
    let listener = serve_view(server, view, attached);
    (host, one, listener)
}

fn stub() -> Server {
    upstream_at("127.0.0.53:53", Manner::Answers(53));
    Server::new(Upstreams::Fixed(vec!["127.0.0.53:53".parse().expect("an address")]))
}

async fn code(one: &Container, over: Over, name: &str, kind: TYPE) -> RCODE {
    Packet::parse(&one.asks(over, query(7, name, kind)).await).expect("an answer").rcode()
}

#[test]
fn names_of_every_network_that_it_is_on_and_of_no_other() {
    on_a_host(|| async {
        let server = stub();
        server.set_own(["store".to_owned()], ["shop_back".to_owned()]);
        let front = zone();
        front.set("web", entry(&["web"], Ipv4Addr::new(172, 18, 0, 9)));
        let side = Zone::new("shop_side", ["fd00::/64".parse().expect("a subnet")]);
        side.set("cache", Entry { names: vec!["cache".into()], ipv4: None, ipv6: Some(SIX) });
        let view = View { zones: vec![Rc::new(front), Rc::new(side)], ..View::default() };
        let (_host, one, _listener) = seeing(&server, view).await;
        for over in BOTH {
            let answer = one.asks(over, query(1, "Cache.shop_side", TYPE::AAAA)).await;
            let packet = Packet::parse(&answer).expect("an answer");
            assert_eq!(packet.answers[0].rdata, RData::AAAA(SIX.into()));
            assert_eq!(addresses(1, &one.asks(over, query(1, "web", TYPE::A)).await).len(), 1);
            // There, but not in this family.
            for (name, kind) in [("cache", TYPE::A), ("web", TYPE::AAAA), ("web", TYPE::SRV)] {
                let answer = one.asks(over, query(1, name, kind)).await;
                let packet = Packet::parse(&answer).expect("an answer");
                assert_eq!((packet.rcode(), packet.answers.len()), (RCODE::NoError, 0), "{name} {kind:?}");
            }
            // The stack's, but of a network that it is not on: the upstream, which has every name, is not asked.
            for name in ["store", "Store", "store.shop_back", "web.shop_back"] {
                assert_eq!(code(&one, over, name, TYPE::A).await, RCODE::NameError, "{name}");
            }
            assert_eq!(last_octets(1, &one.asks(over, query(1, "other", TYPE::A)).await), [53]);
        }
        let seen = one.inside(|| run("dig", "@127.0.0.11 +short -x fd00::2")).await;
        assert_eq!(seen, "cache.shop_side.\n");
        let seen = one.inside(|| run("dig", "@127.0.0.11 +noall +answer ANY web")).await;
        assert!(seen.contains("172.18.0.9"), "{seen}");
    });
}

#[test]
fn a_link_is_one_containers_own() {
    on_a_host(|| async {
        let server = stub();
        let zone = Rc::new(zone());
        let links = HashMap::from([("db".to_owned(), vec!["store".to_owned()])]);
        zone.set("store", entry(&["store"], Ipv4Addr::new(172, 18, 0, 7)));
        let view = View { zones: vec![Rc::clone(&zone)], links, ..View::default() };
        let (_host, one, _listener) = seeing(&server, view).await;
        let db = || query(1, "DB", TYPE::A);
        assert_eq!(last_octets(1, &one.asks(Over::Udp, db()).await), [7]);
        zone.set("store", entry(&["store"], Ipv4Addr::new(172, 18, 0, 8)));
        assert_eq!(last_octets(1, &one.asks(Over::Udp, db()).await), [8]);
        zone.remove("store");
        assert_eq!(code(&one, Over::Udp, "db", TYPE::A).await, RCODE::NameError);
    });
}

#[test]
fn both_families_take_turns_when_a_client_asks_for_both() {
    on_a_host(|| async {
        let zone = Zone::new("shop_default", []);
        for last in 1..=2 {
            let names = vec!["api".to_owned()];
            let (ipv4, ipv6) = (Ipv4Addr::new(172, 18, 0, last), Ipv6Addr::from_bits(last.into()));
            zone.set(&last.to_string(), Entry { names, ipv4: Some(ipv4), ipv6: Some(ipv6) });
        }
        let view = View { zones: vec![Rc::new(zone)], ..View::default() };
        let (_host, one, _listener) = seeing(&stub(), view).await;
        let mut firsts = Vec::new();
        for _ in 0..6 {
            let v4 = last_octets(1, &one.asks(Over::Udp, query(1, "api", TYPE::A)).await);
            let answer = one.asks(Over::Udp, query(1, "api", TYPE::AAAA)).await;
            let packet = Packet::parse(&answer).expect("an answer");
            assert_eq!((v4.len(), packet.answers.len()), (2, 2));
            let RData::AAAA(v6) = &packet.answers[0].rdata else { panic!("no address") };
            firsts.push((v4[0], v6.address as u8));
        }
        assert_eq!(firsts, [(1, 1), (2, 2), (1, 1), (2, 2), (1, 1), (2, 2)]);
    });
}

#[test]
fn its_own_servers_are_asked_from_inside_of_it() {
    on_a_host(|| async {
        // The host has another at the same address.
        let server = stub();
        let own = ["127.0.0.11", "127.0.0.53"].map(|server| server.parse::<IpAddr>().expect("an address"));
        let view = View { forwarding: Forwarding::Servers(own.into()), ..View::default() };
        let (_host, one, _listener) = seeing(&server, view).await;
        one.inside(|| upstream_at("127.0.0.53:53", Manner::Answers(1))).await;
        for over in BOTH {
            assert_eq!(
                last_octets(1, &one.asks(over, query(1, "example.com", TYPE::A)).await),
                [1],
                "{over:?}"
            );
        }
    });
}

#[test]
fn on_internal_networks_alone_nobody_else_is_asked() {
    on_a_host(|| async {
        let view = View { forwarding: Forwarding::Nobody, ..View::default() };
        let (_host, one, _listener) = seeing(&stub(), view).await;
        for over in BOTH {
            assert_eq!(code(&one, over, "example.com", TYPE::A).await, RCODE::ServerFailure);
            assert_eq!(code(&one, over, "single", TYPE::A).await, RCODE::NameError);
        }
    });
}

#[test]
fn short_names_are_left_to_a_client_that_searches() {
    on_a_host(|| async {
        let view = View { keeps_short_names: true, ..View::default() };
        let (_host, one, _listener) = seeing(&stub(), view).await;
        assert_eq!(code(&one, Over::Udp, "single", TYPE::AAAA).await, RCODE::NameError);
        assert_eq!(last_octets(1, &one.asks(Over::Udp, query(1, "single.example", TYPE::A)).await), [53]);
        assert_eq!(code(&one, Over::Udp, "single", TYPE::MX).await, RCODE::NoError);
    });
}
