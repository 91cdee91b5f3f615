//! Limits of bandwidth, as iproute2 sees them and as packets do.

use std::io::Write;
use std::net::TcpStream;
use std::os::fd::AsFd;

use composer_network::{
    Direction, Error, FIRST_CLASS, Host, Rates, Shaped, Shaper, Wiring, attach, counters, names,
};

use crate::world::{Container, STACK, address, bridge, link_group, on_a_host, only, rename, run, subnet};

fn shaper(cap: Rates) -> Shaper {
    Shaper { stack: STACK.into(), group: link_group(subnet()), cap }
}

fn shaped(container: &Container, class: u16, rates: Rates) -> Shaped {
    Shaped { class, veths: vec![container.veth.clone()], mtu: 1500, rates }
}

const MEGABIT: u64 = 1_000_000;
const NOTHING: Rates = Rates { ingress: None, egress: None };

#[test]
fn limits_are_made_changed_and_taken_away() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let (two, _) = Container::attached("two-1", 3, &host, &bridge).await;
        let [into, out] = Direction::BOTH.map(|direction| direction.device(STACK));
        let receives = Rates { ingress: Some(150 * MEGABIT), egress: None };
        assert!(host.bring_shaper(shaper(NOTHING), Direction::Ingress).await.expect("a new device"));
        assert!(!host.bring_shaper(shaper(NOTHING), Direction::Ingress).await.expect("the same"));
        // The trial has left nothing.
        assert!(!run("tc", &format!("qdisc show dev {into}")).contains("clsact"));
        assert_eq!(run("tc", &format!("filter show dev {into}")), "");
        host.shape(shaper(NOTHING), shaped(&one, FIRST_CLASS, receives)).await.expect("limited");
        // 150 Mbit/s of packets of 1500 bytes, in frames of 14 more.
        let classes = run("tc", &format!("class show dev {into}"));
        assert!(classes.contains("class htb 1:2 parent 1:1 leaf 2:"), "{classes}");
        assert!(classes.contains("ceil 151400Kbit") || classes.contains("ceil 151Mbit"), "{classes}");
        let filters = run("tc", &format!("filter show dev {} egress", one.veth));
        assert_eq!(filters.matches("mirred (Egress Redirect to device").count(), 1, "{filters}");
        assert_eq!(run("tc", &format!("filter show dev {} ingress", one.veth)), "");
        assert!(!host.has_link(&out).await.expect("a look"));
        // Again, and another, and with a cap: one filter a link each.
        let cap = shaper(Rates { ingress: None, egress: Some(MEGABIT) });
        for _ in 0..2 {
            host.shape(cap.clone(), shaped(&one, FIRST_CLASS, receives)).await.expect("limited");
            host.shape(cap.clone(), shaped(&two, FIRST_CLASS + 1, NOTHING)).await.expect("limited");
        }
        let filters = run("tc", &format!("filter show dev {out}"));
        assert_eq!(filters.matches("flowid").count(), 2, "{filters}");
        assert!(filters.contains(&format!("input dev {}", one.veth)), "{filters}");
        let filters = run("tc", &format!("filter show dev {} ingress", two.veth));
        assert_eq!(filters.matches("mirred").count(), 1, "{filters}");
        // A link that is gone is no error.
        let mut gone = shaped(&one, FIRST_CLASS, receives);
        gone.veths.push(names::veth(STACK, "nobody", "default"));
        host.shape(cap.clone(), gone).await.expect("limited");
        // Less and less.
        host.shape(cap, shaped(&one, FIRST_CLASS, NOTHING)).await.expect("limited by the cap alone");
        assert_eq!(run("tc", &format!("filter show dev {} egress", one.veth)), "");
        assert!(!run("tc", &format!("class show dev {into}")).contains("1:2 "));
        host.unshape(STACK, FIRST_CLASS + 1).await.expect("forgotten");
        host.unshape(STACK, FIRST_CLASS + 1).await.expect("forgotten already");
        assert!(!run("tc", &format!("class show dev {out}")).contains("1:3 "));
        for (container, class) in [(&one, FIRST_CLASS), (&two, FIRST_CLASS + 1)] {
            host.shape(shaper(NOTHING), shaped(container, class, NOTHING)).await.expect("without limits");
        }
        host.remove_shaper(STACK, &Direction::BOTH).await.expect("gone");
        host.remove_shaper(STACK, &Direction::BOTH).await.expect("gone already");
        let links = host.links().await.expect("the links");
        assert!(!links.iter().any(|link| [&into, &out].contains(&&link.name)), "{links:?}");
        let _service = two.listens(80).await;
        assert!(one.reaches(two.address, 80).await);
    });
}

#[test]
fn low_rates_wait_in_few_packets_and_nothing_is_beyond_the_cap() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let out = Direction::Egress.device(STACK);
        let cap = shaper(Rates { ingress: None, egress: Some(100 * MEGABIT) });
        for (rate, queue) in [(MEGABIT / 4, "pfifo_head_drop"), (MEGABIT * 20, "bfifo")] {
            // To and fro: one takes the other's place.
            let rates = Rates { ingress: None, egress: Some(rate) };
            for _ in 0..2 {
                host.shape(cap.clone(), shaped(&one, FIRST_CLASS, rates)).await.expect("limited");
            }
            let queues = run("tc", &format!("qdisc show dev {out} invisible"));
            assert!(
                queues.lines().any(|line| line.contains(queue) && line.contains("parent 2:1")),
                "{queues}"
            );
        }
        let classes = run("tc", &format!("class show dev {out}"));
        assert!(classes.contains("prio 0 rate 8bit ceil"), "{classes}");
    });
}

#[test]
fn what_somebody_has_taken_apart_is_found_and_mended() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let (two, _) = Container::attached("two-1", 3, &host, &bridge).await;
        let limits = Rates { ingress: Some(MEGABIT), egress: None };
        let all = || vec![shaped(&one, FIRST_CLASS, limits), shaped(&two, FIRST_CLASS + 1, limits)];
        let [into, _] = Direction::BOTH.map(|direction| direction.device(STACK));
        let nobody = std::collections::BTreeSet::new();
        for shaped in all() {
            host.shape(shaper(NOTHING), shaped).await.expect("limited");
        }
        assert_eq!(host.unshaped(shaper(NOTHING), all()).await.expect("a look"), nobody);
        for (victim, lacking) in [
            (format!("qdisc del dev {} clsact", one.veth), vec![FIRST_CLASS]),
            (format!("filter del dev {} egress", two.veth), vec![FIRST_CLASS + 1]),
            (format!("filter del dev {into} prio {FIRST_CLASS}"), vec![FIRST_CLASS]),
            (format!("qdisc del dev {into} root"), vec![FIRST_CLASS, FIRST_CLASS + 1]),
        ] {
            run("tc", &victim);
            let found = host.unshaped(shaper(NOTHING), all()).await.expect("a look");
            assert_eq!(found.into_iter().collect::<Vec<u16>>(), lacking, "after {victim}");
            for shaped in all() {
                host.shape(shaper(NOTHING), shaped).await.expect("limited again");
            }
            assert_eq!(host.unshaped(shaper(NOTHING), all()).await.expect("a look"), nobody, "{victim}");
        }
        let without = vec![shaped(&one, FIRST_CLASS, NOTHING)];
        assert_eq!(host.unshaped(shaper(NOTHING), without).await.expect("a look"), nobody);
    });
}

#[test]
fn limits_are_there_before_anything_can_pass() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let one = Container::new("one-1", 2);
        let limits = Rates { ingress: Some(MEGABIT), egress: Some(MEGABIT) };
        let up = |one: &Container| run("ip", &format!("-o link show {}", one.veth)).contains("LOWER_UP");
        let limit = async {
            assert!(!up(&one), "the container's end is up already");
            host.shape(shaper(NOTHING), shaped(&one, FIRST_CLASS, limits)).await.map(drop)
        };
        let plugs = vec![only(&bridge, &one.veth, one.address)];
        attach(&host, one.netns(), Wiring { plugs, ..Wiring::default() }, limit).await.expect("attached");
        assert!(up(&one));
        // A link that is brought back, too.
        run("ip", &format!("link del {}", one.veth));
        let limit = async {
            assert!(!up(&one), "the container's end is up already");
            host.shape(shaper(NOTHING), shaped(&one, FIRST_CLASS, limits)).await.map(drop)
        };
        let plug = only(&bridge, &one.veth, one.address);
        host.replug(plug, one.netns.as_fd(), limit).await.expect("brought back");
        assert!(up(&one));
        // What cannot be limited has no link.
        let two = Container::new("two-1", 3);
        let refused = async { Err(Error::DefaultGroup) };
        let plugs = vec![only(&bridge, &two.veth, two.address)];
        let wiring = Wiring { plugs, ..Wiring::default() };
        let error = attach(&host, two.netns(), wiring, refused).await.expect_err("not limited");
        assert!(matches!(error, Error::DefaultGroup), "{error}");
        assert!(!host.has_link(&two.veth).await.expect("a look"));
    });
}

#[test]
fn devices_go_with_the_links_of_the_stack() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let both = Rates { ingress: Some(MEGABIT), egress: Some(MEGABIT) };
        host.shape(shaper(both), shaped(&one, FIRST_CLASS, both)).await.expect("limited");
        // Whatever somebody calls them.
        rename(&Direction::Ingress.device(STACK), "foo");
        let left = host.remove_group(link_group(subnet()), &[]).await.expect("one sweep");
        assert_eq!(left, Vec::<String>::new());
        assert_eq!(host.links().await.expect("the links").len(), 1, "the loopback alone");
        assert!(counters(STACK).expect("none").is_empty());
    });
}

#[test]
fn what_passes_is_counted_for_its_container() {
    on_a_host(|| async {
        let host = Host::open().expect("a connection");
        let bridge = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &bridge).await;
        let (two, _) = Container::attached("two-1", 3, &host, &bridge).await;
        let both = Rates { ingress: Some(400 * MEGABIT), egress: Some(400 * MEGABIT) };
        for (container, class) in [(&one, FIRST_CLASS), (&two, FIRST_CLASS + 1)] {
            host.shape(shaper(NOTHING), shaped(container, class, both)).await.expect("limited");
        }
        let service = one.listens(80).await;
        let (size, to) = (3_000_000, (address(2), 80));
        let received = std::thread::spawn(move || {
            let (mut stream, _) = service.accept().expect("a connection");
            std::io::copy(&mut stream, &mut std::io::sink()).expect("all of it")
        });
        two.inside(move || {
            let mut stream = TcpStream::connect(to).expect("a connection");
            stream.write_all(&vec![7; size]).expect("sent");
        })
        .await;
        assert_eq!(received.join().expect("the receiver"), size as u64);
        let counters = counters(STACK).expect("the counters");
        let bytes = |direction, class| counters[&(direction, class)].bytes;
        for (direction, class) in [(Direction::Ingress, FIRST_CLASS), (Direction::Egress, FIRST_CLASS + 1)] {
            assert!(bytes(direction, class) > size as u64, "{counters:?}");
        }
        // The other way there are acknowledgements alone.
        assert!(bytes(Direction::Egress, FIRST_CLASS) < size as u64 / 4, "{counters:?}");
    });
}

#[test]
fn what_the_kernel_lacks_is_named_with_a_way_out() {
    let source = std::io::Error::from_raw_os_error(libc::EOPNOTSUPP);
    let error = Error::NoShaping { part: "ifb", source };
    let text = error.to_string();
    assert!(text.starts_with("the kernel has no ifb (") && text.contains("`modprobe ifb`"), "{text}");
}
