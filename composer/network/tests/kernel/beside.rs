//! The stack's traffic beside firewalls of others, as they leave their rules.

use std::net::Ipv4Addr;

use composer_network::firewall::Firewall;

use crate::firewall::{feed, ruleset};
use crate::landscape::{
    HOST, HOST_V6, Landscape, Network, OUTSIDE, OUTSIDE_V6, PORT, published, rules, serve,
};
use crate::world::{Container, bring, on_a_host, run};

/// Docker Engine 20 to 27 with iptables-nft.
const DOCKER: &str = "table ip filter {
    chain DOCKER { }
    chain DOCKER-ISOLATION-STAGE-2 { oifname docker0 counter drop; counter return; }
    chain DOCKER-ISOLATION-STAGE-1 {
        iifname docker0 oifname != docker0 counter jump DOCKER-ISOLATION-STAGE-2
        counter return
    }
    chain DOCKER-USER {
        iifname \"vpn\" counter drop comment \"mine\"
        counter return
    }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        counter jump DOCKER-USER
        counter jump DOCKER-ISOLATION-STAGE-1
        oifname docker0 ct state related,established counter accept
        oifname docker0 counter jump DOCKER
        iifname docker0 counter accept
    }
}";
/// ufw, with its default to reject what is routed: the chain that does so is the last but one.
const UFW: &str = "table ip filter {
    chain ufw-user-forward { }
    chain ufw-before-forward {
        ct state related,established counter accept
        ip protocol icmp icmp type echo-request counter accept
        counter jump ufw-user-forward
    }
    chain ufw-after-forward { }
    chain ufw-reject-forward { counter reject; }
    chain ufw-track-forward { }
    chain FORWARD {
        type filter hook forward priority filter; policy drop;
        counter jump ufw-before-forward
        counter jump ufw-after-forward
        counter jump ufw-reject-forward
        counter jump ufw-track-forward
    }
}";
/// firewalld with its nftables backend and interfaces in the zone `public`.
const FIREWALLD: &str = "table inet firewalld {
    chain filter_FWD_public_pre { }
    chain filter_FWD_public_post { }
    chain filter_FWD_public {
        jump filter_FWD_public_pre
        jump filter_FWD_public_post
        reject with icmpx admin-prohibited
    }
    chain filter_FORWARD_POLICIES {
        iifname \"up0\" oifname \"up0\" jump filter_FWD_public
        jump filter_FWD_public
        return
    }
    chain filter_FORWARD {
        type filter hook forward priority filter + 10; policy accept;
        ct state { established, related } accept
        ct status dnat accept
        iifname \"lo\" accept
        ct state invalid drop
        jump filter_FORWARD_POLICIES
        reject with icmpx admin-prohibited
    }
}";
/// The end of FORWARD as Red Hat's iptables service leaves it.
const REJECTS: &str = "table ip filter {
    chain FORWARD {
        type filter hook forward priority filter; policy accept;
        iifname \"vpn\" counter drop
        counter reject with icmp type host-prohibited
        iifname \"late\" counter accept
    }
}";
/// Rules of the admin's own.
const PLAIN: &str = "table inet site {
    chain forward {
        type filter hook forward priority filter - 10; policy drop;
        iifname \"lan\" accept
    }
}";

struct Scene {
    land: Landscape,
    network: Network,
    web: Container,
    firewall: Firewall,
}

/// A stack that publishes port 8080 beside these rules.
async fn beside(others: &str) -> Scene {
    beside_on(Landscape::new().await, others).await
}

async fn beside_on(land: Landscape, others: &str) -> Scene {
    feed("nft", &["-f", "-"], others);
    let network = land.network("shop", 0).await;
    let web = land.container(&network, 2).await;
    serve(&web).await;
    serve(&land.outsider).await;
    let mut firewall = Firewall::new("shop");
    firewall.apply(&rules(&[&network], vec![published(&network, &web, 8080)])).expect("applied");
    Scene { land, network, web, firewall }
}

impl Scene {
    /// Everything that has to work does, and nothing else.
    async fn works(&self) {
        let Self { land, network, web, .. } = self;
        assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, Some(OUTSIDE.into()), "in");
        assert_eq!(land.outsider.asks_tcp((HOST_V6, 8080)).await, Some(OUTSIDE_V6.into()), "in over IPv6");
        assert_eq!(web.asks_tcp((OUTSIDE, PORT)).await, Some(HOST.into()), "out");
        assert_eq!(web.asks_tcp((OUTSIDE_V6, PORT)).await, Some(HOST_V6.into()), "out over IPv6");
        assert_eq!(land.outsider.asks_tcp((web.address, PORT)).await, None, "past the published port");
        assert_eq!(land.outsider.asks_tcp((network.v6(2), PORT)).await, None, "past it over IPv6");
        let neighbour = land.container(network, 3).await;
        assert!(neighbour.asks_tcp((web.address, PORT)).await.is_some(), "within");
    }
}

/// The rules of ours in the chains of others, each with what comes after it there.
fn ours() -> Vec<(String, String)> {
    let all = run("nft", "list ruleset");
    let lines: Vec<&str> = all.lines().map(str::trim).collect();
    let mut found = Vec::new();
    for (place, line) in lines.iter().enumerate() {
        if let Some((_, tag)) = line.split_once("comment \"composer:") {
            let what = tag.trim_end_matches('"').split_once(' ').map_or("within", |(_, what)| what);
            let after = lines[place + 1..].iter().find(|line| !line.contains("composer:")).unwrap_or(&"");
            let after = after.replace(" packets 0 bytes 0", "");
            found.push((what.to_owned(), after));
        }
    }
    found
}

/// Works beside these rules, leaves them as they are, and puts its own before this one.
fn stands_beside(others: &'static str, before_rule: &'static str) {
    on_a_host(|| async move {
        feed("nft", &["-f", "-"], others);
        let before = ruleset();
        run("nft", "flush ruleset");
        let scene = beside(others).await;
        let now = ours();
        for what in ["in", "out"] {
            let expected = (what.to_owned(), before_rule.to_owned());
            assert!(now.contains(&expected), "{what} is not before {before_rule:?}: {now:?}");
        }
        scene.works().await;
        let counters = |text: &str| -> Vec<String> {
            let handle = |line: &str| line.split(" # handle ").next().unwrap_or(line).to_owned();
            let uncounted = |line: &str| {
                let words: Vec<_> = line.split(' ').collect();
                let is_figure = |place: usize| place > 0 && ["packets", "bytes"].contains(&words[place - 1]);
                let kept = words.iter().enumerate().filter(|(place, _)| !is_figure(*place));
                kept.map(|(_, word)| *word).collect::<Vec<_>>().join(" ")
            };
            text.lines().map(|line| uncounted(&handle(line))).collect()
        };
        let Scene { mut firewall, network, land, web: _ } = scene;
        firewall.remove(std::slice::from_ref(&network.bridge.name), &[]).expect("removed");
        land.host.remove_group(network.bridge.group, &[]).await.expect("removed");
        assert_eq!(counters(&ruleset()), counters(&before));
    });
}

#[test]
fn docker_with_its_policy_to_drop() {
    stands_beside(DOCKER, "counter return");
}

#[test]
fn ufw_that_rejects_what_is_routed() {
    stands_beside(UFW, "counter jump ufw-reject-forward");
}

#[test]
fn firewalld_with_everything_in_its_public_zone() {
    stands_beside(FIREWALLD, "jump filter_FORWARD_POLICIES");
}

#[test]
fn a_chain_of_iptables_that_rejects_at_its_end() {
    stands_beside(REJECTS, "counter reject with icmp host-prohibited");
}

#[test]
fn a_chain_of_the_admins_own_with_a_policy_to_drop() {
    stands_beside(PLAIN, "}");
}

#[test]
fn what_others_forbid_stays_forbidden() {
    on_a_host(|| async {
        let scene = beside(
            "table ip filter {
                chain FORWARD {
                    type filter hook forward priority filter; policy drop;
                    ip saddr 198.51.100.2 tcp dport 80 counter drop
                    ip daddr 198.51.100.2 tcp dport 80 counter drop
                }
            }",
        )
        .await;
        assert_eq!(scene.land.outsider.asks_tcp((HOST, 8080)).await, None);
        assert_eq!(scene.web.asks_tcp((OUTSIDE, PORT)).await, None);
        run("nft", "flush chain ip filter FORWARD");
        // That took ours away too: the next look puts them back.
        let Scene { land, network, web, mut firewall } = scene;
        firewall.apply(&rules(&[&network], vec![published(&network, &web, 8080)])).expect("applied");
        assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, Some(OUTSIDE.into()));
        assert_eq!(web.asks_tcp((OUTSIDE, PORT)).await, Some(HOST.into()));
    });
}

#[test]
fn rules_are_there_once_and_an_internal_network_has_none() {
    on_a_host(|| async {
        let Scene { land, network, web, mut firewall } = beside(DOCKER).await;
        let once = ours();
        let mut wanted = rules(&[&network], vec![published(&network, &web, 8080)]);
        firewall.apply(&wanted).expect("applied");
        assert_eq!(ours(), once);
        firewall.remove(&[], std::slice::from_ref(&network.bridge.name)).expect("removed");
        wanted.networks[0].internal = true;
        firewall.apply(&wanted).expect("applied");
        assert_eq!(ours().into_iter().map(|(what, _)| what).collect::<Vec<_>>(), ["within"]);
        assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, None);
    });
}

#[test]
fn a_container_reaches_none_of_the_hosts_own_by_what_is_let_pass() {
    on_a_host(|| async {
        let scene = beside(DOCKER).await;
        // What is let out of the bridge does not come into another of ours.
        let other = scene.land.network("other", 1).await;
        let hidden = scene.land.container(&other, 2).await;
        serve(&hidden).await;
        let _other = crate::landscape::firewall("other", &rules(&[&other], Vec::new()));
        assert_eq!(scene.web.asks_tcp((hidden.address, PORT)).await, None);
        assert_eq!(scene.web.asks_tcp((Ipv4Addr::new(172, 18, 1, 2), PORT)).await, None);
        let before = ruleset();
        assert!(before.contains("composer:"));
        let names = [scene.network.bridge.name.clone(), other.bridge.name.clone()];
        // A sweep of the links takes the rules of others' chains along, also where nobody removed the table first.
        scene.land.host.remove_group(other.bridge.group, &[]).await.expect("removed");
        assert!(!ruleset().contains(&format!("composer:{}", names[1])));
        assert!(ruleset().contains(&format!("composer:{}", names[0])));
    });
}

#[test]
fn containers_of_docker_are_reached_only_as_docker_has_it() {
    on_a_host(|| async {
        let land = Landscape::new().await;
        let subnet = "172.17.0.0/24".parse().expect("a subnet");
        let docker0 = bring(&land.host, "docker0", subnet, 5).await.expect("a bridge");
        let mut theirs = Container::new("docker-1", 2);
        theirs.address = Ipv4Addr::new(172, 17, 0, 2);
        drop(theirs.attach(&land.host, &docker0).await.expect("attached"));
        serve(&theirs).await;
        let Scene { network, web, mut firewall, .. } = beside_on(land, DOCKER).await;
        assert_eq!(web.asks_tcp((theirs.address, PORT)).await, None, "what Docker does not publish");
        assert_eq!(web.asks_tcp((OUTSIDE, PORT)).await, Some(HOST.into()), "out");
        run("nft", "add rule ip filter DOCKER tcp dport 80 accept");
        assert!(web.asks_tcp((theirs.address, PORT)).await.is_some(), "what it does");
        run("nft", "flush chain ip filter DOCKER");
        // As an earlier version left it, or a route that has come since: the order is put right.
        run("nft", "flush chain ip filter DOCKER-USER");
        let name = network.bridge.name.clone();
        run("ip", "link add br-up type bridge");
        run("ip", "link set br-up up");
        run("ip", "route add default dev br-up");
        let rule = format!(
            "add rule ip filter DOCKER-USER iifname {name} counter accept comment \"composer:{name} out\""
        );
        feed("nft", &["-f", "-"], &rule);
        firewall.apply(&rules(&[&network], vec![published(&network, &web, 8080)])).expect("applied");
        assert_eq!(web.asks_tcp((theirs.address, PORT)).await, None, "what Docker does not publish");
        let chain = run("nft", "list chain ip filter DOCKER-USER");
        let at = |text: &str| chain.find(&format!("composer:{name} {text}\"")).expect(text);
        assert!(at("out to br-up") < at("out br-") && at("out br-") < at("out"), "{chain}");
        assert_eq!(chain.matches(&format!("composer:{name} out\"")).count(), 1, "{chain}");
        firewall.remove(std::slice::from_ref(&name), &[]).expect("removed");
        assert!(!ruleset().contains("composer:"), "{}", ruleset());
    });
}

#[test]
fn rules_of_iptables_legacy_that_drop_let_the_stack_pass() {
    on_a_host(|| async {
        let does = |program: &str, arguments: &str| {
            let output = std::process::Command::new(program).args(arguments.split(' ')).output();
            output.is_ok_and(|output| output.status.success())
        };
        let programs = ["iptables-legacy", "ip6tables-legacy"];
        // A kernel without its modules has no such rules.
        if !programs.iter().all(|program| does(program, "-P FORWARD DROP")) {
            return;
        }
        let land = Landscape::new().await;
        for program in programs {
            for rule in ["-N mine", "-A mine -i vpn -j ACCEPT", "-A FORWARD -j mine", "-A FORWARD -j REJECT"]
            {
                assert!(does(program, rule), "{program} {rule}");
            }
        }
        let listed = || programs.map(|program| run(program, "-S"));
        let before = listed();
        let scene = beside_on(land, "").await;
        scene.works().await;
        let made = listed();
        let Scene { mut firewall, network, land, web } = scene;
        firewall.apply(&rules(&[&network], vec![published(&network, &web, 8080)])).expect("applied");
        assert_eq!(listed(), made, "made twice");
        assert!(made[0].contains(&format!("composer:{} out", network.bridge.name)), "{}", made[0]);
        run(programs[0], "-I FORWARD -s 198.51.100.2 -j DROP");
        assert_eq!(land.outsider.asks_tcp((HOST, 8080)).await, None, "what others forbid");
        run(programs[0], "-D FORWARD 1");
        firewall.remove(std::slice::from_ref(&network.bridge.name), &[]).expect("removed");
        land.host.remove_group(network.bridge.group, &[]).await.expect("removed");
        assert_eq!(listed(), before);
    });
}

#[test]
fn docker_s_place_for_rules_of_others_is_taken_with_iptables_legacy_too() {
    on_a_host(|| async {
        let program = "iptables-legacy";
        let made = std::process::Command::new(program).args(["-N", "DOCKER-USER"]).output();
        // A kernel without its modules has no such rules.
        if !made.is_ok_and(|made| made.status.success()) {
            return;
        }
        for rule in ["-A DOCKER-USER -j RETURN", "-A FORWARD -j DOCKER-USER", "-P FORWARD DROP"] {
            run(program, rule);
        }
        let Scene { network, web, .. } = beside("").await;
        let listed = run(program, "-S DOCKER-USER");
        let bridge = &network.bridge.name;
        let rules: Vec<&str> =
            listed.lines().skip(1).map(|line| line.rsplit(' ').next().unwrap_or(line)).collect();
        assert_eq!(rules, ["RETURN", "RETURN", "ACCEPT", "ACCEPT", "RETURN"], "{listed}");
        assert!(listed.contains(&format!("-i {bridge} -o docker+")), "{listed}");
        assert_eq!(web.asks_tcp((OUTSIDE, PORT)).await, Some(HOST.into()));
    });
}
