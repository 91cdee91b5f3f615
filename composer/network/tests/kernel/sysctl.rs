//! What of the host is changed for stacks is put back after the last.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::task::Poll;
use std::time::Duration;

use composer_network::firewall::Forwarding;
use composer_network::subnets::Registry;
use composer_network::{Host, Loopback};

use crate::firewall::{feed, ruleset};
use crate::plug::largest;
use crate::world::{Container, on_a_host, rename, run};

const V4: &str = "/proc/sys/net/ipv4/ip_forward";
const V6: &str = "/proc/sys/net/ipv6/conf/all/forwarding";

fn value(path: &str) -> String {
    fs::read_to_string(path).expect("a setting").trim().to_owned()
}

fn registry(test: &str) -> PathBuf {
    std::env::temp_dir().join(format!("composer-network-{test}-{}", std::process::id()))
}

#[test]
fn forwarding_is_put_back_after_the_last_stack_that_needs_it() {
    on_a_host(|| async {
        fs::write(V4, "0").expect("set");
        let folder = registry("forwarding");
        let forwarding = Forwarding::open(&folder);
        forwarding.need("one", true, false).expect("turned on");
        assert_eq!((value(V4), value(V6)), ("1".into(), "0".into()));
        forwarding.need("two", true, true).expect("turned on");
        forwarding.need("two", true, true).expect("again");
        assert_eq!((value(V4), value(V6)), ("1".into(), "1".into()));
        forwarding.release("two").expect("released");
        forwarding.release("nobody").expect("released");
        assert_eq!((value(V4), value(V6)), ("1".into(), "1".into()));
        forwarding.release("one").expect("released");
        assert_eq!((value(V4), value(V6)), ("0".into(), "0".into()));
        assert!(!folder.exists());
    });
}

#[test]
fn the_loopback_takes_large_packets_while_a_stack_needs_it() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let before = largest("lo").await;
        let raised = before.map(|_| 192 << 10);
        let folder = registry("loopback");
        let loopback = Loopback::open(&folder);
        for stack in ["one", "other", "one"] {
            loopback.need(&host, stack).await.expect("set");
            assert_eq!(largest("lo").await, raised);
        }
        // By another supervisor, after the first has died.
        let loopback = Loopback::open(&folder);
        loopback.release(&host, "one").await.expect("released");
        loopback.release(&host, "nobody").await.expect("nothing to do");
        assert_eq!(largest("lo").await, raised);
        loopback.release(&host, "other").await.expect("released");
        assert_eq!(largest("lo").await, before);
        assert!(fs::read_dir(&folder).expect("the registry").next().is_none(), "nothing is remembered");
        fs::remove_dir(&folder).expect("removed");
    });
}

#[test]
fn the_registry_is_nobodys_while_the_loopback_is_changed() {
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        on_a_host(|| async {
            let host = Host::open().expect("a connection");
            let folder = registry("loopback-lock");
            let loopback = Loopback::open(&folder);
            let leases = Registry::open(&folder);
            let mut change = std::pin::pin!(loopback.need(&host, "one"));
            // As far as to the question that it asks the kernel.
            let asks =
                std::future::poll_fn(|context| Poll::Ready(change.as_mut().poll(context).is_pending()));
            assert!(asks.await);
            leases.group("one").expect("a link group");
            change.await.expect("set");
            loopback.release(&host, "one").await.expect("released");
            leases.release_stack("one").expect("released");
            assert!(!folder.exists());
        });
        done.send(()).expect("somebody waits");
    });
    ended.recv_timeout(Duration::from_secs(30)).expect("whoever asks for the registry waits for ever");
}

#[test]
fn what_a_host_has_turned_on_itself_stays_on_and_is_not_remembered() {
    on_a_host(|| async {
        fs::write(V4, "1").expect("set");
        let folder = registry("own-choice");
        let forwarding = Forwarding::open(&folder);
        forwarding.need("one", true, false).expect("nothing to do");
        assert!(!folder.exists());
        forwarding.release("one").expect("nothing to do");
        assert_eq!(value(V4), "1");
    });
}

#[test]
fn an_interface_that_takes_routes_from_advertisements_goes_on_doing_so() {
    on_a_host(|| async {
        run("ip", "link add up0 type veth peer name up1");
        let later = "/proc/sys/net/ipv6/conf/default/accept_ra";
        fs::write(later, "1").expect("set");
        let accept = "/proc/sys/net/ipv6/conf/up0/accept_ra";
        fs::write(accept, "1").expect("set");
        fs::write("/proc/sys/net/ipv6/conf/up1/accept_ra", "0").expect("set");
        let folder = registry("advertised");
        let forwarding = Forwarding::open(&folder);
        forwarding.need("one", false, true).expect("turned on");
        assert_eq!((value(V6), value(accept), value(later)), ("1".into(), "2".into(), "2".into()));
        forwarding.release("one").expect("released");
        assert_eq!((value(V6), value(accept), value(later)), ("0".into(), "1".into(), "1".into()));
        // By whatever name it is called; that name may be another's by then.
        forwarding.need("one", false, true).expect("turned on");
        rename("up0", "renamed");
        rename("up1", "up0");
        forwarding.release("one").expect("released");
        let renamed = "/proc/sys/net/ipv6/conf/renamed/accept_ra";
        assert_eq!((value(renamed), value(accept)), ("1".into(), "0".into()));
        forwarding.need("one", false, true).expect("turned on");
        run("ip", "link del up0");
        forwarding.release("one").expect("its interface has gone");
        assert!(!folder.exists() && value(V6) == "0");
    });
}

#[test]
fn forwarding_stays_on_for_who_has_begun_to_route_meanwhile() {
    on_a_host(|| async {
        fs::write(V4, "0").expect("set");
        feed("nft", &["-f", "-"], "table inet own { chain f { type filter hook forward priority 0; }; }");
        let folder = registry("others");
        let forwarding = Forwarding::open(&folder);
        forwarding.need("one", true, false).expect("turned on");
        forwarding.release("one").expect("released");
        assert_eq!(value(V4), "0", "nobody has come");
        forwarding.need("one", true, false).expect("turned on");
        let before = ruleset();
        assert!(before.contains("table inet compose-host.forward"), "{before}");
        feed(
            "nft",
            &["-f", "-"],
            "table ip nat { chain POSTROUTING { type nat hook postrouting priority 100; }; }",
        );
        forwarding.release("one").expect("released");
        assert_eq!(value(V4), "1");
        assert!(!folder.exists() && !ruleset().contains("compose-host"));
    });
}

/// An outsider on a link of the host's, who knows the host as the way to everybody.
async fn outsider(link: &str, net: u8) -> Container {
    let outsider = Container::new(link, net);
    let netns = format!("/proc/{}/fd/{}", std::process::id(), outsider.netns.as_raw_fd());
    run("ip", &format!("link add {link} type veth peer name eth0 netns {netns}"));
    run("ip", &format!("address add 10.9.{net}.1/24 dev {link}"));
    run("ip", &format!("link set {link} up"));
    outsider
        .inside(move || {
            run("ip", &format!("address add 10.9.{net}.2/24 dev eth0"));
            run("ip", "link set eth0 up");
            run("ip", &format!("route add default via 10.9.{net}.1"));
        })
        .await;
    outsider
}

/// Whether a packet comes there and back.
async fn answers(from: &Container, net: u8) -> bool {
    let to = SocketAddr::from(([10, 9, net, 2], 9));
    from.inside(move || {
        let refused =
            TcpStream::connect_timeout(&to, Duration::from_millis(1500)).expect_err("nobody listens");
        refused.kind() == std::io::ErrorKind::ConnectionRefused
    })
    .await
}

#[test]
fn a_host_that_forwards_for_stacks_is_no_router_for_strangers() {
    on_a_host(|| async {
        fs::write(V4, "0").expect("set");
        let (one, two) = (outsider("up1", 1).await, outsider("up2", 2).await);
        let bridged = outsider("up3", 3).await;
        // Its address moves to a bridge, as that of somebody else's container.
        run("ip", "address flush dev up3");
        let folder = registry("strangers");
        let forwarding = Forwarding::open(&folder);
        assert_eq!(forwarding.need("one", true, false).expect("turned on"), None);
        run("ip", "link add docker0 type bridge");
        run("ip", "address add 10.9.3.1/24 dev docker0");
        run("ip", "link set docker0 up");
        run("ip", "link set up3 master docker0");
        assert_eq!(value(V4), "1");
        assert!(!answers(&one, 2).await && !answers(&two, 1).await);
        assert!(answers(&one, 3).await && answers(&bridged, 2).await);
        let later = outsider("up4", 4).await;
        assert!(answers(&later, 1).await && answers(&one, 4).await);
        // By whatever name it is called.
        rename("up2", "renamed");
        assert!(!answers(&one, 2).await && !answers(&two, 1).await, "renamed");
        rename("renamed", "up2");
        // What it drops is this table's doing.
        run("nft", "delete table inet compose-host.forward");
        assert!(answers(&one, 2).await);
        for again in [true, false] {
            let restored =
                if again { forwarding.need("one", true, false).map(drop) } else { forwarding.restore() };
            restored.expect("put back");
            assert!(!answers(&one, 2).await && answers(&one, 3).await);
            // With the names of interfaces, so that it can be loaded.
            feed("nft", &["-c", "-f", "-"], &format!("flush ruleset\n{}", run("nft", "list ruleset")));
            run("nft", "flush ruleset");
            assert!(answers(&one, 2).await);
        }
        forwarding.restore().expect("put back");
        forwarding.release("one").expect("released");
        assert_eq!(value(V4), "0");
    });
}
