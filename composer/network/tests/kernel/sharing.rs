//! Stacks on one bridge, and chains that are somebody's own.

use std::fs;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use composer_network::firewall::{Firewall, Net, Rules};

use crate::firewall::{CALLS_IP6TABLES, CALLS_IPTABLES, feed, ruleset};
use crate::landscape::{Landscape, firewall, rules};
use crate::world::on_a_host;

const DROPS: &str = "table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; }
}";

fn route_localnet(bridge: &str) -> String {
    let path = format!("/proc/sys/net/ipv4/conf/{bridge}/route_localnet");
    fs::read_to_string(path).expect("a bridge").trim().to_owned()
}

/// nft(8) that owns what it is told to make, until it is dropped.
struct Owner(Child);

impl Owner {
    fn of(table: &str, definition: &str) -> Self {
        let mut owner = Command::new("nft");
        owner.arg("-i").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut owner = owner.spawn().expect("nft");
        let input = owner.stdin.as_mut().expect("its input");
        writeln!(input, "{definition}\nlist tables").expect("read");
        let output = owner.stdout.as_mut().expect("its output");
        let mut seen = String::new();
        while !seen.contains(table) {
            let mut some = [0; 256];
            let length = output.read(&mut some).expect("its answer");
            assert!(length > 0, "{seen}");
            seen += &String::from_utf8_lossy(&some[..length]);
        }
        Self(owner)
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn who_leaves_a_shared_network_leaves_the_others_what_they_need() {
    on_a_host(|| async {
        feed("nft", &["-f", "-"], DROPS);
        let land = Landscape::new().await;
        let network = land.network("shared", 0).await;
        let bridge = network.bridge.name.clone();
        let wanted = rules(&[&network], Vec::new());
        let (mut one, mut two) = (firewall("one", &wanted), firewall("two", &wanted));
        assert_eq!(route_localnet(&bridge), "1");
        one.remove(&[], std::slice::from_ref(&bridge)).expect("removed");
        assert_eq!(route_localnet(&bridge), "1");
        for tag in ["in", "out"] {
            assert!(ruleset().contains(&format!("composer:{bridge} {tag}")), "{tag}");
        }
        // Out of the stack's file, its own way.
        two.apply(&rules(&[], Vec::new())).expect("applied");
        assert_eq!(route_localnet(&bridge), "0");
        assert!(!ruleset().contains(&format!("composer:{bridge} ")));
        two.remove(&[], &[bridge]).expect("removed");
    });
}

#[test]
fn who_leaves_while_others_come_and_go_sees_who_stays() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shared", 0).await;
        let bridge = network.bridge.name.clone();
        let wanted = rules(&[&network], Vec::new());
        let _stays = firewall("stays", &wanted);
        // So many that the kernel tells of them in several parts.
        let net = || Net { internal: true, ..network.net() };
        let elsewhere = (0..2048).map(|number| Net { bridge: format!("none{number:04}"), ..net() });
        let others = Rules { networks: elsewhere.collect(), ..Rules::default() };
        let over = AtomicBool::new(false);
        let failures: Vec<String> = thread::scope(|scope| {
            for number in 0..3 {
                let (others, over) = (&others, &over);
                scope.spawn(move || {
                    let mut firewall = Firewall::new(&format!("others-{number}"));
                    while !over.load(Ordering::Relaxed) {
                        let _ = firewall.apply(others);
                    }
                    let _ = firewall.remove(&[], &[]);
                });
            }
            let mut failures = Vec::new();
            for _ in 0..150 {
                let left = Firewall::new("leaves").remove(&[], std::slice::from_ref(&bridge));
                failures.extend(left.err().map(|error| error.to_string()));
                if route_localnet(&bridge) != "1" {
                    failures.push("nobody has seen who stays".to_owned());
                }
                if !failures.is_empty() {
                    break;
                }
            }
            over.store(true, Ordering::Relaxed);
            failures
        });
        assert_eq!(failures, [""; 0]);
    });
}

#[test]
fn rules_go_with_their_stack_when_the_bridge_has_gone_before() {
    on_a_host(|| async {
        feed("nft", &["-f", "-"], DROPS);
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let mut firewall = firewall("shop", &rules(&[&network], Vec::new()));
        let bridge = network.bridge.name;
        crate::world::run("ip", &format!("link del {bridge}"));
        assert!(ruleset().contains(&format!("composer:{bridge} in")));
        firewall.remove(&[bridge], &[]).expect("removed");
        assert!(!ruleset().contains("composer:"));
    });
}

#[test]
fn where_the_table_is_refused_127_0_0_1_is_nobody_on_the_bridge() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let _owner = Owner::of("compose-shop", "add table inet compose-shop { flags owner; }");
        let error = Firewall::new("shop").apply(&rules(&[&network], Vec::new())).expect_err("refused");
        assert!(error.to_string().starts_with("cannot set up the stack's table in nf_tables: "), "{error}");
        assert_eq!(route_localnet(&network.bridge.name), "0");
    });
}

#[test]
fn a_chain_that_takes_no_rules_is_named_and_the_others_get_theirs() {
    on_a_host(|| async {
        feed("nft", &["-f", "-"], DROPS);
        let land = Landscape::new().await;
        let _owner = Owner::of(
            "guarded",
            "add table inet guarded { flags owner; chain pass { type filter hook forward priority 10; policy drop; }; }",
        );
        // What stays within the bridge passes them too.
        for path in [CALLS_IPTABLES, CALLS_IP6TABLES] {
            std::fs::write(path, "1").expect("a kernel with br_netfilter");
        }
        let network = land.network("shop", 0).await;
        let mut firewall = Firewall::new("shop");
        let told = firewall.apply(&rules(&[&network], Vec::new())).expect("the table is in place");
        let bridge = &network.bridge.name;
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("chain pass of nf_tables' table inet guarded may drop "), "{told:?}");
        assert!(told[0].contains(&format!("--add-interface={bridge}`")), "{told:?}");
        assert!(ruleset().contains(&format!("composer:{bridge} in")));
    });
}

#[test]
fn who_takes_the_rules_away_is_noticed_and_who_puts_them_in_anew_is_not() {
    on_a_host(|| async {
        feed("nft", &["-f", "-"], DROPS);
        let land = Landscape::new().await;
        let network = land.network("shop", 0).await;
        let wanted = rules(&[&network], Vec::new());
        let mut firewall = firewall("shop", &wanted);
        let mut watch = firewall.watch().expect("a watch");
        let bridges = || std::collections::BTreeSet::from([network.bridge.name.clone()]);
        let late = "table inet late { chain f { type filter hook forward priority 5; policy drop; }; }";
        for taken in ["flush ruleset", "flush chain ip filter FORWARD", late] {
            feed("nft", &["-f", "-"], &format!("{taken}\n{DROPS}"));
            watch.taken_away(bridges).await.expect("told");
            assert!(firewall.has_lost().expect("listed"), "{taken}");
            firewall.apply(&wanted).expect("applied");
            assert!(!firewall.has_lost().expect("listed"), "{taken}");
            let tag = format!("composer:{} in", network.bridge.name);
            assert_eq!(ruleset().matches(&tag).count(), if taken == late { 2 } else { 1 });
        }
    });
}
