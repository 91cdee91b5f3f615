//! A firewall that drops what it does not know, in hosts where bridged traffic passes it (br_netfilter).

use std::io::Write;
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use composer_network::firewall::{Firewall, Net, Rules, bridged};
use composer_network::{Bridge, Host, Ipv4Net, names};

use crate::world::{Container, PATIENCE, bridge, bring, link_group, on_a_host, run};

pub const CALLS_IPTABLES: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";
pub const CALLS_IP6TABLES: &str = "/proc/sys/net/bridge/bridge-nf-call-ip6tables";
/// As Docker leaves it, with a rule of the user's.
const DOCKER: &str = "table ip filter {
    chain DOCKER-USER {
        iifname \"vpn\" counter drop comment \"mine\"
        counter return
    }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        counter jump DOCKER-USER
        iifname \"docker0\" oifname \"docker0\" counter accept
    }
}";
/// As iptables leaves it after its policy was set.
const PLAIN: &str = "table ip filter {
    chain FORWARD { type filter hook forward priority filter; policy drop; }
}";

pub fn feed(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).spawn().expect("the program");
    child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("read");
    assert!(child.wait().expect("its end").success(), "{program} on {input}");
}

/// A host of which bridged traffic passes the rules.
fn guarded(rules: &str) -> Host {
    for path in [CALLS_IPTABLES, CALLS_IP6TABLES] {
        std::fs::write(path, "1").expect("a kernel with br_netfilter");
    }
    feed("nft", &["-f", "-"], rules);
    Host::open().expect("a connection")
}

/// Every rule with its handle.
pub fn ruleset() -> String {
    run("nft", "-a list ruleset")
}

fn rule(bridge: &Bridge) -> String {
    let name = &bridge.name;
    format!(
        "iifname \"{name}\" oifname \"{name}\" counter packets 0 bytes 0 accept comment \"composer:{name}\""
    )
}

/// The places of the bridge's rules, as `table ip filter/chain FORWARD/0`, and the rest of the rules.
fn split(bridge: &Bridge) -> (Vec<String>, String) {
    let (mut places, mut rest) = (Vec::new(), String::new());
    let (mut table, mut chain, mut place) = (String::new(), String::new(), 0);
    for line in ruleset().lines() {
        let words = line.split(" {").next().unwrap_or(line).trim();
        if line.trim_start().starts_with(&rule(bridge)) {
            places.push(format!("{table}/{chain}/{place}"));
            continue;
        }
        match words.split(' ').next() {
            Some("table") => table = words.to_owned(),
            Some("chain") => (chain, place) = (words.to_owned(), 0),
            Some("type") => {}
            _ => place += 1,
        }
        rest += &format!("{line}\n");
    }
    (places, rest)
}

async fn remove(host: &Host, bridge: &Bridge) {
    host.remove_group(bridge.group, &[]).await.expect("removed");
}

#[test]
fn containers_reach_each_other_through_a_firewall_that_drops() {
    on_a_host(|| async {
        let host = guarded(PLAIN);
        let made = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &made).await;
        let (two, _) = Container::attached("two-1", 3, &host, &made).await;
        let _service = one.listens(80).await;
        assert!(two.reaches(one.address, 80).await);
        // Whoever loads the firewall anew takes the rule away; the bridge is mended.
        run("nft", "flush chain ip filter FORWARD");
        let to = (one.address, 80).into();
        let blocked = two.inside(move || TcpStream::connect_timeout(&to, Duration::from_millis(200))).await;
        assert_eq!(blocked.expect_err("dropped").kind(), std::io::ErrorKind::TimedOut);
        bridge(&host).await;
        assert!(two.reaches(one.address, 80).await);
    });
}

/// What a stack has the kernel do for this network, which is internal, where bridged frames pass as they do now.
fn internal(bridge: &Bridge) -> Rules {
    let net = Net {
        bridge: bridge.name.clone(),
        subnets: vec![bridge.subnets[0].net],
        masquerade: true,
        internal: true,
        isolated: false,
        unprotected: [false; 2],
        routed: [false; 2],
        source: [None; 2],
        trusted: Vec::new(),
    };
    Rules { networks: vec![net], published: Vec::new(), direct: Vec::new(), bridged: bridged() }
}

#[test]
fn an_internal_network_lives_through_a_firewall_that_is_loaded_anew() {
    on_a_host(|| async {
        let other = "add table inet other
            delete table inet other
            table inet other {
                chain forward { type filter hook forward priority filter; policy drop; }
            }";
        let host = guarded(other);
        let made = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &made).await;
        let (two, _) = Container::attached("two-1", 3, &host, &made).await;
        let _service = one.listens(80).await;
        let mut firewall = Firewall::new("shop");
        assert!(firewall.apply(&internal(&made)).expect("applied").is_empty());
        let own = || [made.name.clone()].into();
        let mut watch = firewall.watch().expect("a watch");
        feed("nft", &["-f", "-"], other);
        watch.taken_away(own).await.expect("told");
        assert!(firewall.has_lost().expect("listed"));
        firewall.apply(&internal(&made)).expect("applied");
        assert!(!firewall.has_lost().expect("listed"));
        assert_eq!(split(&made).0, ["table inet other/chain forward/0"]);
        assert!(two.reaches(one.address, 80).await);
        remove(&host, &made).await;
        assert!(!ruleset().contains("composer:"));
    });
}

#[test]
fn frames_that_come_to_pass_the_firewall_later_are_let_pass_with_the_next_change_of_anybodys() {
    on_a_host(|| async {
        for path in [CALLS_IPTABLES, CALLS_IP6TABLES] {
            std::fs::write(path, "0").expect("a kernel with br_netfilter");
        }
        feed("nft", &["-f", "-"], PLAIN);
        let host = Host::open().expect("a connection");
        let made = bridge(&host).await;
        let (one, _) = Container::attached("one-1", 2, &host, &made).await;
        let (two, _) = Container::attached("two-1", 3, &host, &made).await;
        let _service = one.listens(80).await;
        let mut firewall = Firewall::new("shop");
        firewall.apply(&internal(&made)).expect("applied");
        let mut watch = firewall.watch().expect("a watch");
        let own = || [made.name.clone()].into();
        run("nft", "add table ip unconcerned");
        let told = tokio::time::timeout(Duration::from_millis(200), watch.taken_away(own)).await;
        assert!(told.is_err(), "what nobody minds");
        let _host = guarded("add table ip docker");
        tokio::time::timeout(PATIENCE, watch.taken_away(own)).await.expect("in time").expect("told");
        assert!(firewall.has_lost().expect("listed"));
        firewall.apply(&internal(&made)).expect("applied");
        assert!(two.reaches(one.address, 80).await);
    });
}

#[test]
fn the_rule_is_there_once_and_nothing_else_changes() {
    on_a_host(|| async {
        let host = guarded(DOCKER);
        let before = ruleset();
        let made = bridge(&host).await;
        bridge(&host).await;
        assert_eq!(split(&made), (vec!["table ip filter/chain DOCKER-USER/0".into()], before.clone()));
        remove(&host, &made).await;
        assert_eq!(ruleset(), before);
    });
}

#[test]
fn the_rule_goes_to_every_chain_that_drops_and_to_no_other() {
    on_a_host(|| async {
        let host = guarded(&format!(
            "{PLAIN}
            add table inet site
            add chain inet site forward {{ type filter hook forward priority 5; policy drop; }}
            add table inet open
            add chain inet open forward {{ type filter hook forward priority 6; }}
            add rule inet open forward counter
            add chain ip filter INPUT {{ type filter hook input priority 0; policy drop; }}
            add table ip6 filter
            add chain ip6 filter FORWARD {{ type filter hook forward priority 0; policy drop; }}"
        ));
        let before = ruleset();
        let made = bridge(&host).await;
        let places = vec![
            "table ip filter/chain FORWARD/0".into(),
            "table inet site/chain forward/0".into(),
            "table ip6 filter/chain FORWARD/0".into(),
        ];
        assert_eq!(split(&made), (places, before.clone()));
        remove(&host, &made).await;
        assert_eq!(ruleset(), before);
    });
}

#[test]
fn iptables_own_chain_gets_the_rule_when_its_last_rule_may_drop() {
    on_a_host(|| async {
        let host = guarded(
            "add table ip filter
            add chain ip filter FORWARD { type filter hook forward priority filter; policy accept; }
            add rule ip filter FORWARD counter reject",
        );
        let made = bridge(&host).await;
        assert_eq!(split(&made).0, ["table ip filter/chain FORWARD/0"]);
    });
}

#[test]
fn a_docker_user_that_nothing_leads_to_is_passed_over() {
    on_a_host(|| async {
        let host = guarded(DOCKER);
        run("nft", "flush chain ip filter FORWARD");
        let made = bridge(&host).await;
        assert_eq!(split(&made).0, ["table ip filter/chain FORWARD/0"]);
        // Docker comes back: the next look finds its chain, and the removal finds both rules.
        run("nft", "insert rule ip filter FORWARD jump DOCKER-USER");
        bridge(&host).await;
        assert_eq!(
            split(&made).0,
            ["table ip filter/chain DOCKER-USER/0", "table ip filter/chain FORWARD/1"]
        );
        remove(&host, &made).await;
        assert!(!ruleset().contains(&made.name));
    });
}

#[test]
fn a_rule_that_iptables_saved_and_restored_is_known_again() {
    on_a_host(|| async {
        let host = guarded(DOCKER);
        let made = bridge(&host).await;
        let saved = run("iptables-nft-save", "-t filter");
        assert!(saved.contains(&format!("--comment \"composer:{}\" -j ACCEPT", made.name)), "{saved}");
        feed("iptables-nft-restore", &[], &saved);
        let restored = ruleset();
        bridge(&host).await;
        assert_eq!(ruleset(), restored);
        remove(&host, &made).await;
        let left = ruleset();
        assert!(!left.contains(&made.name) && left.contains("\"vpn\""), "{left}");
    });
}

#[test]
fn only_the_rules_of_the_removed_bridge_go_and_a_lost_one_is_no_error() {
    on_a_host(|| async {
        let host = guarded(PLAIN);
        let other = "192.168.44.0/24".parse().expect("a subnet");
        let other = bring(&host, "cbother", other, 44).await.expect("a bridge");
        run("nft", "add rule ip filter FORWARD iifname vpn accept comment \"composer:\"");
        let before = ruleset();
        let made = bridge(&host).await;
        assert_eq!(split(&other).0, ["table ip filter/chain FORWARD/1"]);
        remove(&host, &made).await;
        assert_eq!(ruleset(), before);
        bridge(&host).await;
        run("nft", "flush ruleset");
        remove(&host, &made).await;
        assert_eq!(ruleset(), "");
    });
}

#[test]
fn without_bridged_traffic_in_the_firewall_there_is_no_rule_and_a_rule_from_before_goes() {
    on_a_host(|| async {
        let host = guarded(DOCKER);
        let before = ruleset();
        let made = bridge(&host).await;
        for path in [CALLS_IPTABLES, CALLS_IP6TABLES] {
            std::fs::write(path, "0").expect("set");
        }
        remove(&host, &made).await;
        assert_eq!(ruleset(), before);
        bridge(&host).await;
        assert_eq!(ruleset(), before);
    });
}

#[test]
fn stacks_that_come_up_at_once_all_get_their_rules() {
    on_a_host(|| async {
        let _host = guarded(DOCKER);
        let before = ruleset();
        let come_and_go = |stack: u8| {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let host = Host::open().expect("a connection");
                let subnet = Ipv4Net::new([10, 44, stack, 0].into(), 24).expect("a subnet");
                let name = names::bridge(&format!("stack-{stack}"), "default");
                for _ in 0..10 {
                    let made = bring(&host, &name, subnet, link_group(subnet)).await.expect("a bridge");
                    assert_eq!(split(&made).0.len(), 1);
                    remove(&host, &made).await;
                }
            });
        };
        std::thread::scope(|scope| {
            for stack in 0..4 {
                scope.spawn(move || come_and_go(stack));
            }
        });
        assert_eq!(ruleset(), before);
    });
}
