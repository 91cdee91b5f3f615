//! Networks that stacks share: made, listed, shown, used and removed.

use serde_json::Value;

use crate::stack::{Project, text};

/// A network that goes with its test.
struct Shared {
    name: String,
    project: Project,
}

impl Shared {
    fn new(name: &str, flags: &[&str]) -> Self {
        let project = Project::new(&format!("of-{name}"), "services: {}\n");
        let name = format!("{name}-{}", std::process::id());
        let id = project.ok(&[&["network", "create"], flags, &[&name]].concat());
        assert_eq!(id.trim().len(), 64, "{id}");
        Self { name, project }
    }

    fn inspect(&self) -> Value {
        let shown: Value =
            serde_json::from_str(&self.project.ok(&["network", "inspect", &self.name])).unwrap();
        shown[0].clone()
    }

    fn remove(self) {
        // As `ls` shows it.
        let short = self.inspect()["Id"].as_str().unwrap()[..12].to_owned();
        assert_eq!(self.project.ok(&["network", "rm", &short]), format!("{short}\n"));
        let left = self.project.ok(&["network", "ls", "--format", "json"]);
        assert!(!left.contains(&format!("\"{}\"", self.name)), "{left}");
        let bridge = composer_network::names::bridge("", &self.name);
        assert!(!std::path::Path::new("/sys/class/net").join(&bridge).exists(), "its bridge is left");
        for path in ["/var/lib/compose/networks", "/run/compose/host/networks"] {
            let files = std::fs::read_dir(path).into_iter().flatten().flatten();
            let mut names = files.map(|file| file.file_name().into_string().unwrap());
            assert!(!names.any(|name| name.starts_with(&self.name)), "{path} has something of it");
        }
        for file in std::fs::read_dir("/run/compose/host").into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(file.path()).unwrap_or_default();
            assert!(!text.contains(&self.name), "{} still names it", file.path().display());
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = self.project.run(&["network", "rm", &self.name]);
        }
    }
}

fn member(network: &str, service: &str) -> String {
    format!(
        "services:\n  {service}:\n    x-rootfs: @busybox@\n    command: [sh, -c, 'mkdir /www; echo {service} > \
         /www/index.html; exec httpd -f -p 80 -h /www']\n    networks: [default, proxy]\n    x-probe: {{tcp: 80}}\nnetworks:\n  \
         proxy: {{external: true, name: {network}}}\n"
    )
}

#[test]
fn two_stacks_find_each_other_by_name_on_a_shared_network() {
    let shared = Shared::new("proxy", &["--label", "purpose=test", "--ipv6"]);
    let front = Project::new("sharing-front", &member(&shared.name, "front"));
    let back = Project::new("sharing-back", &member(&shared.name, "back"));
    front.ok(&["up", "-d", "--wait"]);
    back.ok(&["up", "-d", "--wait"]);
    for (from, name) in [(&front, "back"), (&back, "front")] {
        let own = if name == "back" { "front" } else { "back" };
        let page = from.ok(&["exec", "-T", own, "wget", "-q", "-O", "-", &format!("http://{name}/")]);
        assert_eq!(page, format!("{name}\n"));
    }
    let shown = shared.inspect();
    assert_eq!(shown["Labels"]["purpose"], "test");
    assert_eq!(
        (&shown["EnableIPv6"], &shown["Driver"], &shown["Scope"]),
        (&true.into(), &"bridge".into(), &"local".into())
    );
    let containers = shown["Containers"].as_object().unwrap();
    let names: Vec<&str> = containers.values().map(|container| container["Name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 2, "{shown}");
    // Neither has the other's address, though nobody but the file between them knows.
    let addresses: std::collections::BTreeSet<&str> =
        containers.values().map(|container| container["IPv4Address"].as_str().unwrap()).collect();
    assert_eq!(addresses.len(), 2, "{shown}");
    // It stays while somebody is on it, and when a stack goes.
    let (_, message) = shared.project.fails(&["network", "rm", &shared.name]);
    assert!(message.contains("has active endpoints"), "{message}");
    front.down();
    // Known at once to be nobody's, whether the host's resolvers can be reached or not.
    let output = back.run(&["exec", "-T", "back", "nslookup", "front"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(!output.status.success() && said.contains("NXDOMAIN") && !said.contains("SERVFAIL"), "{said}");
    back.kill_processes("compose-supervisor");
    front_again(&shared, &back);
    back.down();
    shared.remove();
}

#[test]
fn a_shared_network_is_used_by_its_name_alone() {
    let shared = Shared::new("by-name", &[]);
    let one = Project::new("by-name-one", &member(&shared.name, "one"));
    let file = member(&shared.name, "two").replace("external: true, ", "");
    let two = Project::new("by-name-two", &file);
    one.ok(&["up", "-d", "--wait"]);
    let output = two.run(&["up", "-d", "--wait"]);
    let said = text(&output.stderr);
    assert!(output.status.success() && said.contains("say `external: true` at networks.proxy"), "{said}");
    assert_eq!(two.ok(&["exec", "-T", "two", "wget", "-q", "-O", "-", "http://one/"]), "one\n");
    assert_eq!(one.ok(&["exec", "-T", "one", "wget", "-q", "-O", "-", "http://two/"]), "two\n");
    let before = two.field("two", "ID");
    two.ok(&["up", "-d"]);
    assert_eq!(two.field("two", "ID"), before);
    two.down();
    one.down();
    shared.remove();
}

#[test]
fn a_network_made_anew_is_used_like_any() {
    let shared = Shared::new("anew", &[]);
    let project = Project::new("on-anew", &member(&shared.name, "a"));
    project.ok(&["up", "-d", "--wait"]);
    project.ok(&["stop"]);
    project.ok(&["network", "rm", &shared.name]);
    project.ok(&["network", "create", &shared.name]);
    project.ok(&["start", "--wait"]);
    let other = Project::new("on-anew-too", &member(&shared.name, "b"));
    other.ok(&["up", "-d", "--wait"]);
    assert_eq!(other.ok(&["exec", "-T", "b", "wget", "-q", "-O", "-", "http://a/"]), "a\n");
    assert_eq!(project.ok(&["exec", "-T", "a", "wget", "-q", "-O", "-", "http://b/"]), "b\n");
    other.down();
    project.down();
    shared.remove();
}

#[test]
fn a_bridge_of_the_host_cannot_be_a_networks() {
    let project = Project::new("host-bridge", "services: {}\n");
    let option = "com.docker.network.bridge.name=lo";
    project.fails(&["network", "create", "-o", option, "on-lo"]);
    let bridge = format!("cmpt{}", std::process::id());
    let option = format!("com.docker.network.bridge.name={bridge}");
    let shared = Shared::new("named", &["-o", &option]);
    let again = ["network", "create", "-o", &option, "named-too"];
    let (_, message) = project.fails(&again);
    assert!(message.contains(&format!("has the bridge {bridge}")), "{message}");
    shared.remove();
    for (option, wrong) in [
        ("host_binding_ipv4=localhost", "`localhost` is not an address"),
        ("gateway_mode_ipv4=routd", "`routd` is not a value of this option"),
        ("inhibit_ipv4=perhaps", "`perhaps` is neither true nor false"),
    ] {
        let option = format!("com.docker.network.bridge.{option}");
        let (_, message) = project.fails(&["network", "create", "-o", &option, "wrong"]);
        assert!(message.contains(wrong), "{message}");
    }
}

fn front_again(shared: &Shared, back: &Project) {
    let front = Project::new("sharing-again", &member(&shared.name, "front"));
    front.ok(&["up", "-d", "--wait"]);
    assert_eq!(back.ok(&["exec", "-T", "back", "wget", "-q", "-O", "-", "http://front/"]), "front\n");
    front.down();
}

#[test]
fn a_missing_network_is_named_with_its_place_before_anything_is_made() {
    let project = Project::new("no-such-network", &member("there-is-none", "a"));
    let (_, message) = project.fails(&["up", "-d"]);
    assert!(
        message.contains("the network `there-is-none` is external, and there is none of that name"),
        "{message}"
    );
    assert!(message.contains("compose.yaml:8:"), "{message}");
    assert!(message.contains("compose network create there-is-none"), "{message}");
    project.assert_nothing_left();
}

#[test]
fn networks_are_made_as_asked_and_listed_with_those_of_stacks() {
    let third = std::process::id() % 250;
    let (subnet, gateway) = (format!("10.232.{third}.0/24"), format!("10.232.{third}.9"));
    let range = format!("10.232.{third}.128/25");
    let shared = Shared::new(
        "asked",
        &[
            "--subnet",
            &subnet,
            "--gateway",
            &gateway,
            "--ip-range",
            &range,
            "--internal",
            "-o",
            "com.docker.network.driver.mtu=1400",
        ],
    );
    let shown = shared.inspect();
    let pool = &shown["IPAM"]["Config"][0];
    assert_eq!(
        (&pool["Subnet"], &pool["Gateway"], &pool["IPRange"]),
        (&subnet.clone().into(), &gateway.into(), &range.into())
    );
    assert_eq!(
        (&shown["Internal"], &shown["Options"]["com.docker.network.driver.mtu"]),
        (&true.into(), &"1400".into())
    );
    let project = Project::new("listed", &member(&shared.name, "a"));
    project.ok(&["up", "-d", "--wait"]);
    let lines = project.ok(&["network", "ls"]);
    assert!(lines.starts_with("NETWORK ID"), "{lines}");
    for name in [&shared.name, &format!("{}_default", project.name)] {
        assert!(lines.lines().any(|line| line.split_whitespace().nth(1) == Some(name)), "{name} in {lines}");
    }
    let address = project.ok(&["exec", "-T", "a", "ip", "addr"]);
    assert!(address.contains(&format!("10.232.{third}.128/24")) && address.contains("mtu 1400"), "{address}");
    // What is another's already is refused, and leaves nothing.
    for flags in [vec!["--subnet", subnet.as_str()], vec![]] {
        let name = if flags.is_empty() { shared.name.clone() } else { format!("{}-2", shared.name) };
        let (_, message) = project.fails(&[&["network", "create"], &flags[..], &[&name]].concat());
        assert!(message.contains("overlaps") || message.contains("already exists"), "{message}");
    }
    let (_, message) = project.fails(&["network", "rm", &format!("{}_default", project.name)]);
    assert!(message.contains("is on it: `compose -p"), "{message}");
    let output = project.run(&["network", "inspect", "no-such"]);
    assert_eq!((text(&output.stdout).as_str(), output.status.code()), ("[]\n", Some(1)));
    project.down();
    shared.remove();
}

#[test]
fn networks_are_chosen_by_what_they_are_and_those_of_nobody_go() {
    let own = format!("chosen-by={}", std::process::id());
    let [used, unused] =
        ["used", "unused"].map(|name| Shared::new(name, &["--label", &own, "--label", name]));
    let project = Project::new("chosen-by", &member(&used.name, "a"));
    project.ok(&["up", "-d", "--wait"]);
    let names = |filters: &[&str]| {
        let flags = filters.iter().flat_map(|filter| ["--filter", filter]);
        let lines =
            project.ok(&["network", "ls", "--format", "json"].into_iter().chain(flags).collect::<Vec<_>>());
        let name =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["Name"].as_str().unwrap().to_owned();
        lines.lines().map(name).collect::<Vec<_>>()
    };
    let label = format!("label={own}");
    assert_eq!(names(&[&label]), [unused.name.clone(), used.name.clone()]);
    let id = format!("id={}", &used.inspect()["Id"].as_str().unwrap()[..12]);
    for (filter, expected) in [
        ("label=used", &used.name),
        ("dangling=true", &unused.name),
        ("dangling=false", &used.name),
        (id.as_str(), &used.name),
    ] {
        assert_eq!(names(&[&label, filter]), [expected.as_str()], "{filter}");
    }
    assert_eq!(names(&[&label, "driver=bridge", "scope=local", "name=used"]).len(), 2);
    assert_eq!(names(&[&label, "type=custom"]).len(), 2);
    for filter in ["driver=macvlan", "scope=swarm", "name=nobody", "type=builtin"] {
        assert!(names(&[&label, filter]).is_empty(), "{filter}");
    }
    // All on one line.
    let shown = project.ok(&["network", "inspect", "-v", "-f", "json", &used.name, &unused.name]);
    let value: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((shown.lines().count(), &value[1]["Name"]), (1, &unused.name.clone().into()));
    // Also a stack that stands still has its network.
    project.ok(&["stop", "-t", "0"]);
    assert_eq!(names(&[&label, "dangling=true"]).len(), 2);
    let prune = ["network", "prune", "--force", "--filter", &label];
    assert_eq!(project.ok(&[&prune[..], &["--filter", "until=1h"]].concat()), "", "none is so old");
    assert_eq!(project.ok(&prune), format!("Deleted Networks:\n{}\n\n", unused.name));
    assert_eq!(names(&[&label]), [used.name.as_str()]);
    assert_eq!(project.ok(&prune), "");
    project.ok(&["up", "-d", "--wait"]);
    project.down();
    assert_eq!(used.project.ok(&prune), format!("Deleted Networks:\n{}\n\n", used.name));
}

#[test]
fn an_address_that_is_kept_from_containers_is_refused_before_anything_is_made() {
    let third = std::process::id() % 250;
    let (subnet, kept) = (format!("10.234.{third}.0/24"), format!("10.234.{third}.2"));
    let shared = Shared::new("kept", &["--subnet", &subnet, "--aux-address", &format!("router={kept}")]);
    let file = format!(
        "services:\n  a:\n    x-rootfs: @busybox@\n    command: sleep 1000\n    networks:\n      proxy:\n        \
         ipv4_address: {kept}\nnetworks: {{proxy: {{external: true, name: {}}}}}\n",
        shared.name
    );
    let project = Project::new("kept", &file);
    let (_, message) = project.fails(&["up", "-d"]);
    assert!(message.contains(&format!("{kept} is among the addresses that are kept")), "{message}");
    assert!(message.contains("compose.yaml:7:"), "{message}");
    project.assert_nothing_left();
    // Who chooses none gets the next.
    project.write("compose.yaml", &file.replace(&format!(":\n        ipv4_address: {kept}"), ":"));
    project.ok(&["up", "-d"]);
    assert_eq!(project.field("a", "Address").as_str(), Some(format!("10.234.{third}.3").as_str()));
    project.down();
    shared.remove();
}

#[test]
fn more_containers_than_there_are_addresses_for_are_told_before_any_starts() {
    let third = std::process::id() % 250;
    let range = format!("10.235.{third}.16/30");
    let flags = ["--subnet", &format!("10.235.{third}.0/24"), "--ip-range", &range];
    let shared = Shared::new("room", &flags);
    let file = |services: &str| {
        format!(
            "services:\n{services}\nnetworks:\n  proxy: {{external: true, name: {}}}\n  own: {{ipam: {{config: \
             [{{subnet: 10.236.{third}.128/30}}]}}}}\n",
            shared.name
        )
    };
    let service = |name: &str, network: &str| {
        format!("  {name}: {{x-rootfs: @busybox@, command: sleep 1000, networks: {{{network}: }}}}")
    };
    let before = Project::new("room-before", &file(&service("a", "proxy")));
    before.ok(&["up", "-d", "--scale", "a=2"]);
    // Of the four two are another stack's.
    let after = Project::new("room-after", &file(&service("b", "proxy")));
    let (_, message) = after.fails(&["up", "-d", "--scale", "b=3"]);
    let expected =
        format!("3 containers want an address of {range} on network {}, which has 2 for", shared.name);
    assert!(message.contains(&expected) && message.contains("compose.yaml:2:"), "{message}");
    assert_eq!(after.ok(&["ps", "-aq"]), "");
    after.ok(&["up", "-d", "--scale", "b=2"]);
    // What runs counts, and what it is made anew by does not count twice.
    after.ok(&["up", "-d", "--scale", "b=2", "--force-recreate", "-t", "0"]);
    let (_, message) = after.fails(&["scale", "b=3"]);
    assert!(message.contains("1 containers want an address") && message.contains("which has 0"), "{message}");
    assert_eq!(after.ok(&["ps", "-q"]).lines().count(), 2);
    after.down();
    before.down();
    // One of the stack's own, by a flag.
    let own = Project::new("room-own", &file(&service("c", "own")));
    let (_, message) = own.fails(&["up", "-d", "--scale", "c=2"]);
    assert!(message.contains("2 containers want an address of 10.236."), "{message}");
    assert!(message.contains("compose.yaml:5:"), "{message}");
    own.assert_nothing_left();
    shared.remove();
}

#[test]
fn a_service_on_an_internal_network_of_others_takes_no_port_of_the_host() {
    let shared = Shared::new("inward", &["--internal"]);
    let other = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let file = format!(
        "services: {{a: {{x-rootfs: @busybox@, command: sleep 1000, networks: [proxy], ports: ['{port}:80']}}}}\n\
         networks: {{proxy: {{external: true, name: {}}}}}\n",
        shared.name
    );
    let project = Project::new("inward", &file);
    let output = project.run(&["up", "-d"]);
    let told = text(&output.stderr);
    let expected = "service a: none of its ports is published: all its networks are internal";
    assert!(output.status.success() && told.matches(expected).count() == 1, "{told}");
    let shown = project.ok(&["ps"]);
    assert!(shown.contains("-a-1") && !shown.contains("->"), "{shown}");
    project.down();
    shared.remove();
}

#[test]
fn a_link_gives_a_container_of_another_stack_a_name() {
    let shared = Shared::new("linked", &[]);
    let one = Project::new("link-to", &member(&shared.name, "web"));
    let file = |link: &str| {
        format!(
            "services:\n  client:\n    x-rootfs: @busybox@\n    command: sleep 1000\n    networks: [proxy]\n    \
             external_links: [{link}]\n  other: {{x-rootfs: @busybox@, command: sleep 1000, networks: [proxy]}}\nnetworks:\n  \
             proxy: {{external: true, name: {}}}\n",
            shared.name
        )
    };
    let link = format!("{}-web-1:site", one.name);
    let two = Project::new("link-from", &file(&link));
    let output = two.run(&["up", "-d"]);
    let told = text(&output.stderr);
    let expected = format!(
        "services.client.external_links.0: service client: its link is to container {}-web-1, which there is none of on \
         this host",
        one.name
    );
    assert!(output.status.success() && told.matches(&expected).count() == 1, "{told}");
    // It has its name once it is there, and nothing of the stack is made anew.
    one.ok(&["up", "-d", "--wait"]);
    assert_eq!(two.ok(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://site/"]), "web\n");
    two.fails(&["exec", "-T", "other", "nslookup", "site"]);
    // With another address it is still the same.
    two.kill_processes("compose-supervisor");
    one.ok(&["up", "-d", "--wait", "--force-recreate"]);
    assert_eq!(two.ok(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://site/"]), "web\n");
    one.ok(&["stop", "-t", "1"]);
    let output = two.run(&["up", "-d", "--force-recreate", "-t", "1"]);
    let told = text(&output.stderr);
    assert!(output.status.success() && told.contains("which does not run"), "{told}");
    assert!(told.contains(&format!("`compose -p {} start web`", one.name)), "{told}");
    one.ok(&["start", "--wait"]);
    // Without a network that both are on it is no use.
    two.write("compose.yaml", &file(&link).replace("[proxy]\n    ext", "[default]\n    ext"));
    let output = two.run(&["up", "-d", "-t", "1"]);
    let told = text(&output.stderr);
    assert!(
        output.status.success() && told.contains("leads nowhere: they are on no network together"),
        "{told}"
    );
    two.down();
    one.down();
    shared.remove();
}

#[test]
fn an_address_that_another_stack_has_is_told_with_its_place() {
    let third = std::process::id() % 250;
    let address = format!("10.242.{third}.77");
    let shared = Shared::new("leased", &["--subnet", &format!("10.242.{third}.0/24")]);
    let file = member(&shared.name, "a").replace(
        "networks: [default, proxy]",
        &format!("networks: {{ proxy: {{ ipv4_address: {address} }} }}"),
    );
    let (one, two) = (Project::new("lessee", &file), Project::new("latecomer", &file));
    one.ok(&["up", "-d", "--wait"]);
    let (code, message) = two.fails(&["up", "-d"]);
    let expected = format!(
        "error: {0}-a-1: its address on network {1}: {address} is taken by container {2}-a-1 of stack {2}
 --> compose.yaml:5:40
  |
5 |     networks: {{ proxy: {{ ipv4_address: {address} }} }}
  |                                        {3}
",
        two.name,
        shared.name,
        one.name,
        "^".repeat(address.len())
    );
    assert!(code == 1 && message == expected, "{message}\nand not\n{expected}");
    two.assert_nothing_left();
    one.down();
    shared.remove();
}
