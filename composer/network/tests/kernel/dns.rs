//! The resolver as a container sees it: at 127.0.0.11 port 53, over UDP and TCP.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::rc::Rc;

use caps::{CapSet, Capability};
use composer_network::dns::{Entry, Listener, Server, Upstreams, View, Zone};
use composer_network::{Attached, Bridge, Host, reattach_dns};
use simple_dns::rdata::OPT;
use simple_dns::{Packet, PacketFlag, RCODE, TYPE};

use crate::robust::RESOLVER;
use crate::world::{
    Container, Over, PATIENCE, addresses, bridge, on_a_host, query, read_framed, run, subnet, write_framed,
};

const BOTH: [Over; 2] = [Over::Udp, Over::Tcp];

/// A server without upstreams, and the zone of the stack.
pub fn server() -> (Server, Rc<Zone>) {
    (Server::new(Upstreams::Fixed(Vec::new())), Rc::new(zone()))
}

pub fn zone() -> Zone {
    Zone::new("shop_default", [subnet().into()])
}

pub fn entry(names: &[&str], ipv4: Ipv4Addr) -> Entry {
    Entry { names: names.iter().map(|name| (*name).to_owned()).collect(), ipv4: Some(ipv4), ipv6: None }
}

pub fn serve(server: &Server, zone: &Rc<Zone>, attached: Attached) -> Listener {
    serve_view(server, View { zones: vec![Rc::clone(zone)], ..View::default() }, attached)
}

pub fn serve_view(server: &Server, view: View, attached: Attached) -> Listener {
    server.serve(Rc::new(view), attached.dns_udp, attached.dns_tcp).expect("served")
}

/// A container whose names are in the zone and whose queries are answered.
pub async fn served(
    name: &str,
    last: u8,
    host: &Host,
    bridge: &Bridge,
    server: &Server,
    zone: &Rc<Zone>,
) -> (Container, Listener) {
    let (container, attached) = Container::attached(name, last, host, bridge).await;
    zone.set(name, entry(&[&format!("shop-{name}"), "api"], container.address));
    (container, serve(server, zone, attached))
}

#[test]
fn containers_resolve_each_other_beside_a_dns_server_of_their_own() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let (two, _two) = served("api-2", 3, &host, &bridge, &server, &zone).await;
        let any = (Ipv4Addr::UNSPECIFIED, 53);
        let _own = one
            .inside(move || (UdpSocket::bind(any).expect("free"), TcpListener::bind(any).expect("free")))
            .await;
        for over in BOTH {
            let answer = one.asks(over, query(7, "shop-api-2", TYPE::A)).await;
            assert_eq!(addresses(7, &answer), [two.address], "{over:?}");
            let answer = two.asks(over, query(8, "Shop-Api-1.shop_DEFAULT", TYPE::A)).await;
            assert_eq!(addresses(8, &answer), [one.address], "{over:?}");
            assert_eq!(Packet::parse(&answer).expect("an answer").answers[0].ttl, 1);
        }
    });
}

#[test]
fn dig_agrees() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        for flags in ["+short", "+short +tcp", "+short +noedns", "+short +bufsize=4096", "+short +dnssec"] {
            let seen = one.inside(move || run("dig", &format!("@127.0.0.11 {flags} shop-api-1"))).await;
            assert_eq!(seen, "172.18.0.2\n", "{flags}");
        }
        let seen = one.inside(|| run("dig", "@127.0.0.11 +short -x 172.18.0.2")).await;
        assert_eq!(seen, "shop-api-1.shop_default.\n");
        let seen = one.inside(|| run("dig", "@127.0.0.11 nobody.shop_default")).await;
        assert!(seen.contains("status: NXDOMAIN") && !seen.contains("WARNING"), "{seen}");
    });
}

#[test]
fn several_addresses_take_turns() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let (two, _two) = served("api-2", 3, &host, &bridge, &server, &zone).await;
        let mut first = Vec::new();
        for id in 0..4 {
            let answer = addresses(id, &one.asks(Over::Udp, query(id, "api", TYPE::A)).await);
            assert_eq!(answer.len(), 2);
            first.push(answer[0]);
        }
        assert_eq!(first, [one.address, two.address, one.address, two.address]);
        zone.remove("api-1");
        assert_eq!(addresses(9, &two.asks(Over::Udp, query(9, "api", TYPE::A)).await), [two.address]);
    });
}

/// What was sent before it is served is read at once, and answers of one length to one client leave as one.
#[test]
fn who_asks_many_questions_at_once_gets_an_answer_of_its_own_to_each() {
    const NAMES: [&str; 3] = ["api", "shop-api-1", "api.shop_default"];
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, attached) = Container::attached("api-1", 2, &host, &bridge).await;
        zone.set("api-1", entry(&["shop-api-1", "api"], one.address));
        let asked = one.inside(|| {
            let clients = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
            for id in 0..90_u16 {
                let name = NAMES[usize::from(id) % NAMES.len()];
                let client = &clients[usize::from(id) % 2];
                client.send_to(&query(id, name, TYPE::A), RESOLVER).expect("sent");
            }
            clients
        });
        let clients = asked.await;
        let _served = serve(&server, &zone, attached);
        let answered = one.inside(move || {
            clients.map(|client| {
                client.set_read_timeout(Some(PATIENCE)).expect("a time-out");
                let mut buffer = [0; 512];
                let mut answers: Vec<(u16, Vec<u8>)> = (0..45)
                    .map(|_| {
                        let (length, from) = client.recv_from(&mut buffer).expect("an answer to each");
                        assert_eq!(from.to_string(), RESOLVER);
                        (u16::from_be_bytes([buffer[0], buffer[1]]), buffer[..length].to_vec())
                    })
                    .collect();
                answers.sort_unstable();
                answers
            })
        });
        for (client, answers) in answered.await.into_iter().enumerate() {
            let ids: Vec<usize> = answers.iter().map(|(id, _)| usize::from(*id)).collect();
            assert_eq!(ids, (client..90).step_by(2).collect::<Vec<_>>());
            for (id, answer) in &answers {
                assert_eq!(addresses(*id, answer), [one.address]);
                let packet = Packet::parse(answer).expect("a whole answer and nothing more");
                assert_eq!(packet.questions[0].qname.to_string(), NAMES[usize::from(*id) % NAMES.len()]);
            }
        }
    });
}

#[test]
fn own_names_have_no_other_types_and_unknown_ones_do_not_exist() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        for (name, kind, code) in [
            ("api", TYPE::AAAA, RCODE::NoError),
            ("api", TYPE::MX, RCODE::NoError),
            ("api", TYPE::HTTPS, RCODE::NoError),
            ("nobody.shop_default", TYPE::A, RCODE::NameError),
            ("9.0.18.172.in-addr.arpa", TYPE::PTR, RCODE::NameError),
            ("nobody", TYPE::A, RCODE::NameError),
            ("example.com", TYPE::A, RCODE::ServerFailure),
            ("1.0.0.10.in-addr.arpa", TYPE::PTR, RCODE::ServerFailure),
        ] {
            for over in BOTH {
                let answer = one.asks(over, query(3, name, kind)).await;
                let packet = Packet::parse(&answer).expect("an answer");
                assert_eq!(
                    (packet.id(), packet.rcode(), packet.answers.len()),
                    (3, code, 0),
                    "{name} {kind:?}"
                );
            }
        }
    });
}

#[test]
fn an_answer_too_long_for_udp_is_truncated_and_whole_over_tcp() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        for last in 3..=101 {
            zone.set(&last.to_string(), entry(&["api"], Ipv4Addr::new(172, 18, 0, last)));
        }
        let plain = query(1, "api", TYPE::A);
        let answer = one.asks(Over::Udp, plain.clone()).await;
        assert!(answer.len() <= 512 && addresses(1, &answer).len() == 30, "{}", answer.len());
        assert!(Packet::parse(&answer).expect("an answer").has_flags(PacketFlag::TRUNCATION));
        assert_eq!(addresses(1, &one.asks(Over::Tcp, plain.clone()).await).len(), 100);

        let mut packet = Packet::parse(&plain).expect("a query");
        *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 4096, version: 0 });
        let answer = one.asks(Over::Udp, packet.build_bytes_vec().expect("a query")).await;
        assert_eq!(addresses(1, &answer).len(), 100);
        let answer = Packet::parse(&answer).expect("an answer");
        assert!(answer.opt().is_some() && !answer.has_flags(PacketFlag::TRUNCATION));
    });
}

#[test]
fn a_connection_carries_several_queries() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let answers = one
            .inside(|| {
                let mut stream = TcpStream::connect("127.0.0.11:53").expect("a connection");
                for id in 0..3 {
                    write_framed(&mut stream, &query(id, "api", TYPE::A));
                }
                // The last in pieces, as a slow client sends it.
                let last = query(3, "api", TYPE::A);
                let (head, tail) = last.split_at(5);
                stream.write_all(&(last.len() as u16).to_be_bytes()).expect("sent");
                stream.write_all(head).expect("sent");
                stream.write_all(tail).expect("sent");
                (0..4).map(|_| read_framed(&mut stream)).collect::<Vec<_>>()
            })
            .await;
        for (id, answer) in (0..).zip(&answers) {
            assert_eq!(addresses(id, answer), [one.address]);
        }
    });
}

#[test]
fn a_resolver_is_opened_again_when_its_holder_is_gone() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, first) = Container::attached("api-1", 2, &host, &bridge).await;
        zone.set("api-1", entry(&["api"], one.address));
        // The old sockets are still held: the new ones get another port, and the redirect leads there.
        let second = reattach_dns(one.netns()).await.expect("opened again");
        assert_ne!(second.port, first.port);
        let listener = serve(&server, &zone, second);
        for over in BOTH {
            assert_eq!(addresses(1, &one.asks(over, query(1, "api", TYPE::A)).await), [one.address]);
        }
        drop(listener);
        drop(first);
        let third = reattach_dns(one.netns()).await.expect("opened again");
        let _listener = serve(&server, &zone, third);
        assert_eq!(addresses(1, &one.asks(Over::Udp, query(1, "api", TYPE::A)).await), [one.address]);
        let tables = one.inside(|| run("nft", "list ruleset")).await;
        assert_eq!(tables.matches("table ").count(), 1, "{tables}");
    });
}

#[test]
fn without_nf_tables_the_resolver_takes_port_53_itself_and_says_so() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let one = Container::new("api-1", 2);
        one.plugged(&host, &bridge).await;
        // Threads inherit it: the one that enters the namespace may bind port 53 but not change nf_tables.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).expect("dropped");
        let attached = reattach_dns(one.netns()).await.expect("opened");
        caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN).expect("raised");
        assert_eq!(attached.port, 53);
        assert!(
            matches!(&attached.warnings[..], [warning] if warning.starts_with("nf_tables cannot be used ("))
        );
        zone.set("api-1", entry(&["api"], one.address));
        let _listener = serve(&server, &zone, attached);
        for over in BOTH {
            assert_eq!(addresses(1, &one.asks(over, query(1, "api", TYPE::A)).await), [one.address]);
        }
    });
}

#[test]
fn no_connection_is_tracked_and_other_traffic_is_let_go_at_once() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, attached) = Container::attached("api-1", 2, &host, &bridge).await;
        let rules = one.inside(|| run("nft", "list ruleset")).await;
        let port = attached.port;
        let wanted = format!(
            "table ip compose_dns {{\n\tchain output {{\n\t\ttype filter hook output priority raw; policy accept;\n\
             \t\toif != \"lo\" accept\n\
             \t\tip daddr 127.0.0.11 udp dport 53 udp dport set {port} accept\n\
             \t\tip saddr 127.0.0.11 udp sport {port} udp sport set 53 accept\n\
             \t\tip daddr 127.0.0.11 tcp dport 53 tcp dport set {port} accept\n\
             \t\tip saddr 127.0.0.11 tcp sport {port} tcp sport set 53 accept\n\t}}\n}}\n"
        );
        assert_eq!(rules, wanted);
    });
}
