//! Ports that are taken, and served in user space.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use composer_network::firewall::{Firewall, Protocol, Published};
use composer_network::ports::{Place, Reserved, holders};
use composer_network::proxy::{self, Target};
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::firewall::{feed, ruleset};
use crate::landscape::{HOST, HOST_V6, Landscape, OUTSIDE, PORT, ask_udp, firewall, published, rules, serve};
use crate::published::bridged_calls;
use crate::world::{PATIENCE, gateway, on_a_host, run};

fn everywhere(protocol: Protocol) -> Place {
    Place { host_ip: None, protocol }
}

fn copies(reserved: &Reserved) -> Vec<OwnedFd> {
    reserved.sockets.iter().map(|socket| socket.try_clone().expect("a copy")).collect()
}

/// Runs what blocks beside the runtime, which serves it meanwhile, on the same host.
async fn beside<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
    // A thread has the network namespace of the one that started it.
    let (send, receive) = tokio::sync::oneshot::channel();
    thread::spawn(move || drop(send.send(job())));
    receive.await.expect("its result")
}

async fn who(to: impl Into<SocketAddr>) -> Option<IpAddr> {
    let to = to.into();
    beside(move || crate::landscape::ask_tcp(to)).await
}

#[test]
fn a_taken_port_is_nobody_elses_and_its_holder_is_found() {
    on_a_host(|| async {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            let mine = everywhere(protocol).take(8080).expect("free");
            assert_eq!(mine.sockets.len(), 2);
            for host_ip in [None, Some(Ipv4Addr::LOCALHOST.into()), Some(Ipv6Addr::LOCALHOST.into())] {
                let place = Place { host_ip, protocol };
                let error = place.take(8080).expect_err("taken");
                assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse, "{place:?}");
                let found = holders(place, 8080);
                let pid = i32::try_from(std::process::id()).expect("a pid");
                assert!(found.iter().any(|holder| holder.pid == pid && !holder.argv.is_empty()), "{found:?}");
            }
            assert_eq!(holders(everywhere(protocol), 8081), []);
            drop(mine);
            drop(everywhere(protocol).take(8080).expect("free again"));
        }
        let nowhere = Place { host_ip: Some(Ipv4Addr::new(203, 0, 113, 7).into()), protocol: Protocol::Tcp };
        let error = nowhere.take(80).expect_err("not here");
        assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    });
}

#[test]
fn any_port_is_one_that_both_families_have_free() {
    on_a_host(|| async {
        std::fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").expect("set");
        let v6: Vec<_> = (40000..=40009)
            .filter(|port| *port != 40001)
            .filter_map(|port| TcpListener::bind((Ipv6Addr::LOCALHOST, port)).ok())
            .collect();
        assert_eq!(v6.len(), 9, "all but one");
        let mut found = None;
        for _ in 0..10 {
            found = found.or_else(|| everywhere(Protocol::Tcp).take_any().ok());
        }
        let reserved = found.expect("the only one");
        assert_eq!(reserved.port, 40001);
        let mut sockets = copies(&reserved);
        assert!(everywhere(Protocol::Tcp).adopt(40008, &mut sockets).is_none());
        assert!(everywhere(Protocol::Udp).adopt(40001, &mut sockets).is_none());
        assert_eq!(sockets.len(), 2);
        assert!(everywhere(Protocol::Tcp).adopt(40001, &mut sockets).is_some());
        assert!(everywhere(Protocol::Tcp).adopt(40001, &mut sockets).is_none());
    });
}

#[test]
fn sockets_are_told_apart_where_there_is_one_for_each_port() {
    on_a_host(|| async {
        let taken: Vec<_> =
            [40001, 40002].map(|port| everywhere(Protocol::Tcp).take(port)).into_iter().collect();
        // As on a host without IPv6.
        let mut sockets: Vec<_> =
            taken.iter().flatten().filter_map(|reserved| copies(reserved).into_iter().next()).collect();
        for port in [40001, 40002] {
            let adopted = everywhere(Protocol::Tcp).adopt(port, &mut sockets).expect("it is there");
            assert_eq!(adopted.sockets.len(), 1);
        }
        assert!(sockets.is_empty());
    });
}

#[test]
fn the_host_reaches_it_by_the_loopback_of_ipv6_beside_the_rules() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let reserved = everywhere(Protocol::Tcp).take(8080).expect("free");
        let _firewall = firewall("shop", &rules(&[&network], vec![published(&network, &web, 8080)]));
        let target = Target { v4: Some(web.address), v6: None, port: PORT };
        let served = proxy::serve(Protocol::Tcp, copies(&reserved), Some(target)).expect("served");
        assert_eq!(who((Ipv6Addr::LOCALHOST, 8080)).await, Some(gateway(&network.bridge).into()));
        // Past the proxy, with its address.
        assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, Some(OUTSIDE.into()));
        served.lead(None);
        assert_eq!(who((Ipv6Addr::LOCALHOST, 8080)).await, None);
        served.lead(Some(Target { v4: None, v6: Some(network.v6(2)), port: PORT }));
        assert_eq!(who((Ipv6Addr::LOCALHOST, 8080)).await, Some("fd00::1".parse().expect("an address")));
    });
}

/// Beside what keeps the host from sending by the stack's bridge: it is told of this chain, and of the command that lets it
/// pass, which does.
async fn is_told(others: impl FnOnce(), chain: &str, command: &str) {
    let land = Landscape::new().await;
    let network = land.network("shop", 0).await;
    let web = land.container(&network, 2).await;
    serve(&web).await;
    let reserved = everywhere(Protocol::Tcp).take(8080).expect("free");
    let target = Target { v4: Some(web.address), v6: Some(network.v6(2)), port: PORT };
    let _served = proxy::serve(Protocol::Tcp, reserved.sockets, Some(target)).expect("served");
    let wanted = rules(&[&network], vec![published(&network, &web, 8080)]);
    let mut firewall = Firewall::new("shop");
    others();
    let before = ruleset();
    let told = firewall.apply(&wanted).expect("applied");
    assert!(!ruleset().contains("composer:") && ruleset().starts_with(before.trim_end()), "{}", ruleset());
    assert!(told.len() == 1 && told[0].starts_with(chain), "{told:?}");
    assert!(told[0].contains(&format!("`{command}`")), "{told:?}");
    // To the chain what the kernel leads leaves by the loopback.
    assert!(who((Ipv4Addr::LOCALHOST, 8080)).await.is_some());
    let is_answered = beside(|| {
        let mut stream = TcpStream::connect((Ipv6Addr::LOCALHOST, 8080)).expect("the proxy's");
        stream.set_read_timeout(Some(Duration::from_millis(250))).expect("a time-out");
        stream.read(&mut [0]).is_ok()
    });
    assert!(!is_answered.await);
    let done = std::process::Command::new("sh").args(["-c", command]).status();
    assert!(done.is_ok_and(|done| done.success()), "{command}");
    assert!(who((Ipv6Addr::LOCALHOST, 8080)).await.is_some(), "{command}");
    assert_eq!(firewall.apply(&wanted).expect("applied"), Vec::<String>::new());
}

#[test]
fn who_keeps_the_host_from_sending_to_containers_is_told_what_lets_it_pass() {
    for (table, to) in [("inet site", "oifname"), ("ip6 filter", "-o")] {
        on_a_host(move || async move {
            let others = format!(
                "table {table} {{ chain OUTPUT {{
                    type filter hook output priority filter; policy drop;
                    oifname \"lo\" accept
                    oifname \"cbz*\" accept
                    ct state established,related accept
                    meta l4proto icmpv6 accept
                }}; }}"
            );
            let command = match to {
                "-o" => "ip6tables -I OUTPUT -o cb+ -j ACCEPT".to_owned(),
                _ => format!("nft insert rule {table} OUTPUT oifname '\"cb*\"' accept"),
            };
            let chain = format!("chain OUTPUT of nf_tables' table {table}");
            is_told(|| feed("nft", &["-f", "-"], &others), &chain, &command).await;
        });
    }
    on_a_host(|| async {
        let program = "ip6tables-legacy";
        let made =
            std::process::Command::new(program).args(["-A", "OUTPUT", "-o", "lo", "-j", "ACCEPT"]).output();
        // A kernel without its modules has no such rules.
        if !made.is_ok_and(|made| made.status.success()) {
            return;
        }
        run(program, "-A OUTPUT -p icmpv6 -j ACCEPT");
        let drop = || drop(run(program, "-P OUTPUT DROP"));
        let command = format!("{program} -I OUTPUT -o cb+ -j ACCEPT");
        is_told(drop, &format!("chain OUTPUT of {program}"), &command).await;
    });
}

#[test]
fn isolated_containers_reach_published_ports_alone_their_own_too() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let mut network = land.network("shop", 0).await;
        network.bridge.isolated = true;
        let (web, neighbour) = (land.container(&network, 2).await, land.container(&network, 3).await);
        land.host.return_own(&web.veth).await.expect("a port of the bridge");
        serve(&web).await;
        let target = Target { v4: Some(web.address), v6: Some(network.v6(2)), port: PORT };
        let _served = [Protocol::Tcp, Protocol::Udp].map(|protocol| {
            let reserved = everywhere(protocol).take(8080).expect("free");
            proxy::serve(protocol, reserved.sockets, Some(target)).expect("served")
        });
        let tcp = published(&network, &web, 8080);
        let udp = Published { protocol: Protocol::Udp, ..tcp.clone() };
        let at_host: [IpAddr; 3] = [HOST.into(), HOST_V6.into(), gateway(&network.bridge).into()];
        for calls in [false, true] {
            bridged_calls(calls);
            let _firewall = firewall("shop", &rules(&[&network], vec![tcp.clone(), udp.clone()]));
            for direct in [IpAddr::V4(web.address), network.v6(2).into()] {
                assert_eq!(neighbour.asks_tcp((direct, PORT)).await, None, "{direct}, bridged {calls}");
            }
            for (who, from) in [("itself", &web), ("its neighbour", &neighbour)] {
                for to in at_host {
                    assert!(from.asks_tcp((to, 8080)).await.is_some(), "{who} at {to}, bridged {calls}");
                    let asked = from.inside(move || {
                        let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
                        ask_udp(&UdpSocket::bind((any, 0)).expect("a socket"), (to, 8080))
                    });
                    assert!(asked.await.is_some(), "UDP of {who} at {to}, bridged {calls}");
                }
            }
        }
    });
}

#[test]
fn without_rules_it_takes_over_for_everybody() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let target = Target { v4: Some(web.address), v6: Some(network.v6(2)), port: PORT };
        let tcp = everywhere(Protocol::Tcp).take(8080).expect("free");
        let _tcp = proxy::serve(Protocol::Tcp, tcp.sockets, Some(target)).expect("served");
        let udp = everywhere(Protocol::Udp).take(8080).expect("free");
        let _udp = proxy::serve(Protocol::Udp, udp.sockets, Some(target)).expect("served");
        let gateway = IpAddr::V4(gateway(&network.bridge));
        for to in [HOST.into(), HOST_V6.into(), IpAddr::V4(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let ask = move || {
                let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
                let socket = UdpSocket::bind((any, 0)).expect("a socket");
                // Connected, it hears answers of the address that it asks alone.
                socket.connect((to, 8080)).expect("a route");
                let ask = || ask_udp(&socket, (to, 8080)).map(|(from, own)| (from.is_ipv4(), own));
                (ask(), ask())
            };
            let answers = if to.is_loopback() { beside(ask).await } else { land.outsider.inside(ask).await };
            let expected = Some((to.is_ipv4(), IpAddr::V4(web.address)));
            assert_eq!(answers, (expected, expected), "UDP to {to}");
            let seen = if to.is_loopback() {
                who((to, 8080)).await
            } else {
                land.outsider.asks_tcp((to, 8080)).await
            };
            let expected = if to.is_ipv4() { gateway } else { "fd00::1".parse().expect("an address") };
            assert_eq!(seen, Some(expected), "TCP to {to}");
        }
    });
}

#[test]
fn a_port_of_udp_is_free_again_though_clients_were_being_answered() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let web = land.container(&network, 2).await;
        serve(&web).await;
        let target = Target { v4: Some(web.address), v6: None, port: PORT };
        let udp = everywhere(Protocol::Udp).take(8080).expect("free");
        let served = proxy::serve(Protocol::Udp, udp.sockets, Some(target)).expect("served");
        let ask = || {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
            ask_udp(&socket, (IpAddr::from(Ipv4Addr::LOCALHOST), 8080))
        };
        assert!(beside(ask).await.is_some());
        drop(served);
        // The tasks of this thread that have ended are taken down.
        tokio::task::yield_now().await;
        everywhere(Protocol::Udp).take(8080).expect("nobody has it");
    });
}

#[test]
fn bytes_are_passed_whole_and_each_ways_end_too() {
    on_a_host(|| async {
        const LENGTH: usize = 32 << 20;
        let service = TcpListener::bind("127.0.0.1:0").expect("a listener");
        let port = service.local_addr().expect("an address").port();
        let serving = thread::spawn(move || {
            let (mut stream, _) = service.accept().expect("a client");
            let mut all = Vec::new();
            // The client has said all it has to say before it is answered.
            stream.read_to_end(&mut all).expect("everything");
            stream.write_all(&all).expect("sent back");
            all.len()
        });
        let reserved = everywhere(Protocol::Tcp).take_any().expect("free");
        let target = Target { v4: Some(Ipv4Addr::LOCALHOST), v6: None, port };
        let to = (Ipv6Addr::LOCALHOST, reserved.port);
        let served = proxy::serve(Protocol::Tcp, reserved.sockets, Some(target)).expect("served");
        let echoed = beside(move || {
            let sent: Vec<u8> = (0..LENGTH).map(|place| ((place * 31) >> 8) as u8).collect();
            let mut stream = TcpStream::connect(to).expect("a connection");
            stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
            stream.write_all(&sent).expect("sent");
            stream.shutdown(Shutdown::Write).expect("said");
            let mut back = Vec::with_capacity(LENGTH);
            stream.read_to_end(&mut back).expect("everything");
            back == sent
        });
        let echoed = echoed.await;
        assert!(echoed);
        assert_eq!(serving.join().expect("its end"), LENGTH);
        // Nobody listens any more: the client's connection ends, and the port is served on.
        assert_eq!(who(to).await, None);
        drop(served);
    });
}

#[test]
fn thousands_of_udp_ports_that_nobody_sends_to_take_hardly_any_memory() {
    const PORTS: usize = 2000;
    on_a_host(|| async {
        let (limit, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
        setrlimit(Resource::RLIMIT_NOFILE, limit.max(8192).min(most), most).expect("set");
        let socket = || OwnedFd::from(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket"));
        let sockets: Vec<_> = (0..PORTS).map(|_| socket()).collect();
        let before = data();
        let serve = |socket| proxy::serve(Protocol::Udp, vec![socket], None).expect("served");
        let served: Vec<_> = sockets.into_iter().map(serve).collect();
        // Each has its turn, in which it comes to wait for a datagram.
        tokio::task::yield_now().await;
        let grown = data().saturating_sub(before);
        // What other tests do at the same time is in it; a datagram's room a port would be twice as much.
        assert!(grown < PORTS * 32, "{grown} kB for {} ports", served.len());
    });
}

/// The memory that this process may write to, in kB.
fn data() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("read");
    let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
