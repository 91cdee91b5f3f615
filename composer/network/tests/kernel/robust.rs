//! What the resolver makes of broken messages, slow clients and floods: it answers on.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::rc::Rc;
use std::thread;

use composer_network::Host;
use composer_network::dns::{Server, Upstreams};
use simple_dns::rdata::OPT;
use simple_dns::{Packet, TYPE};

use crate::dns::{entry, serve, served, server, zone};
use crate::world::{Container, Over, PATIENCE, addresses, ask, bridge, on_a_host, query};

pub const RESOLVER: &str = "127.0.0.11:53";
/// Below what the socket's buffer holds: none of these is lost to a full one.
const AT_ONCE: usize = 50;

/// A small generator (xorshift64*), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % below
    }

    /// Random bytes, a piece of a message, or one with some bytes changed.
    fn packet(&mut self, whole: &[Vec<u8>]) -> Vec<u8> {
        let mut packet = whole[self.next(whole.len())].clone();
        match self.next(4) {
            0 => packet = (0..self.next(600)).map(|_| self.next(256) as u8).collect(),
            1 => packet.truncate(self.next(packet.len())),
            _ => {
                for _ in 0..=self.next(6) {
                    let place = self.next(packet.len());
                    packet[place] = self.next(256) as u8;
                }
            }
        }
        packet
    }
}

fn whole() -> Vec<Vec<u8>> {
    let plain = query(3, "api.shop_default", TYPE::A);
    let mut with_opt = Packet::parse(&plain).expect("a query");
    *with_opt.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 1232, version: 0 });
    vec![
        query(1, "api", TYPE::A),
        query(2, "2.0.18.172.in-addr.arpa", TYPE::PTR),
        query(4, &format!("2.{}d.f.ip6.arpa", "0.".repeat(29)), TYPE::PTR),
        query(5, "api", TYPE::AAAA),
        with_opt.build_bytes_vec().expect("a query"),
    ]
}

#[test]
fn a_hundred_thousand_broken_packets_and_the_resolver_answers_on() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let asked = one
            .inside(|| {
                let (mut random, whole) = (Random(0x5eed_c0de), whole());
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                let resolver: SocketAddr = RESOLVER.parse().expect("an address");
                let mut asked = 0;
                for round in 0..100_000 {
                    let packet = random.packet(&whole);
                    socket.send_to(&packet, resolver).expect("sent");
                    if round % AT_ONCE == 0 {
                        let answer = ask(Over::Udp, resolver, &query(77, "api", TYPE::A));
                        assert_eq!(addresses(77, &answer), [Ipv4Addr::new(172, 18, 0, 2)], "{round}");
                        asked += 1;
                    }
                    if round % 500 == 0 {
                        let mut stream = TcpStream::connect(resolver).expect("a connection");
                        stream.write_all(&packet).expect("sent");
                    }
                }
                asked
            })
            .await;
        assert_eq!(asked, 2000);
        assert_eq!(addresses(78, &one.asks(Over::Tcp, query(78, "api", TYPE::A)).await), [one.address]);
    });
}

#[test]
fn a_hundred_thousand_queries_at_64_at_once_lose_no_answer() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let answered = one
            .inside(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
                socket.connect(RESOLVER).expect("a route");
                let (mut sent, mut answered, mut buffer) = (0_u32, 0, [0; 512]);
                while answered < 100_000 {
                    while sent < 100_000 && sent - answered < 64 {
                        socket.send(&query(sent as u16, "api", TYPE::A)).expect("sent");
                        sent += 1;
                    }
                    socket.recv(&mut buffer).expect("an answer to each");
                    answered += 1;
                }
                answered
            })
            .await;
        assert_eq!(answered, 100_000);
    });
}

#[test]
fn connections_that_stand_still_do_not_keep_others_waiting() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let (two, _two) = served("api-2", 3, &host, &bridge, &server, &zone).await;
        // All that a container may have at once: silent, in the middle of a message, and not reading.
        let still = one
            .inside(|| {
                let mut still: Vec<_> =
                    (0..60).map(|_| TcpStream::connect(RESOLVER).expect("a connection")).collect();
                for stream in &mut still[..30] {
                    stream.write_all(&[0, 40, 1, 2, 3]).expect("sent");
                }
                still
            })
            .await;
        for container in [&one, &two] {
            let answer = addresses(7, &container.asks(Over::Tcp, query(7, "shop-api-2", TYPE::A)).await);
            assert_eq!(answer, [two.address]);
        }
        drop(still);
    });
}

/// Answers nothing to names that begin with `slow`, and this to the others.
fn upstream() -> SocketAddr {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut buffer = [0; 512];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            let query = Packet::parse(&buffer[..length]).expect("a query");
            if query.questions[0].qname.to_string().starts_with("slow") {
                continue;
            }
            let mut reply = query.into_reply();
            *reply.rcode_mut() = simple_dns::RCODE::NameError;
            socket.send_to(&reply.build_bytes_vec().expect("an answer"), from).expect("sent");
        }
    });
    address
}

#[test]
fn one_that_floods_does_not_starve_the_others() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let server = Server::new(Upstreams::Fixed(vec![upstream()]));
        let zone = Rc::new(zone());
        let (one, attached) = Container::attached("api-1", 2, &host, &bridge).await;
        zone.set("api-1", entry(&["api"], one.address));
        let _one = serve(&server, &zone, attached);
        let (two, attached) = Container::attached("api-2", 3, &host, &bridge).await;
        let _two = serve(&server, &zone, attached);
        // More than there is room for, none of which is answered before it is given up.
        let flooding = one
            .inside(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
                let mut refused = 0;
                for round in 0..20 {
                    for id in 0..AT_ONCE {
                        let query = query(id as u16, &format!("slow{round}x{id}.example"), TYPE::A);
                        socket.send_to(&query, RESOLVER).expect("sent");
                    }
                    // Taken in once its own name is answered.
                    ask(Over::Udp, RESOLVER.parse().expect("an address"), &query(1, "api", TYPE::A));
                    socket.set_nonblocking(true).expect("set");
                    let mut buffer = [0; 512];
                    while socket.recv(&mut buffer).is_ok() {
                        refused += 1;
                    }
                }
                assert!(refused > 0, "there was room for all");
                socket
            })
            .await;
        for (name, code) in
            [("quick.example", simple_dns::RCODE::NameError), ("api", simple_dns::RCODE::NoError)]
        {
            for over in [Over::Udp, Over::Tcp] {
                if over == Over::Tcp && name != "api" {
                    continue;
                }
                let answer = two.asks(over, query(5, name, TYPE::A)).await;
                assert_eq!(Packet::parse(&answer).expect("an answer").rcode(), code, "{name} {over:?}");
            }
        }
        drop(flooding);
    });
}

#[test]
fn a_connection_whose_answers_are_not_read_ends_and_no_other() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (server, zone) = server();
        let (one, _one) = served("api-1", 2, &host, &bridge, &server, &zone).await;
        let mut deaf = one
            .inside(|| {
                let mut stream = TcpStream::connect(RESOLVER).expect("a connection");
                stream.set_nonblocking(true).expect("set");
                let message = query(9, "api", TYPE::A);
                let framed = [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
                // Until neither side takes any more.
                while stream.write_all(&framed).is_ok() {}
                stream
            })
            .await;
        assert_eq!(addresses(8, &one.asks(Over::Tcp, query(8, "api", TYPE::A)).await), [one.address]);
        deaf.set_nonblocking(false).expect("set");
        let mut some = [0; 2];
        deaf.read_exact(&mut some).expect("what was answered before");
    });
}
