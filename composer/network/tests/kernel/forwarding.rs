//! What the zone does not know is asked of upstreams, which the tests run on the loopback of their host.

use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::rc::Rc;
use std::thread;
use std::time::{Duration, Instant};

use composer_network::Host;
use composer_network::dns::{Listener, Server, Upstreams};
use simple_dns::rdata::{A, OPT, RData};
use simple_dns::{CLASS, Packet, PacketFlag, RCODE, ResourceRecord, TYPE};

use crate::dns::{entry, serve, zone};
use crate::world::{Container, Over, addresses, bridge, on_a_host, query, read_framed, run, write_framed};

/// How an upstream of a test answers.
#[derive(Clone, Copy)]
pub enum Manner {
    /// With this last octet of 192.0.2.0/24; for names that start with `long` truncated over UDP, and for those that start
    /// with `wide` with more than many take.
    Answers(u8),
    /// After an answer to another question and one with another id.
    AnswersAfterForgeries(u8),
    Refuses,
    Fails,
    /// Says this to what comes with EDNS, else as [`Manner::Answers`].
    WithoutEdns(RCODE, u8),
    Silent,
}

/// An upstream on the loopback of the current host, over UDP and TCP. Its threads end with the process.
fn upstream(manner: Manner) -> SocketAddr {
    upstream_at("127.0.0.1:0", manner)
}

/// The same at this address of the current namespace.
pub fn upstream_at(address: &str, manner: Manner) -> SocketAddr {
    let udp = UdpSocket::bind(address).expect("a socket");
    let address = udp.local_addr().expect("an address");
    let tcp = TcpListener::bind(address).expect("a listener");
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok((length, from)) = udp.recv_from(&mut buffer) {
            let query = &buffer[..length];
            if let Manner::AnswersAfterForgeries(_) = manner {
                let mut other_id = respond(query, Manner::Answers(66), Over::Udp).expect("an answer");
                other_id[0] ^= 0xff;
                let other_name =
                    crate::world::query(u16::from_be_bytes([query[0], query[1]]), "evil.example", TYPE::A);
                let other_name = respond(&other_name, Manner::Answers(66), Over::Udp).expect("an answer");
                for forgery in [other_id, other_name, query.to_vec(), vec![0; 3]] {
                    udp.send_to(&forgery, from).expect("sent");
                }
            }
            if let Some(answer) = respond(query, manner, Over::Udp) {
                udp.send_to(&answer, from).expect("sent");
            }
        }
    });
    thread::spawn(move || {
        for mut stream in tcp.incoming().flatten() {
            let query = read_framed(&mut stream);
            if let Some(answer) = respond(&query, manner, Over::Tcp) {
                write_framed(&mut stream, &answer);
            }
        }
    });
    address
}

fn respond(query: &[u8], manner: Manner, over: Over) -> Option<Vec<u8>> {
    let query = Packet::parse(query).expect("a query");
    let question = query.questions[0].clone();
    let mut reply = Packet::new_reply(query.id());
    reply.questions.push(question.clone());
    match manner {
        Manner::Silent => return None,
        Manner::Refuses => *reply.rcode_mut() = RCODE::Refused,
        Manner::Fails => *reply.rcode_mut() = RCODE::ServerFailure,
        Manner::WithoutEdns(code, _) if query.opt().is_some() => {
            *reply.rcode_mut() = code;
            return reply.build_bytes_vec_compressed().ok();
        }
        Manner::Answers(last) | Manner::AnswersAfterForgeries(last) | Manner::WithoutEdns(_, last) => {
            let long = question.qname.to_string().starts_with("long");
            if long && over == Over::Udp {
                reply.set_flags(PacketFlag::TRUNCATION);
            } else {
                let wide = question.qname.to_string().starts_with("wide");
                for _ in 0..if long { 1000 } else { 1 + usize::from(wide) * 99 } {
                    let data = RData::A(A::from(std::net::Ipv4Addr::new(192, 0, 2, last)));
                    reply.answers.push(ResourceRecord::new(question.qname.clone(), CLASS::IN, 5, data));
                }
            }
        }
    }
    if let Some(opt) = query.opt() {
        *reply.opt_mut() = Some(opt.clone());
    }
    reply.build_bytes_vec_compressed().ok()
}

/// A container whose resolver asks these upstreams.
async fn asking(upstreams: Upstreams) -> (Host, Container, Listener) {
    let host = Host::open().expect("a connection");
    let bridge = bridge(&host).await;
    let (one, attached) = Container::attached("api-1", 2, &host, &bridge).await;
    let zone = Rc::new(zone());
    zone.set("api-1", entry(&["api"], one.address));
    let listener = serve(&Server::new(upstreams), &zone, attached);
    (host, one, listener)
}

pub fn last_octets(id: u16, answer: &[u8]) -> Vec<u8> {
    addresses(id, answer).iter().map(|address| address.octets()[3]).collect()
}

#[test]
fn foreign_names_are_asked_of_the_upstream_over_udp_and_tcp() {
    on_a_host(|| async {
        let (_host, one, _listener) = asking(Upstreams::Fixed(vec![upstream(Manner::Answers(1))])).await;
        for over in [Over::Udp, Over::Tcp] {
            for name in ["example.com", "single"] {
                assert_eq!(
                    last_octets(513, &one.asks(over, query(513, name, TYPE::A)).await),
                    [1],
                    "{name} {over:?}"
                );
            }
            assert_eq!(addresses(5, &one.asks(over, query(5, "api", TYPE::A)).await), [one.address]);
        }
    });
}

#[test]
fn an_answer_over_udp_is_no_larger_than_its_asker_takes() {
    on_a_host(|| async {
        let (_host, one, _listener) = asking(Upstreams::Fixed(vec![upstream(Manner::Answers(1))])).await;
        for size in [None, Some(100), Some(1000), Some(4000)] {
            let plain = query(6, "wide.example.com", TYPE::A);
            let mut asked = Packet::parse(&plain).expect("a query");
            if let Some(udp_packet_size) = size {
                *asked.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size, version: 0 });
            }
            let asked = asked.build_bytes_vec().expect("a query");
            let answer = one.asks(Over::Udp, asked.clone()).await;
            let packet = Packet::parse(&answer).expect("an answer");
            let limit = size.unwrap_or(512).max(512);
            assert!(answer.len() <= limit.into(), "{} of {size:?}", answer.len());
            assert_eq!(packet.has_flags(PacketFlag::TRUNCATION), limit < 4000, "{size:?}");
            assert_eq!(packet.opt().is_some(), size.is_some(), "{size:?}");
            let over_tcp = one.asks(Over::Tcp, asked).await;
            assert_eq!(addresses(6, &over_tcp).len(), 100);
        }
        let short = one.inside(|| run("dig", "@127.0.0.11 +noedns +short wide.example.com")).await;
        assert_eq!(short.lines().count(), 100, "it asks again over TCP");
    });
}

#[test]
fn truncated_and_large_answers_and_edns_are_passed_on() {
    on_a_host(|| async {
        let (_host, one, _listener) = asking(Upstreams::Fixed(vec![upstream(Manner::Answers(1))])).await;
        let answer = one.asks(Over::Udp, query(6, "long.example.com", TYPE::A)).await;
        assert!(Packet::parse(&answer).expect("an answer").has_flags(PacketFlag::TRUNCATION));
        assert_eq!(
            addresses(6, &one.asks(Over::Tcp, query(6, "long.example.com", TYPE::A)).await).len(),
            1000
        );
        let plain = query(7, "example.com", TYPE::A);
        let mut packet = Packet::parse(&plain).expect("a query");
        *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 1400, version: 0 });
        let answer = one.asks(Over::Udp, packet.build_bytes_vec().expect("a query")).await;
        assert_eq!(
            Packet::parse(&answer).expect("an answer").opt().map(|opt| opt.udp_packet_size),
            Some(1400)
        );
    });
}

#[test]
fn forgeries_are_not_taken_for_the_answer() {
    on_a_host(|| async {
        let (_host, one, _listener) =
            asking(Upstreams::Fixed(vec![upstream(Manner::AnswersAfterForgeries(1))])).await;
        assert_eq!(last_octets(1, &one.asks(Over::Udp, query(1, "example.com", TYPE::A)).await), [1]);
    });
}

#[test]
fn the_next_upstream_is_asked_when_one_refuses_is_closed_or_silent() {
    on_a_host(|| async {
        let closed = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address");
        for bad in [upstream(Manner::Refuses), upstream(Manner::Fails), closed, upstream(Manner::Silent)] {
            let (_host, one, _listener) =
                asking(Upstreams::Fixed(vec![bad, upstream(Manner::Answers(2))])).await;
            assert_eq!(last_octets(1, &one.asks(Over::Udp, query(1, "example.com", TYPE::A)).await), [2]);
        }
        // The silent one is asked last for a while: the next answer comes at once.
        let upstreams = vec![upstream(Manner::Silent), upstream(Manner::Answers(2))];
        let (_host, one, _listener) = asking(Upstreams::Fixed(upstreams)).await;
        one.asks(Over::Udp, query(1, "example.com", TYPE::A)).await;
        // One of three at least: a busy machine may take its time for one.
        let mut took = Vec::new();
        for id in 2..5 {
            let started = Instant::now();
            let name = format!("{id}.example.com");
            assert_eq!(last_octets(id, &one.asks(Over::Udp, query(id, &name, TYPE::A)).await), [2]);
            took.push(started.elapsed());
        }
        assert!(took.iter().any(|took| *took < Duration::from_secs(1)), "{took:?}");
    });
}

#[test]
fn an_upstream_that_knows_no_edns_is_asked_without() {
    on_a_host(|| async {
        for code in [RCODE::FormatError, RCODE::NotImplemented] {
            let (_host, one, _listener) =
                asking(Upstreams::Fixed(vec![upstream(Manner::WithoutEdns(code, 4))])).await;
            let plain = query(7, "example.com", TYPE::A);
            let mut packet = Packet::parse(&plain).expect("a query");
            *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: 1400, version: 0 });
            let with_edns = packet.build_bytes_vec().expect("a query");
            for over in [Over::Udp, Over::Tcp] {
                assert_eq!(
                    last_octets(7, &one.asks(over, with_edns.clone()).await),
                    [4],
                    "{code:?} {over:?}"
                );
            }
        }
    });
}

#[test]
fn a_refusal_of_all_is_passed_on_and_silence_is_a_failure() {
    on_a_host(|| async {
        let code = async |upstreams| {
            let (_host, one, _listener) = asking(Upstreams::Fixed(upstreams)).await;
            let answer = one.asks(Over::Udp, query(9, "example.com", TYPE::A)).await;
            let packet = Packet::parse(&answer).expect("an answer");
            assert_eq!(packet.id(), 9);
            packet.rcode()
        };
        assert_eq!(code(vec![upstream(Manner::Refuses), upstream(Manner::Refuses)]).await, RCODE::Refused);
        assert_eq!(code(vec![upstream(Manner::Silent)]).await, RCODE::ServerFailure);
    });
}

#[test]
fn a_changed_resolv_conf_counts_from_the_next_query() {
    on_a_host(|| async {
        let path = std::env::temp_dir().join(format!("composer-network-resolv-{}", std::process::id()));
        std::fs::write(&path, "# nobody yet\n").expect("written");
        let (_host, one, _listener) = asking(Upstreams::File(path.clone())).await;
        let answer = one.asks(Over::Udp, query(1, "example.com", TYPE::A)).await;
        assert_eq!(Packet::parse(&answer).expect("an answer").rcode(), RCODE::ServerFailure);
        // The file names no ports: this upstream is at port 53 of an address of its own.
        let socket = UdpSocket::bind("127.0.0.153:53").expect("a socket");
        std::fs::write(&path, "nameserver 127.0.0.153\n").expect("written");
        thread::spawn(move || {
            let mut buffer = [0; 512];
            let (length, from) = socket.recv_from(&mut buffer).expect("a query");
            let answer = respond(&buffer[..length], Manner::Answers(3), Over::Udp).expect("an answer");
            socket.send_to(&answer, from).expect("sent");
        });
        let answer = one.asks(Over::Udp, query(2, "example.com", TYPE::A)).await;
        std::fs::remove_file(&path).expect("removed");
        assert_eq!(last_octets(2, &answer), [3]);
    });
}

#[test]
fn a_hundred_at_once_are_all_answered() {
    on_a_host(|| async {
        let (_host, one, _listener) = asking(Upstreams::Fixed(vec![upstream(Manner::Answers(1))])).await;
        let answered = one
            .inside(|| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
                socket.set_read_timeout(Some(crate::world::PATIENCE)).expect("a time-out");
                for id in 0..100 {
                    socket.send_to(&query(id, "example.com", TYPE::A), "127.0.0.11:53").expect("sent");
                }
                let mut ids: Vec<u16> = Vec::new();
                let mut buffer = [0; 512];
                while ids.len() < 100 {
                    let length = socket.recv(&mut buffer).expect("an answer");
                    let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                    assert_eq!(last_octets(id, &buffer[..length]), [1]);
                    ids.push(id);
                }
                ids.sort_unstable();
                ids
            })
            .await;
        assert_eq!(answered, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn a_server_that_is_not_there_is_not_waited_for() {
    on_a_host(|| async {
        let closed = UdpSocket::bind("127.0.0.1:0").expect("a socket").local_addr().expect("an address");
        let (_host, one, _listener) = asking(Upstreams::Fixed(vec![closed])).await;
        // To wait for it each time would take longer than a test may.
        for id in 0..20 {
            for over in [Over::Udp, Over::Tcp] {
                let answer = one.asks(over, query(id, "example.com", TYPE::A)).await;
                assert_eq!(Packet::parse(&answer).expect("an answer").rcode(), RCODE::ServerFailure);
            }
        }
    });
}
