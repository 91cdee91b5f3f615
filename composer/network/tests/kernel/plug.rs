//! Containers on a bridge: they reach each other and the host, and are replaced and removed cleanly.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

use composer_network::{Error, Host};

use crate::world::{Container, PATIENCE, address, bridge, gateway, on_a_host, only, rename, run, unlimited};

#[test]
fn two_containers_and_the_host_reach_each_other() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let (two, _) = Container::attached("two-1", 3, &host, &bridge).await;
        let _service = one.listens(80).await;
        assert!(two.reaches(one.address, 80).await);
        assert!(one.reaches(Ipv4Addr::LOCALHOST, 80).await);
        assert!(TcpStream::connect_timeout(&(one.address, 80).into(), PATIENCE).is_ok());
        let _on_host = TcpListener::bind((gateway(&bridge), 8080)).expect("a listener");
        assert!(two.reaches(gateway(&bridge), 8080).await);
    });
}

#[test]
fn a_container_has_its_address_its_mac_and_a_default_route() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, attached) = Container::attached("one-1", 2, &host, &bridge).await;
        assert_eq!(attached.warnings, Vec::<String>::new());
        let seen = one.inside(|| run("ip", "addr show dev eth0") + &run("ip", "route")).await;
        for wanted in [
            "inet 172.18.0.2/22 brd 172.18.3.255 scope global",
            "02:42:ac:12:00:02",
            ",UP",
            "default via 172.18.0.1 dev eth0",
        ] {
            assert!(seen.contains(wanted), "{wanted} in {seen}");
        }
        assert!(!seen.contains("inet6"), "the network has no IPv6: {seen}");
    });
}

#[test]
fn a_stale_veth_is_replaced() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (old, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let (new, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let (two, _) = Container::attached("two-1", 3, &host, &bridge).await;
        let _service = new.listens(80).await;
        assert!(two.reaches(address(2), 80).await);
        assert!(!old.inside(|| run("ip", "link")).await.contains("eth0"));
        // Plugged again into the namespace that has the pair already.
        new.attach(&host, &bridge).await.expect("attached again");
        assert!(two.reaches(address(2), 80).await);
    });
}

#[test]
fn a_link_that_somebody_renamed_or_moved_away_is_replaced() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let elsewhere = Container::new("elsewhere-1", 9);
        let _service = one.listens(80).await;
        for moves in [false, true] {
            if moves {
                let netns = format!("/proc/{}/fd/{}", std::process::id(), elsewhere.netns.as_raw_fd());
                run("ip", &format!("link set {} netns {netns}", one.veth));
            } else {
                rename(&one.veth, "foo");
            }
            let plug = only(&bridge, &one.veth, one.address);
            host.replug(plug, one.netns.as_fd(), unlimited()).await.expect("plugged in again");
            assert!(TcpStream::connect_timeout(&(one.address, 80).into(), PATIENCE).is_ok(), "{moves}");
            let left = run("ip", "link") + &elsewhere.inside(|| run("ip", "link")).await;
            assert!(!left.contains("foo") && left.matches(&one.veth).count() == 1, "{left}");
        }
        // What the container has made for itself is its own.
        run("ip", &format!("link del {}", one.veth));
        one.inside(|| run("ip", "link add eth0 type veth peer name own")).await;
        let plug = only(&bridge, &one.veth, one.address);
        let error = host.replug(plug, one.netns.as_fd(), unlimited()).await.expect_err("in the way");
        assert!(matches!(error, Error::Kernel { doing: "make veth", .. }), "{error}");
        assert!(one.inside(|| run("ip", "link")).await.contains("own@eth0"));
    });
}

#[test]
fn an_unplugged_container_is_gone_and_absent_is_fine() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        host.unplug(&one.veth).await.expect("unplugged");
        host.unplug(&one.veth).await.expect("absent is fine");
        assert!(!run("ip", "link").contains(&one.veth));
    });
}

#[test]
fn who_comes_next_has_the_name_though_the_last_is_still_on_its_way_out() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (old, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let removal = host.begin_unplug(&old.veth).await.expect("found").expect("a link");
        // Plugged before the removal has begun, and again while it goes on.
        let (new, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let again = host.begin_unplug(&new.veth).await.expect("found").expect("a link");
        let (removed, (newest, _)) = tokio::join!(again, Container::attached("one-1", 2, &host, &bridge));
        removed.expect("removed");
        removal.await.expect("gone already");
        let _service = newest.listens(80).await;
        let (two, _) = Container::attached("two-1", 3, &host, &bridge).await;
        assert!(two.reaches(newest.address, 80).await);
        assert!(host.begin_unplug("absent").await.expect("looked for").is_none());
    });
}

#[test]
fn a_failure_inside_takes_the_pair_away_again() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let one = Container::new("one-1", 2);
        one.inside(|| {
            run("ip", "link add br0 type bridge");
            run("ip", "link set br0 up");
            run("ip", "route add default dev br0");
        })
        .await;
        let error = one.attach(&host, &bridge).await.expect_err("a default route is there already");
        assert_eq!(
            error.to_string(),
            "cannot configure the default route of eth0 in the container: File exists (os error 17)"
        );
        assert!(!run("ip", "link").contains(&one.veth));
    });
}

#[test]
fn a_bridge_that_is_gone_is_an_error() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let one = Container::new("one-1", 2);
        host.remove_group(bridge.group, &[]).await.expect("removed");
        let error = one.attach(&host, &bridge).await.expect_err("no bridge");
        assert!(matches!(error, Error::Kernel { doing: "make veth", .. }), "{error}");
    });
}

#[test]
fn packets_to_containers_are_large_where_the_kernel_can() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let can = {
            let release = run("uname", "-r");
            let mut numbers = release.split(['.', '-']).filter_map(|number| number.parse::<u32>().ok());
            (numbers.next(), numbers.next()) >= (Some(6), Some(3))
        };
        let wanted = can.then_some(192 << 10);
        if can {
            host.enlarge(&bridge).await.expect("set");
        }
        assert_eq!([largest(&one.veth).await, largest(&bridge.name).await], [wanted; 2]);
        let inside = one.inside(|| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(largest("eth0"))
        });
        // What they send may go on by an interface that takes no more.
        assert_eq!(inside.await, can.then_some(64 << 10));
        let service = one.listens(80).await;
        let to = (one.address, 80);
        let (mut near, (mut far, _)) = tokio::task::spawn_blocking(move || {
            (
                std::net::TcpStream::connect(to).expect("a connection"),
                service.accept().expect("the other end"),
            )
        })
        .await
        .expect("both ends");
        let size = 20_000_000;
        let sending = std::thread::spawn(move || {
            let sent = std::io::Write::write_all(&mut near, &vec![7; size]);
            sent.and_then(|()| near.shutdown(std::net::Shutdown::Write))
        });
        let received = std::io::copy(&mut far, &mut std::io::sink()).expect("all of it");
        assert_eq!(received, size as u64);
        sending.join().expect("a thread").expect("sent");
    });
}

/// What the kernel says of a link of the thread's namespace.
pub async fn largest(name: &str) -> Option<u32> {
    use futures_util::StreamExt;
    use rtnetlink::packet_route::link::LinkAttribute;
    let (connection, handle, _) = rtnetlink::new_connection().expect("a connection");
    let connection = tokio::spawn(connection);
    let link = std::pin::pin!(handle.link().get().match_name(name).execute()).next().await;
    connection.abort();
    let link = link.expect("an answer").expect("the link");
    link.attributes.into_iter().find_map(|attribute| match attribute {
        LinkAttribute::GsoIpv4MaxSize(size) => Some(size),
        _ => None,
    })
}
