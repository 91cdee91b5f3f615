//! The resolver as a container sees it: at 127.0.0.11 port 53, over UDP and TCP.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::rc::Rc;

use caps::{CapSet, Capability};
use composer_network::dns::{Listener, Server, Upstreams, Zone};
use composer_network::{Attached, Bridge, Host, reattach_dns};
use simple_dns::rdata::{OPT, RData};
use simple_dns::{Packet, PacketFlag, RCODE, TYPE};

use crate::world::{
    Container, Over, addresses, ask, bridge, on_a_host, query, read_framed, run, subnet, write_framed,
};

const BOTH: [Over; 2] = [Over::Udp, Over::Tcp];

/// A server without upstreams, and the zone of the stack.
pub fn server() -> (Server, Rc<Zone>) {
    (Server::new(Upstreams::Fixed(Vec::new())), Rc::new(Zone::new("shop_default", subnet())))
}

pub fn serve(server: &Server, zone: &Rc<Zone>, attached: Attached) -> Listener {
    server.serve(Rc::clone(zone), attached.dns_udp, attached.dns_tcp).expect("served")
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
    zone.set(name, vec![format!("shop-{name}"), "api".into()], container.address);
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
            assert_eq!(Packet::parse(&answer).expect("an answer").answers[0].ttl, 600);
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
            zone.set(&last.to_string(), vec!["api".into()], Ipv4Addr::new(172, 18, 0, last));
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
        zone.set("api-1", vec!["api".into()], one.address);
        let before = first.port;
        // The old sockets are still held: the new ones get another port, and the redirect leads there.
        let second = reattach_dns(one.netns()).await.expect("opened again");
        assert_ne!(second.port, before);
        let listener = serve(&server, &zone, second);
        for over in BOTH {
            assert_eq!(addresses(1, &one.asks(over, query(1, "api", TYPE::A)).await), [one.address]);
        }
        drop(listener);
        drop(first);
        let third = reattach_dns(one.netns()).await.expect("opened again");
        assert_eq!(third.port, before);
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
        host.plug(&bridge, &one.veth, one.netns.as_fd(), one.address).await.expect("plugged");
        // Threads inherit it: the one that enters the namespace may bind port 53 but not change nf_tables.
        caps::drop(None, CapSet::Effective, Capability::CAP_NET_ADMIN).expect("dropped");
        let attached = reattach_dns(one.netns()).await.expect("opened");
        caps::raise(None, CapSet::Effective, Capability::CAP_NET_ADMIN).expect("raised");
        assert_eq!(attached.port, 53);
        assert!(
            matches!(&attached.warnings[..], [warning] if warning.starts_with("nf_tables cannot be used ("))
        );
        zone.set("api-1", vec!["api".into()], one.address);
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
             \t\tip daddr 127.0.0.11 udp dport 53 udp dport set {port}\n\
             \t\tip saddr 127.0.0.11 udp sport {port} udp sport set 53\n\
             \t\tip daddr 127.0.0.11 tcp dport 53 tcp dport set {port}\n\
             \t\tip saddr 127.0.0.11 tcp sport {port} tcp sport set 53\n\t}}\n}}\n"
        );
        assert_eq!(rules, wanted);
    });
}

/// A small generator (xorshift64*), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }
}

#[test]
fn ten_thousand_broken_packets_and_then_an_answer() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let answer = one
            .inside(|| {
                let mut random = Random(0x5eed_c0de);
                let plain = query(3, "api.shop_default", TYPE::A);
                let mut with_opt = Packet::parse(&plain).expect("a query");
                *with_opt.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 1232, version: 0 });
                let whole = [
                    query(1, "api", TYPE::A),
                    query(2, "2.0.18.172.in-addr.arpa", TYPE::PTR),
                    with_opt.build_bytes_vec().expect("a query"),
                ];
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                let resolver: SocketAddr = "127.0.0.11:53".parse().expect("an address");
                for round in 0..10_000 {
                    let mut packet = whole[random.next(whole.len())].clone();
                    match round % 4 {
                        0 => packet = (0..random.next(600)).map(|_| random.next(256) as u8).collect(),
                        1 => packet.truncate(random.next(packet.len())),
                        _ => {
                            for _ in 0..=random.next(6) {
                                let place = random.next(packet.len());
                                packet[place] = random.next(256) as u8;
                            }
                        }
                    }
                    socket.send_to(&packet, resolver).expect("sent");
                    // Well below what the socket's buffer holds: none of these questions is lost to a full one.
                    if round % 50 == 0 {
                        let answer = ask(Over::Udp, resolver, &query(77, "api", TYPE::A));
                        assert_eq!(addresses(77, &answer), [Ipv4Addr::new(172, 18, 0, 2)]);
                    }
                    if round % 100 == 0 {
                        let mut stream = TcpStream::connect(resolver).expect("a connection");
                        stream.write_all(&packet).expect("sent");
                    }
                }
                ask(Over::Udp, resolver, &query(77, "api", TYPE::A))
            })
            .await;
        assert_eq!(addresses(77, &answer), [one.address]);
        let answer = one.asks(Over::Tcp, query(78, "api", TYPE::A)).await;
        assert!(matches!(Packet::parse(&answer).expect("an answer").answers[0].rdata, RData::A(_)));
    });
}
