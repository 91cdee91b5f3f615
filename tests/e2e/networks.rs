//! Stacks with networks of their own making: several at once, addresses by choice, modes, changes, and what is mended.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use composer_network::names;

use crate::stack::{Project, text};

fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {}", text(&output.stderr));
    text(&output.stdout)
}

fn exists(interface: &str) -> bool {
    Path::new("/sys/class/net").join(interface).exists()
}

const TWO: &str = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
    networks: { front: { aliases: [site] }, back: { priority: 5, interface_name: lan } }
    x-probe: { tcp: 80 }
  client: { x-rootfs: @busybox@, command: sleep 1000, networks: [front] }
  store: { x-rootfs: @busybox@, command: sleep 1000, networks: [back] }
networks:
  front:
  back: { internal: true, enable_ipv6: true }
"#;

#[test]
fn a_service_on_two_networks_is_known_on_each_by_its_names_there() {
    let project = Project::new("two-networks", TWO);
    project.ok(&["up", "-d", "--wait"]);
    let addresses = project.ok(&["exec", "-T", "web", "ip", "addr"]);
    assert!(addresses.contains(" lan@") && addresses.contains(" eth0@"), "{addresses}");
    // Out of an internal network nothing leads.
    let routes = project.ok(&["exec", "-T", "web", "ip", "route"]);
    assert!(routes.contains("dev eth0") && !routes.contains("default via 10"), "{routes}");
    assert_eq!(routes.lines().filter(|line| line.starts_with("default")).count(), 1, "{routes}");
    assert!(routes.lines().any(|line| line.starts_with("default") && line.contains("eth0")), "{routes}");
    for (client, name) in [("client", "web"), ("client", "site"), ("store", "web")] {
        let page = project.ok(&["exec", "-T", client, "wget", "-q", "-O", "-", &format!("http://{name}/")]);
        assert_eq!(page, "hello\n", "{client} asks for {name}");
    }
    // Neither an alias of another network, nor a service on another.
    project.fails(&["exec", "-T", "store", "nslookup", "site"]);
    project.fails(&["exec", "-T", "store", "nslookup", "client"]);
    project.fails(&["exec", "-T", "client", "nslookup", "store"]);
    // Unique local addresses, in the answers too.
    let six = project.ok(&["exec", "-T", "store", "ip", "-6", "addr", "show", "dev", "eth0"]);
    let own = six.lines().find(|line| line.contains("scope global")).expect("an address of IPv6").trim();
    assert!(own.starts_with("inet6 fd") && own.contains("/64"), "{six}");
    let asked = project.ok(&["exec", "-T", "store", "nslookup", "-type=aaaa", "web"]);
    assert!(asked.contains("Address: fd"), "{asked}");
    assert!(
        project.ok(&["exec", "-T", "store", "ping", "-6", "-c", "1", "web"]).contains("1 packets received")
    );
    let networks = project.field("web", "Networks").as_str().unwrap().to_owned();
    assert_eq!(networks, format!("{0}_back,{0}_front", project.name));
    project.down();
}

#[test]
fn the_hosts_name_stands_for_the_gateway_that_its_ports_are_reached_by() {
    let file = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]
    ports: ["80"]
    x-probe: { tcp: 80 }
    networks: [front]
  # The internal one comes first, by its name and by its priority.
  client:
    x-rootfs: host
    command: sleep 1000
    extra_hosts: ["hh:host-gateway"]
    networks: { back: { priority: 9 }, front: }
  inner: { x-rootfs: @busybox@, command: sleep 1000, extra_hosts: ["hh:host-gateway"], networks: [back] }
networks:
  back: { internal: true, enable_ipv6: true }
  front: { enable_ipv6: true }
"#;
    let project = Project::new("host-gateway", file);
    project.ok(&["up", "-d", "--wait"]);
    let run = |command: &[&str]| project.ok(&[&["exec", "-T"], command].concat());
    let gateway = |routes: &str| {
        let line = routes.lines().find(|line| line.starts_with("default via")).expect("a way out");
        line.split_whitespace().nth(2).unwrap().to_owned()
    };
    let hosts = |service: &str| -> Vec<String> {
        let hosts = run(&[service, "cat", "/etc/hosts"]);
        let lines = hosts.lines().filter_map(|line| line.strip_suffix("\thh"));
        lines.map(str::to_owned).collect()
    };
    let ways = [run(&["client", "ip", "route"]), run(&["client", "ip", "-6", "route"])]
        .map(|routes| gateway(&routes));
    assert_eq!(hosts("client"), ways);
    let port = project.ok(&["port", "web", "80"]);
    let port = port.trim().rsplit(':').next().unwrap().to_owned();
    let page = run(&["client", "curl", "-sS", "--max-time", "20", &format!("http://hh:{port}/")]);
    assert_eq!(page, "hello\n");
    // Out of an internal network nothing leads: it has the bridge there.
    let [v4, v6] = &hosts("inner")[..] else { panic!("{:?}", hosts("inner")) };
    let addresses = ip(&format!("-br addr show dev {}", names::bridge(&project.name, "back")));
    assert!(addresses.contains(&format!("{v4}/")) && addresses.contains(&format!("{v6}/")), "{addresses}");
    project.down();
}

#[test]
fn a_service_on_internal_networks_alone_takes_no_port_of_the_host() {
    let other = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let file = format!(
        "services:\n  a: {{x-rootfs: @busybox@, command: sleep 1000, networks: [back], ports: ['{port}:80', '81']}}\n\
         networks: {{back: {{internal: true}}}}\n"
    );
    let project = Project::new("internal-ports", &file);
    let told = text(&project.run(&["up", "-d"]).stderr);
    assert_eq!(told.matches("published").count(), 1, "{told}");
    assert!(told.contains("no port of `a` is published: all its networks are internal"), "{told}");
    assert!(told.contains("compose.yaml:2:"), "{told}");
    let shown = project.ok(&["ps"]);
    assert!(shown.contains("-a-1") && !shown.contains("->"), "{shown}");
    // One that is not is reached, on the port that is free now.
    drop(other);
    project.write("compose.yaml", &file.replace("internal: true", "internal: false"));
    project.ok(&["up", "-d", "-t", "0"]);
    assert!(project.ok(&["ps"]).contains(&format!("{port}->80/tcp")));
    project.down();
}

#[test]
fn what_one_container_alone_can_have_keeps_a_service_from_being_scaled() {
    for (keys, what) in [
        ("mac_address: '02:00:00:00:00:07'", "mac_address"),
        ("networks: {default: {ipv4_address: 10.226.1.9}}", "ipv4_address"),
    ] {
        let file = format!(
            "services: {{a: {{x-rootfs: @busybox@, command: sleep 1000, {keys}}}}}\n\
             networks: {{default: {{ipam: {{config: [{{subnet: 10.226.1.0/24}}]}}}}}}\n"
        );
        let project = Project::new("scaled-address", &file);
        for command in [["up", "-d", "--scale", "a=2"].as_slice(), &["scale", "a=2"]] {
            let (_, message) = project.fails(command);
            let expected =
                format!("service a has a `{what}` on network default, so it cannot have 2 containers");
            assert!(message.contains(&expected), "{message}");
        }
        project.assert_nothing_left();
    }
}

#[test]
fn addresses_names_and_hardware_addresses_by_choice() {
    let subnet = format!("10.231.{}", std::process::id() % 250);
    let six = format!("fd5a:{}", 1 + std::process::id() % 9999);
    let file = format!(
        r#"
services:
  fixed:
    x-rootfs: @busybox@
    command: sleep 1000
    networks:
      back:
        ipv4_address: {subnet}.77
        ipv6_address: {six}::5
        mac_address: "02:11:22:33:44:55"
        link_local_ips: [169.254.7.7]
  given: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [back], mac_address: "02:11:22:33:44:66" }}
networks:
  back:
    enable_ipv6: true
    driver_opts: {{ com.docker.network.driver.mtu: "1400", com.docker.network.container_iface_prefix: net }}
    ipam:
      config:
        - subnet: {subnet}.0/24
          gateway: {subnet}.254
          ip_range: {subnet}.64/28
          aux_addresses: {{ router: {subnet}.64 }}
        - subnet: {six}::/64
"#
    );
    let project = Project::new("chosen-addresses", &file);
    project.ok(&["up", "-d"]);
    let show = |service: &str| project.ok(&["exec", "-T", service, "ip", "addr", "show", "dev", "net0"]);
    let fixed = show("fixed");
    for wanted in [
        format!("inet {subnet}.77/24"),
        format!("inet6 {six}::5/64"),
        "02:11:22:33:44:55".to_owned(),
        "169.254.7.7/16".to_owned(),
        "mtu 1400".to_owned(),
    ] {
        assert!(fixed.contains(&wanted), "{wanted} in {fixed}");
    }
    let given = show("given");
    assert!(
        given.contains(&format!("inet {subnet}.65/24")) && given.contains("02:11:22:33:44:66"),
        "{given}"
    );
    let route = project.ok(&["exec", "-T", "given", "ip", "route"]);
    assert!(route.contains(&format!("default via {subnet}.254")), "{route}");
    let bridge = ip(&format!("addr show dev {}", names::bridge(&project.name, "back")));
    assert!(
        bridge.contains(&format!("{subnet}.254/24")) && bridge.contains(&format!("{six}::1/64")),
        "{bridge}"
    );
    // Made anew it has them again; nobody else's stack can have the subnet.
    project.ok(&["up", "-d", "--force-recreate"]);
    assert!(show("fixed").contains(&format!("{subnet}.77")));
    let other = Project::new("chosen-again", &file);
    let (_, message) = other.fails(&["up", "-d"]);
    let expected = format!(
        "error: the subnet {subnet}.0/24 of network {0}_back overlaps {subnet}.0/24 of network back of stack {1}
  --> compose.yaml:19:19
   |
19 |         - subnet: {subnet}.0/24
   |                   {2}
   |
   = help: give it another `subnet`, or none, which takes a free one
",
        other.name,
        project.name,
        "^".repeat(subnet.len() + 5)
    );
    assert!(message.ends_with(&expected), "{message}\nand not\n{expected}");
    other.assert_nothing_left();
    project.down();
}

#[test]
fn modes_without_a_network_of_ones_own() {
    let file = r#"
services:
  web:
    x-rootfs: @busybox@
    command: ["sh", "-c", "mkdir /www; echo hi > /www/index.html; exec httpd -f -p 80 -h /www"]
    x-probe: { tcp: 80 }
    extra_hosts: ["fixed=192.0.2.7", "up:host-gateway"]
    dns_search: example.test
    dns_opt: [use-vc]
  side: { x-rootfs: @busybox@, command: sleep 1000, network_mode: "service:web" }
  behind: { x-rootfs: @busybox@, command: sleep 1000, network_mode: "service:side" }
  host: { x-rootfs: @busybox@, command: sleep 1000, network_mode: host }
  none: { x-rootfs: @busybox@, command: sleep 1000, network_mode: none, dns: 192.0.2.53, dns_search: ., dns_opt: [use-vc] }
"#;
    let project = Project::new("modes", file);
    project.ok(&["up", "-d", "--wait"]);
    let asks = project.ok(&["exec", "-T", "none", "cat", "/etc/resolv.conf"]);
    assert_eq!(asks, "nameserver 192.0.2.53\noptions use-vc\n");
    let namespace = |service: &str| {
        let pid = project.field(service, "Pid").as_i64().unwrap();
        std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
    };
    assert_eq!(namespace("side"), namespace("web"));
    assert_eq!(namespace("host"), std::fs::read_link("/proc/self/ns/net").unwrap());
    assert!(namespace("none") != namespace("web") && namespace("none") != namespace("host"));
    assert_eq!(project.ok(&["exec", "-T", "side", "wget", "-q", "-O", "-", "http://127.0.0.1/"]), "hi\n");
    let links = project.ok(&["exec", "-T", "none", "ip", "addr"]);
    assert!(links.contains("127.0.0.1/8") && !links.contains("eth0"), "{links}");
    let name = text(&Command::new("hostname").output().unwrap().stdout);
    assert_eq!(project.ok(&["exec", "-T", "host", "hostname"]), name);
    // It calls itself what the other does, and asks where the other asks.
    assert_eq!(
        project.ok(&["exec", "-T", "side", "hostname"]),
        project.ok(&["exec", "-T", "web", "hostname"])
    );
    for (file, what) in
        [("hosts", "192.0.2.7\tfixed"), ("hosts", "\tup\n"), ("resolv.conf", "search example.test")]
    {
        let shown = |service: &str| project.ok(&["exec", "-T", service, "cat", &format!("/etc/{file}")]);
        assert_eq!([shown("side"), shown("behind")], [shown("web"), shown("web")]);
        assert!(shown("side").contains(what), "{}", shown("side"));
    }
    for service in ["side", "behind"] {
        project.ok(&["exec", "-T", service, "nslookup", "web."]);
    }
    // Restarted, it takes those along that share its namespace.
    let before = namespace("side");
    project.ok(&["restart", "web"]);
    assert_eq!(namespace("side"), namespace("web"));
    assert_ne!(namespace("side"), before);
    // Found again by another supervisor.
    project.kill_processes("compose-supervisor");
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(project.ok(&["exec", "-T", "side", "wget", "-q", "-O", "-", "http://web/"]), "hi\n");
    project.down();
}

/// A hardware address that is copied from another Docker is often that of an address which somebody gets here.
#[test]
fn nobody_gets_the_hardware_address_that_another_chooses() {
    let file = r#"
services:
  web: { x-rootfs: @busybox@, command: httpd -f -p 80 -h /etc, networks: { lan: { ipv4_address: 10.213.77.2 } }, x-probe: { tcp: 80 } }
  asks: { x-rootfs: @busybox@, command: sleep 1000, networks: [lan] }
LICENSED
networks: { lan: { ipam: { config: [{ subnet: 10.213.77.0/24 }] } } }
"#;
    let licensed = "  licensed: { x-rootfs: @busybox@, command: sleep 1000, networks: [lan], mac_address: '02:42:0a:d5:4d:02' }";
    let project = Project::new("licensed", &file.replace("LICENSED", ""));
    let mac = |service: &str| project.ok(&["exec", "-T", service, "cat", "/sys/class/net/eth0/address"]);
    project.ok(&["up", "-d", "--wait"]);
    assert_eq!(mac("web"), "02:42:0a:d5:4d:02\n");
    // Who runs is told of, and has another once it is made anew.
    project.write("compose.yaml", &file.replace("LICENSED", licensed));
    let told = text(&project.run(&["up", "-d", "--wait"]).stderr);
    assert!(told.contains("its `mac_address` 02:42:0a:d5:4d:02 is that of"), "{told}");
    let told = text(&project.run(&["up", "-d", "--wait", "--force-recreate", "web"]).stderr);
    assert!(!told.contains("mac_address"), "{told}");
    assert_eq!([mac("licensed"), mac("web")], ["02:42:0a:d5:4d:02\n", "06:42:0a:d5:4d:02\n"]);
    for _ in 0..3 {
        project.ok(&["exec", "-T", "licensed", "wget", "-q", "-O", "/dev/null", "http://web/passwd"]);
        project.ok(&["exec", "-T", "asks", "ping", "-c", "1", "licensed"]);
        project.ok(&["exec", "-T", "asks", "wget", "-q", "-O", "/dev/null", "http://web/passwd"]);
    }
    project.down();
}

/// As Docker Engine has it: `network_mode` takes the name of a network of the host, and two external names are its own.
#[test]
fn networks_of_the_host_by_the_names_that_docker_engine_takes() {
    let project = Project::new("by-mode", "services: {}\n");
    let network = format!("{}-shared", project.name);
    project.ok(&["network", "create", &network]);
    let file = format!(
        "services:\n  web: {{ x-rootfs: @busybox@, command: httpd -f -p 80 -h /etc, networks: [shared], x-probe: {{ tcp: 80 }} }}\n  \
         asks: {{ x-rootfs: @busybox@, command: sleep 1000, network_mode: {network} }}\n  \
         host: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [outside] }}\n  \
         none: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [nothing] }}\nnetworks:\n  \
         shared: {{ external: true, name: {network} }}\n  outside: {{ external: true, name: host }}\n  \
         nothing: {{ external: true, name: none }}\n"
    );
    project.write("compose.yaml", &file);
    project.ok(&["up", "-d", "--wait"]);
    project.ok(&["exec", "-T", "asks", "wget", "-q", "-O", "/dev/null", "http://web/passwd"]);
    let namespace = |service: &str| {
        let pid = project.field(service, "Pid").as_i64().unwrap();
        std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
    };
    assert_eq!(namespace("host"), std::fs::read_link("/proc/self/ns/net").unwrap());
    let links = project.ok(&["exec", "-T", "none", "ip", "addr"]);
    assert!(links.contains("127.0.0.1/8") && !links.contains("eth0"), "{links}");
    assert!(project.ok(&["up", "--dry-run"]).contains("nothing to do"));
    project.write("compose.yaml", &file.replace(&format!("network_mode: {network}"), "network_mode: nobody"));
    let refused = project.run(&["up", "-d"]);
    let why = text(&refused.stderr);
    assert!(!refused.status.success() && why.contains("`nobody` is not a value of `network_mode`"), "{why}");
    for predefined in ["host", "bridge", "none", "default"] {
        let refused = project.run(&["network", "create", predefined]);
        let why = text(&refused.stderr);
        assert!(!refused.status.success() && why.contains("choose another name"), "{why}");
    }
    project.ok(&["down"]);
    project.ok(&["network", "rm", &network]);
    project.down();
}

#[test]
fn a_container_that_comes_back_has_its_network_again_with_those_who_have_joined_it() {
    let file = r#"
services:
  web:
    x-rootfs: @busybox@
    command:
      - sh
      - -c
      - n=$$(cat /n 2>/dev/null || echo 0); echo $$((n+1)) > /n; echo run $$n; mkdir -p /www; echo hi > /www/index.html;
        exec httpd -f -p 80 -h /www
    restart: always
    x-probe: { tcp: 80 }
  side: { x-rootfs: @busybox@, command: sleep 1000, network_mode: "service:web" }
  client: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("comes-back", file);
    project.ok(&["up", "-d", "--wait"]);
    let pid = |service: &str| i32::try_from(project.field(service, "Pid").as_i64().unwrap()).unwrap();
    let namespace = |service: &str| std::fs::read_link(format!("/proc/{}/ns/net", pid(service))).unwrap();
    let (side, before, address) = (pid("side"), namespace("side"), project.field("web", "Address"));
    for run in 1..3 {
        if run == 2 {
            // Who has joined whom is found again.
            project.kill_processes("compose-supervisor");
        }
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid("web")), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        project.follow_until("web", &format!("run {run}"));
        project.ok(&["up", "-d", "--wait"]);
        assert_eq!(
            (pid("side"), namespace("side"), namespace("web")),
            (side, before.clone(), before.clone())
        );
        assert_eq!(project.field("web", "Address"), address);
        assert_eq!(project.ok(&["exec", "-T", "side", "wget", "-q", "-O", "-", "http://127.0.0.1/"]), "hi\n");
        for client in ["side", "client"] {
            assert_eq!(
                project.ok(&["exec", "-T", client, "wget", "-q", "-O", "-", "http://web/"]),
                "hi\n",
                "{client}"
            );
        }
    }
    // Without anybody in it there is no reason to.
    project.ok(&["stop", "-t", "0", "side"]);
    project.ok(&["restart", "-t", "0", "--no-deps", "web"]);
    assert_ne!(namespace("web"), before);
    project.down();
}

#[test]
fn what_comes_back_into_a_namespace_of_others_leaves_the_host_as_it_is() {
    let file = r#"
services:
  x: { x-rootfs: @busybox@, command: [sh, -c, "mkdir -p /www; echo hi > /www/index.html; exec httpd -f -p 80 -h /www"], x-probe: { tcp: 80 } }
  s: { x-rootfs: @busybox@, command: sleep 1000, network_mode: "service:x" }
  client: { x-rootfs: @busybox@, command: sleep 1000 }
"#;
    let project = Project::new("back-into", file);
    let had_eth0 = std::path::Path::new("/sys/class/net/eth0").exists();
    project.ok(&["up", "-d", "--wait"]);
    for _ in 0..3 {
        let pid = i32::try_from(project.field("x", "Pid").as_i64().unwrap()).unwrap();
        project.kill_processes("compose-keeper");
        project.kill_processes("compose-supervisor");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL).unwrap();
        project.ok(&["up", "-d", "--wait"]);
        project.ok(&["exec", "-T", "x", "ip", "link", "show", "dev", "eth0"]);
        for client in ["s", "client"] {
            assert_eq!(project.ok(&["exec", "-T", client, "wget", "-q", "-O", "-", "http://x/"]), "hi\n");
        }
        assert_eq!(std::path::Path::new("/sys/class/net/eth0").exists(), had_eth0, "the host is plugged in");
    }
    project.down();
}

#[test]
fn a_network_is_not_made_anew_under_a_container_of_run() {
    let file = |mtu: u32| {
        format!(
            "services: {{ a: {{ x-rootfs: @busybox@, command: sleep 1000 }} }}\nnetworks: {{ default: {{ driver_opts: {{ \
             com.docker.network.driver.mtu: {mtu} }} }} }}\n"
        )
    };
    let project = Project::new("run-on", &file(1400));
    project.ok(&["up", "-d"]);
    let run = project.ok(&["run", "-d", "a", "sleep", "1000"]);
    project.write("compose.yaml", &file(1300));
    let (_, message) = project.fails(&["up", "-d"]);
    assert!(message.contains("has active endpoints") && message.contains("-run-"), "{message} {run}");
    project.down();
}

#[test]
fn a_route_that_has_come_up_since_moves_no_network() {
    let file = "services: { a: { x-rootfs: @busybox@, command: sleep 1000 } }\n";
    let project = Project::new("vpn", file);
    project.ok(&["up", "-d"]);
    let address: std::net::Ipv4Addr = project.field("a", "Address").as_str().unwrap().parse().unwrap();
    let bridge = names::bridge(&project.name, "default");
    // A way to one of its addresses, over the loopback: what no other stack minds.
    let route = format!("{}/32", std::net::Ipv4Addr::from_bits(address.to_bits() | 0x2fe));
    let ip = |what: &str| Command::new("ip").args(["route", what, &route, "dev", "lo"]).status().unwrap();
    assert!(ip("add").success());
    project.kill_processes("compose-supervisor");
    let up = project.run(&["up", "-d"]);
    assert!(ip("del").success());
    assert!(up.status.success(), "{}", text(&up.stderr));
    assert_eq!(project.field("a", "Address").as_str(), Some(address.to_string().as_str()));
    let seen =
        text(&Command::new("ip").args(["-4", "addr", "show", "dev", &bridge]).output().unwrap().stdout);
    let octets = address.octets();
    assert!(seen.contains(&format!("inet {}.{}.", octets[0], octets[1])), "{seen}");
    project.ok(&["exec", "-T", "a", "nslookup", "a"]);
    project.down();
}

#[test]
fn an_isolated_network_has_nothing_of_the_hosts() {
    let file = r#"
services:
  a: { x-rootfs: @busybox@, command: sleep 1000, networks: [alone] }
  b: { x-rootfs: @busybox@, command: sleep 1000, networks: [alone] }
networks:
  alone:
    internal: true
    enable_ipv6: true
    driver_opts:
      com.docker.network.bridge.gateway_mode_ipv4: isolated
      com.docker.network.bridge.gateway_mode_ipv6: isolated
"#;
    let project = Project::new("isolated", file);
    project.ok(&["up", "-d"]);
    let bridge = composer_network::names::bridge(&project.name, "alone");
    let addresses =
        std::process::Command::new("ip").args(["-br", "addr", "show", "dev", &bridge]).output().unwrap();
    let addresses = String::from_utf8(addresses.stdout).unwrap();
    assert!(addresses.contains(&bridge) && !addresses.contains('/'), "{addresses}");
    project.ok(&["exec", "-T", "a", "ping", "-c", "1", "b"]);
    project.ok(&["exec", "-T", "a", "ping", "-6", "-c", "1", "b"]);
    // With an address of it again, in place of it.
    project.write("compose.yaml", &file.replace("gateway_mode_ipv4: isolated", "gateway_mode_ipv4: nat"));
    project.ok(&["up", "-d"]);
    let shown = project.ok(&["exec", "-T", "a", "sh", "-c", "ip -4 addr show dev eth0; ip -4 neigh"]);
    let addresses = std::process::Command::new("ip")
        .args(["-4", "-br", "addr", "show", "dev", &bridge])
        .output()
        .unwrap();
    assert!(String::from_utf8(addresses.stdout).unwrap().contains('/'), "{shown}");
    project.down();
}

#[test]
fn a_bridge_that_gets_no_address_keeps_the_one_that_somebody_gives_it() {
    let net = format!("10.78.{}", std::process::id() % 250);
    let file = r#"
services:
  a: { x-rootfs: @busybox@, command: sleep 1000, networks: [lan] }
  b: { x-rootfs: @busybox@, command: sleep 1000, networks: [lan] }
networks:
  lan:
    enable_ipv6: true
    driver_opts: { com.docker.network.bridge.inhibit_ipv4: "true" }
    ipam: { config: [{ subnet: @net@.0/24, gateway: @net@.254 }] }
"#
    .replace("@net@", &net);
    let project = Project::new("inhibited", &file);
    project.ok(&["up", "-d"]);
    let bridge = names::bridge(&project.name, "lan");
    let shown = |family: &str| ip(&format!("{family} -br addr show dev {bridge} scope global"));
    assert!(!shown("-4").contains('/'), "{}", shown("-4"));
    assert!(shown("-6").contains('/'), "{}", shown("-6"));
    project.ok(&["exec", "-T", "a", "ping", "-c", "1", "b"]);
    let routes = project.ok(&["exec", "-T", "a", "ip", "route"]);
    assert!(routes.contains(&format!("default via {net}.254")), "{routes}");
    // The host knows no way to what it publishes there, and says so.
    let web =
        "a: { x-rootfs: @busybox@, command: httpd -f -p 80, x-probe: { tcp: 80 }, ports: [\"127.0.0.1::80\"]";
    project.write("compose.yaml", &file.replace("a: { x-rootfs: @busybox@, command: sleep 1000", web));
    let ran = project.run(&["up", "-d", "--wait", "-t", "1"]);
    let said = text(&ran.stderr);
    assert!(ran.status.success(), "{said}");
    assert!(
        said.contains("no port of `a` is reached over IPv4") && said.contains("compose.yaml:3:"),
        "{said}"
    );
    let at: SocketAddr = project.ok(&["port", "a", "80"]).trim().parse().unwrap();
    let is_reached = |within| TcpStream::connect_timeout(&at, within).is_ok();
    assert!(!is_reached(Duration::from_millis(500)));
    // Whoever is the gateway there may be this host after all.
    ip(&format!("addr add {net}.254/24 dev {bridge}"));
    assert!(is_reached(Duration::from_secs(20)));
    project.ok(&["exec", "-T", "a", "ping", "-c", "1", &format!("{net}.254")]);
    project.ok(&["up", "-d", "--force-recreate", "-t", "1"]);
    assert!(shown("-4").contains(&format!("{net}.254/24")), "{}", shown("-4"));
    project.down();
}

#[test]
fn an_interface_has_the_parameters_that_its_network_is_given_for_it() {
    let file = r#"
services:
  a:
    x-rootfs: @busybox@
    command: sleep 1000
    sysctls: { net.ipv4.conf.all.log_martians: 0 }
    networks:
      lan:
        interface_name: lan0.7
        driver_opts:
          com.docker.network.endpoint.sysctls: net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.ifname.hop_limit=7
      other:
networks:
  lan: { enable_ipv6: true }
  other:
"#;
    let project = Project::new("interface-sysctls", file);
    project.ok(&["up", "-d"]);
    let values = |interface: &str| {
        let read = format!(
            "cat /proc/sys/net/ipv4/conf/{interface}/log_martians /proc/sys/net/ipv6/conf/{interface}/hop_limit"
        );
        project.ok(&["exec", "-T", "a", "sh", "-c", &read])
    };
    assert_eq!(values("lan0.7"), "1\n7\n");
    assert_eq!(values("eth0"), "0\n64\n");
    // A link that is made anew has them again.
    ip(&format!("link del {}", names::veth(&project.name, &format!("{}-a-1", project.name), "lan")));
    project.ok(&["up", "-d"]);
    assert_eq!(values("lan0.7"), "1\n7\n");
    project.write("compose.yaml", &file.replace("IFNAME.log_martians", "IFNAME.no_such"));
    let (_, error) = project.fails(&["up", "-d"]);
    assert!(
        error.contains("net/ipv4/conf/lan0.7/no_such") && error.contains("compose.yaml:11:48"),
        "{error}"
    );
    project.down();
}

#[test]
fn another_stacks_container_lends_its_network() {
    let lender = Project::new("lender", "services: { a: { x-rootfs: @busybox@, command: sleep 1000 } }\n");
    lender.ok(&["up", "-d"]);
    let file = format!(
        "services:\n  b: {{ x-rootfs: @busybox@, command: sleep 1000, network_mode: 'container:{}-a-1' }}\n",
        lender.name
    );
    // By its id as well, as a script has it.
    let id = lender.ok(&["ps", "-q", "a"]);
    let by_id = Project::new("by-id", &file.replace(&format!("{}-a-1", lender.name), id.trim()));
    by_id.ok(&["up", "-d"]);
    assert_eq!(by_id.ok(&["exec", "-T", "b", "hostname"]), lender.ok(&["exec", "-T", "a", "hostname"]));
    by_id.down();
    let borrower = Project::new("borrower", &file);
    borrower.ok(&["up", "-d"]);
    let address = lender.field("a", "Address");
    let seen = borrower.ok(&["exec", "-T", "b", "ip", "addr"]);
    assert!(seen.contains(&format!("inet {}/", address.as_str().unwrap())), "{seen}");
    // Whose program ends comes back into the network that others are still in.
    let network = |project: &Project, service: &str| {
        let pid = project.field(service, "Pid");
        std::fs::read_link(format!("/proc/{pid}/ns/net")).unwrap()
    };
    for verb in ["restart -t 0", "up -d --force-recreate -t 0", "down -t 0; up -d"] {
        for verb in verb.split("; ") {
            lender.ok(&verb.split(' ').collect::<Vec<_>>());
        }
        assert_eq!(network(&lender, "a"), network(&borrower, "b"), "after {verb:?}");
        let address = lender.field("a", "Address");
        let seen = borrower.ok(&["exec", "-T", "b", "ip", "addr"]);
        assert!(seen.contains(&format!("inet {}/", address.as_str().unwrap())), "{seen}");
        borrower.ok(&["exec", "-T", "b", "nslookup", "a"]);
    }
    borrower.ok(&["stop"]);
    lender.ok(&["stop"]);
    let (_, message) = borrower.fails(&["start"]);
    assert!(message.contains("which does not run"), "{message}");
    borrower.down();
    lender.down();
}

#[test]
fn parameters_are_set_in_the_namespace_alone() {
    let file = r#"
services:
  a: { x-rootfs: @busybox@, command: sleep 1000, sysctls: { net.core.somaxconn: 77, net.ipv4.ip_forward: "1" } }
  b: { x-rootfs: @busybox@, command: sleep 1000, network_mode: none, sysctls: [net.core.somaxconn=78] }
"#;
    let project = Project::new("net-sysctls", file);
    let host = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    project.ok(&["up", "-d"]);
    let read = |service: &str| project.ok(&["exec", "-T", service, "cat", "/proc/sys/net/core/somaxconn"]);
    assert_eq!((read("a").trim(), read("b").trim()), ("77", "78"));
    assert_eq!(project.ok(&["exec", "-T", "a", "cat", "/proc/sys/net/ipv4/ip_forward"]), "1\n");
    assert_eq!(std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap(), host);
    project.down();
}

#[test]
fn a_bridge_and_a_link_that_somebody_deleted_are_mended() {
    let project = Project::new("mended", TWO);
    project.ok(&["up", "-d", "--wait"]);
    let (front, back) = (names::bridge(&project.name, "front"), names::bridge(&project.name, "back"));
    let pids = |project: &Project| project.ok(&["ps", "--format", "json"]).matches("\"Pid\"").count();
    let before = (project.field("web", "Pid"), pids(&project));
    ip(&format!("link del {front}"));
    ip(&format!("link del {}", names::veth(&project.name, &format!("{}-web-1", project.name), "back")));
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains("set up network front: it does not exist"), "{plan}");
    assert!(plan.contains(&format!("plug in {}-web-1: a link of it is gone", project.name)), "{plan}");
    project.ok(&["up", "-d"]);
    assert!(exists(&front) && exists(&back));
    for client in ["client", "store"] {
        let page = project.ok(&["exec", "-T", client, "wget", "-q", "-O", "-", "http://web/"]);
        assert_eq!(page, "hello\n", "{client}");
    }
    assert_eq!((project.field("web", "Pid"), pids(&project)), before, "nobody was restarted");
    assert!(project.ok(&["up", "-d", "--dry-run"]).starts_with("nothing to do"));
    project.down();
}

#[test]
fn a_link_that_somebody_set_down_or_renamed_is_mended() {
    let project = Project::new("set-down", TWO);
    project.ok(&["up", "-d", "--wait"]);
    let web = format!("{}-web-1", project.name);
    let (veth, other) = (names::veth(&project.name, &web, "front"), format!("ve{}", std::process::id()));
    for renames in [false, true] {
        ip(&format!("link set {veth} down"));
        if renames {
            ip(&format!("link set {veth} name {other}"));
            ip(&format!("link set {other} up"));
        }
        let plan = project.ok(&["up", "-d", "--dry-run"]);
        assert!(plan.contains(&format!("plug in {web}: a link of it is gone or down")), "{plan}");
        project.ok(&["up", "-d"]);
        assert!(exists(&veth) && !exists(&other));
        let page = project.ok(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://web/"]);
        assert_eq!(page, "hello\n", "{renames}");
        assert!(project.ok(&["up", "-d", "--dry-run"]).starts_with("nothing to do"));
    }
    project.down();
}

#[test]
fn a_bridge_that_somebody_renamed_is_mended_and_goes() {
    let project = Project::new("renamed", TWO);
    project.ok(&["up", "-d", "--wait"]);
    let front = names::bridge(&project.name, "front");
    let (other, stranger) = (format!("re{}", std::process::id()), format!("st{}", std::process::id()));
    let rename = || {
        ip(&format!("link set {front} down"));
        ip(&format!("link set {front} name {other}"));
        ip(&format!("link set {other} up"));
    };
    rename();
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains("set up network front: it does not exist"), "{plan}");
    assert!(plan.contains(&format!("plug in {}-web-1: a link of it is gone", project.name)), "{plan}");
    project.ok(&["up", "-d"]);
    assert!(exists(&front) && !exists(&other));
    let page = project.ok(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://web/"]);
    assert_eq!(page, "hello\n");
    assert!(project.ok(&["up", "-d", "--dry-run"]).starts_with("nothing to do"));
    // One that goes as its network is another now.
    rename();
    project.write(
        "compose.yaml",
        &TWO.replace("front:\n", "front: { driver_opts: { com.docker.network.driver.mtu: \"1400\" } }\n"),
    );
    project.ok(&["up", "-d"]);
    assert!(exists(&front) && !exists(&other));
    rename();
    let group = std::fs::read_to_string(format!("/sys/class/net/{other}/netdev_group")).unwrap();
    ip(&format!("link add {stranger} group {} type bridge", group.trim()));
    let told = project.run(&["down"]);
    let stays = exists(&stranger);
    ip(&format!("link del {stranger}"));
    assert!(stays && told.status.success() && !exists(&other), "{}", text(&told.stderr));
    assert!(text(&told.stderr).contains(&format!("interface {stranger} stays")), "{}", text(&told.stderr));
    project.down();
}

#[test]
fn a_network_of_another_configuration_takes_its_containers_along() {
    let project = Project::new("changed-network", TWO);
    project.ok(&["up", "-d"]);
    let pid = |service: &str| project.field(service, "Pid").as_i64().unwrap();
    let before = [pid("web"), pid("client"), pid("store")];
    project.write("compose.yaml", &TWO.replace("  front:\n", "  front: { labels: { a: b } }\n"));
    project.ok(&["up", "-d"]);
    assert_eq!([pid("web"), pid("client"), pid("store")], before, "labels are for people");
    let changed = "  front: { driver_opts: { com.docker.network.driver.mtu: \"1300\" } }\n";
    project.write("compose.yaml", &TWO.replace("  front:\n", changed));
    let plan = project.ok(&["up", "-d", "--dry-run"]);
    assert!(plan.contains("set up network front: its configuration has changed"), "{plan}");
    project.ok(&["up", "-d", "--wait"]);
    assert_ne!(pid("web"), before[0]);
    assert_ne!(pid("client"), before[1]);
    assert_eq!(pid("store"), before[2]);
    assert!(project.ok(&["exec", "-T", "client", "ip", "link"]).contains("mtu 1300"));
    assert_eq!(project.ok(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://web/"]), "hello\n");
    project.down();
}

#[test]
fn a_supervisor_that_was_killed_goes_on_with_all_networks() {
    let project = Project::new("networks-crash", TWO);
    project.ok(&["up", "-d", "--wait"]);
    project.kill_processes("compose-supervisor");
    project.ok(&["ps"]);
    for client in ["client", "store"] {
        let page = project.ok(&["exec", "-T", client, "wget", "-q", "-O", "-", "http://web/"]);
        assert_eq!(page, "hello\n", "{client}");
    }
    assert!(project.ok(&["up", "-d", "--dry-run"]).starts_with("nothing to do"));
    // Of both, so that the next command adopts what runs.
    project.kill_processes("compose-keeper");
    project.kill_processes("compose-supervisor");
    assert_eq!(project.ok(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://site/"]), "hello\n");
    project.down();
}

#[test]
fn what_is_anothers_is_told_with_its_place_before_anything_is_made() {
    let third = std::process::id() % 250;
    let network = |rest: &str| {
        format!(
            "services:\n  web:\n    x-rootfs: @busybox@\n    command: sleep 1000\n    networks: [lan]\nnetworks:\n  lan:\n    {rest}\n"
        )
    };
    let pool = |net: &str| format!("ipam: {{config: [{{subnet: {net}}}]}}");
    let (bridge, subnet) = (format!("cmp{}", std::process::id()), format!("10.243.{third}.0/24"));
    let named = format!("driver_opts: {{com.docker.network.bridge.name: {bridge}}}");
    let holder = Project::new("has-it", &network(&format!("{named}\n    {}", pool(&subnet))));
    holder.ok(&["up", "-d"]);
    let part = pool(&format!("10.243.{third}.128/25"));
    let overlap =
        format!("overlaps {subnet} of network lan of stack {}\n --> compose.yaml:8:30\n", holder.name);
    let foreign = format!(
        "interface {bridge} that is not this network's: give the bridge another name\n --> compose.yaml:8:51\n"
    );
    let absent =
        "is that of container no-such-1, which there is none of on this host\n --> compose.yaml:5:19\n";
    let joins = network("").replace("networks: [lan]", "network_mode: container:no-such-1");
    for (file, expected) in [(network(&part), overlap.as_str()), (network(&named), &foreign), (joins, absent)]
    {
        let project = Project::new("wants-it", &file);
        let (code, message) = project.fails(&["up", "-d"]);
        assert!(code == 1 && message.contains(expected), "{message}\nand not\n{expected}");
        assert!(message.starts_with("error: "), "something was made: {message}");
        project.assert_nothing_left();
    }
    // Of a network that is made anew it is not in the way, of one that stays it is.
    holder.write("compose.yaml", &network(&part));
    holder.ok(&["up", "-d", "-t", "0"]);
    holder.write("compose.yaml", &network(&part).replace("lan", "other"));
    let (_, message) = holder.fails(&["up", "-d", "-t", "0"]);
    assert!(message.starts_with("error: ") && message.contains("of network lan of stack"), "{message}");
    holder.down();
}
