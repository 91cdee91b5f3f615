//! Networks on an interface of the host's. Each test has a host of its own, with a cable to a machine outside.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::namespace::{Namespace, ip, output};
use crate::stack::{Project, ended, pidfd};

/// Beyond any wait for what has to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A host with the interface `lan0`, and who is at the other end of its cable.
struct World {
    host: Namespace,
    outside: Namespace,
    /// The first three numbers of the addresses on the cable: the registry of subnets is the machine's.
    lan: String,
}

impl World {
    fn new(number: u32) -> Self {
        let (host, outside) = (Namespace::unshared(), Namespace::unshared());
        let lan = format!("10.{number}.{}", std::process::id() % 250);
        let peer = outside.path();
        host.inside(|| {
            ip(&format!("link add lan0 type veth peer name eth0 netns {peer}"));
            ip(&format!("address add {lan}.9/24 dev lan0"));
            ip("link set lan0 up");
        });
        outside.inside(|| {
            ip(&format!("address add {lan}.1/24 dev eth0"));
            ip("link set eth0 up");
            // Refused, which it is once both ends of the cable are seen to be in.
            TcpStream::connect_timeout(&at(&lan, 9, 1), PATIENCE).unwrap_err();
        });
        Self { host, outside, lan }
    }

    /// What a web server there says to the machine outside.
    fn page(&self, last: u8) -> String {
        self.outside.inside(|| page(at(&self.lan, last, 80)))
    }

    /// The host's interfaces.
    fn interfaces(&self) -> String {
        self.host.inside(|| output("ip", "-br link"))
    }

    fn down(&self, project: Project) {
        self.host.inside(|| project.down());
        let left = self.interfaces();
        assert!(left.lines().all(|line| line.starts_with("lo") || line.starts_with("lan0")), "{left}");
        assert_eq!(self.host.inside(|| output("nft", "list ruleset")), "", "rules are left");
    }
}

fn at(lan: &str, last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(format!("{lan}.{last}").parse::<IpAddr>().unwrap(), port)
}

fn page(server: SocketAddr) -> String {
    let begin = Instant::now();
    let mut stream = loop {
        match TcpStream::connect_timeout(&server, PATIENCE) {
            // Its program runs, but may not listen yet.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused && begin.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(20));
            }
            other => break other.unwrap(),
        }
    };
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()
}

const WEB: &str =
    r#"["sh", "-c", "mkdir -p /www; echo hello > /www/index.html; exec httpd -f -p 80 -h /www"]"#;

fn lan_file(lan: &str) -> String {
    format!(
        r#"
services:
  web:
    x-rootfs: @busybox@
    command: {WEB}
    ports: ["80:80"]
    x-probe: {{ tcp: 80 }}
    networks: {{ default: , lan: {{ ipv4_address: {lan}.20 }} }}
  client: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [lan] }}
  store: {{ x-rootfs: @busybox@, command: sleep 1000 }}
networks:
  lan:
    driver: macvlan
    driver_opts: {{ parent: lan0 }}
    ipam: {{ config: [{{ subnet: {lan}.0/24, gateway: {lan}.1, ip_range: {lan}.64/28 }}] }}
"#
    )
}

#[test]
fn services_are_on_the_network_of_the_hosts_interface() {
    let world = World::new(237);
    let lan = &world.lan;
    let project = Project::new("macvlan", &lan_file(lan));
    world.host.inside(|| project.ok(&["up", "-d", "--wait"]));
    assert_eq!(world.page(20), "hello\n");
    // By the bridge the host's port leads to it. (Who is on the network of its other interface is answered by that.)
    assert_eq!(world.host.inside(|| page(SocketAddr::from(([127, 0, 0, 1], 80)))), "hello\n");
    let run = |args: &[&str]| world.host.inside(|| project.ok(args));
    let route = run(&["exec", "-T", "client", "ip", "route"]);
    assert!(route.contains(&format!("default via {lan}.1 dev eth0")), "{route}");
    let address = run(&["exec", "-T", "client", "ip", "addr", "show", "dev", "eth0"]);
    assert!(address.contains(&format!("inet {lan}.64/24")), "{address}");
    let outside = format!("{lan}.1");
    assert!(run(&["exec", "-T", "client", "ping", "-c", "1", &outside]).contains("1 packets received"));
    // Names on either network.
    for client in ["client", "store"] {
        assert_eq!(run(&["exec", "-T", client, "wget", "-q", "-O", "-", "http://web/"]), "hello\n");
    }
    let found = run(&["exec", "-T", "client", "nslookup", "web"]);
    assert!(found.contains(&format!("{lan}.20")), "{found}");
    let shown = run(&["network", "inspect", &format!("{}_lan", project.name)]);
    assert!(shown.contains(r#""Driver": "macvlan""#) && shown.contains(r#""parent": "lan0""#), "{shown}");
    world.down(project);
}

/// Whether the kernel makes ipvlan interfaces. Debian's, in which the tests run as well, does.
fn has_ipvlan() -> bool {
    Namespace::unshared().inside(|| {
        ip("link add one type veth peer name other");
        let made =
            std::process::Command::new("ip").args(["link", "add", "link", "one", "type", "ipvlan"]).output();
        made.unwrap().status.success()
    })
}

#[test]
fn services_have_addresses_of_their_own_on_the_hosts_interface_by_ipvlan() {
    let world = World::new(244);
    let lan = &world.lan;
    let file = |mode: &str| {
        let driver = format!("driver: ipvlan\n    driver_opts: {{ parent: lan0, ipvlan_mode: {mode} }}");
        lan_file(lan).replace("driver: macvlan\n    driver_opts: { parent: lan0 }", &driver)
    };
    let project = Project::new("ipvlan", &file("l2"));
    if !has_ipvlan() {
        let (_, message) = world.host.inside(|| project.fails(&["up", "-d"]));
        // At its line, once, and before anything is made.
        let why = "the kernel has no ipvlan: load it with `modprobe ipvlan`, or use `driver: macvlan`";
        assert!(message.starts_with("error: ") && message.matches(why).count() == 1, "{message}");
        assert!(message.contains("    driver: ipvlan\n"), "{message}");
        let create = ["network", "create", "-d", "ipvlan", "-o", "parent=lan0", "no-ipvlan"];
        let (_, message) = world.host.inside(|| project.fails(&create));
        assert!(message.contains(why), "{message}");
        project.assert_nothing_left();
        return;
    }
    let run = |args: &[&str]| world.host.inside(|| project.ok(args));
    for mode in ["l2", "l3", "l3s"] {
        project.write("compose.yaml", &file(mode));
        run(&["up", "-d", "--wait", "-t", "0"]);
        let is_routed = mode != "l2";
        if is_routed && mode == "l3" {
            // Nobody asks for hardware addresses there: others are told the way.
            world.outside.inside(|| {
                ip("neigh flush all");
                ip(&format!("route add {lan}.20/32 via {lan}.9"));
                ip(&format!("route add {lan}.64/28 via {lan}.9"));
            });
        }
        assert_eq!(world.page(20), "hello\n", "{mode}");
        let link = run(&["exec", "-T", "client", "ip", "link", "show", "dev", "eth0"]);
        let parent = world.host.inside(|| output("ip", "-br link show dev lan0"));
        let mac = parent.split_whitespace().nth(2).unwrap();
        assert!(link.contains(mac), "{mode}: {link} has not {mac}");
        let route = run(&["exec", "-T", "client", "ip", "route"]);
        let way =
            if is_routed { "default dev eth0".to_owned() } else { format!("default via {lan}.1 dev eth0") };
        assert!(route.contains(&way), "{mode}: {route}");
        let outside = format!("{lan}.1");
        let ping = run(&["exec", "-T", "client", "ping", "-c", "1", &outside]);
        assert!(ping.contains("1 packets received"), "{mode}: {ping}");
        for client in ["client", "store"] {
            let page = run(&["exec", "-T", client, "wget", "-q", "-O", "-", "http://web/"]);
            assert_eq!(page, "hello\n", "{mode} from {client}");
        }
        run(&["restart", "-t", "0", "web"]);
        run(&["up", "-d", "--wait"]);
        assert_eq!(world.page(20), "hello\n", "{mode}, again");
    }
    let shown = run(&["network", "inspect", &format!("{}_lan", project.name)]);
    assert!(shown.contains(r#""Driver": "ipvlan""#) && shown.contains(r#""ipvlan_mode": "l3s""#), "{shown}");
    // What is deleted is brought back, and what cannot be shared is told of.
    let pid = world.host.inside(|| project.field("web", "Pid").as_i64().unwrap());
    output("nsenter", &format!("-t {pid} -n ip link del eth1"));
    run(&["up", "-d"]);
    assert_eq!(world.page(20), "hello\n", "mended");
    let other = Project::new(
        "ipvlan-beside",
        "services: { a: { x-rootfs: @busybox@, command: sleep 1000, networks: [lan] } }\n\
         networks: { lan: { driver: macvlan, driver_opts: { parent: lan0 } } }\n",
    );
    let (_, message) = world.host.inside(|| other.fails(&["up", "-d"]));
    assert!(message.contains("macvlan and ipvlan cannot share it"), "{message}");
    world.host.inside(|| other.down());
    world.down(project);
}

#[test]
fn an_address_on_the_lan_is_there_again_at_once() {
    let world = World::new(238);
    let project = Project::new("macvlan-again", &lan_file(&world.lan));
    let run = |args: &[&str]| world.host.inside(|| project.ok(args));
    let wait = || run(&["up", "-d", "--wait"]);
    wait();
    for verb in [&["restart", "-t", "0", "web"][..], &["up", "-d", "--force-recreate", "-t", "0"]] {
        run(verb);
        wait();
        assert_eq!(world.page(20), "hello\n", "after {verb:?}");
    }
    // A supervisor that comes later takes the interfaces up, and removes them with their container.
    for victims in [&["compose-supervisor"][..], &["compose-keeper", "compose-supervisor"]] {
        victims.iter().for_each(|victim| project.kill_processes(victim));
        assert!(run(&["up", "-d", "--dry-run"]).starts_with("nothing to do"), "after {victims:?}");
        run(&["restart", "-t", "0", "web"]);
        wait();
        assert_eq!(world.page(20), "hello\n", "after {victims:?}");
    }
    // A program that ends while there is no supervisor, or a new one is just coming.
    let pid = world.host.inside(|| project.field("web", "Pid").as_i64().unwrap());
    let web = pidfd(i32::try_from(pid).unwrap());
    project.kill_processes("compose-supervisor");
    output("kill", &format!("-KILL {pid}"));
    ended(&web);
    wait();
    assert_eq!(world.page(20), "hello\n", "after an end that nobody saw");
    run(&["down", "-t", "0"]);
    wait();
    assert_eq!(world.page(20), "hello\n", "after down");
    world.down(project);
}

#[test]
fn an_interface_that_somebody_deleted_is_mended() {
    let world = World::new(239);
    let project = Project::new("macvlan-mended", &lan_file(&world.lan));
    let run = |args: &[&str]| world.host.inside(|| project.ok(args));
    run(&["up", "-d", "--wait"]);
    let pid = |service: &str| world.host.inside(|| project.field(service, "Pid").as_i64().unwrap());
    let before = (pid("web"), pid("client"));
    output("nsenter", &format!("-t {} -n ip link del eth1", before.0));
    let plan = run(&["up", "-d", "--dry-run"]);
    assert!(plan.contains(&format!("plug in {}-web-1: a link of it is gone", project.name)), "{plan}");
    run(&["up", "-d"]);
    assert_eq!(world.page(20), "hello\n");
    assert_eq!((pid("web"), pid("client")), before, "nobody was restarted");
    world.down(project);
}

#[test]
fn an_interface_that_is_down_and_a_subnet_of_two_are_told() {
    let world = World::new(242);
    let lan = &world.lan;
    let file = format!(
        "services: {{ a: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [lan] }} }}\n\
         networks:\n  lan:\n    driver: macvlan\n    driver_opts: {{ parent: lan0 }}\n    \
         ipam: {{ config: [{{ subnet: {lan}.0/24, gateway: {lan}.1 }}] }}\n"
    );
    let (project, other) = (Project::new("macvlan-down", &file), Project::new("macvlan-too", &file));
    world.host.inside(|| ip("link set lan0 down"));
    let up = |project: &Project| world.host.inside(|| project.run(&["up", "-d"]));
    let said = |output: &std::process::Output| String::from_utf8_lossy(&output.stderr).into_owned();
    let output = up(&project);
    assert!(output.status.success() && said(&output).contains("interface lan0 is down"), "{}", said(&output));
    // Who is to answer is told what to do about it, and nothing of the other stack's is touched.
    let output = up(&other);
    let message = said(&output);
    assert!(!output.status.success(), "{message}");
    for part in [
        &format!("overlaps {lan}.0/24 of network lan of stack {}", project.name),
        "network create -d macvlan",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("or none, which takes a free one"), "{message}");
    world.host.inside(|| {
        ip("link set lan0 up");
        other.down();
    });
    let output = up(&project);
    assert!(output.status.success() && !said(&output).contains("is down"), "{}", said(&output));
    world.down(project);
}

#[test]
fn without_an_interface_of_the_host_services_reach_each_other() {
    let world = World::new(240);
    let file = format!(
        "services:\n  web: {{ x-rootfs: @busybox@, command: {WEB}, x-probe: {{ tcp: 80 }}, networks: [inner] }}\n  \
         client: {{ x-rootfs: @busybox@, command: sleep 1000, networks: [inner] }}\nnetworks: {{ inner: {{ driver: macvlan }} }}\n"
    );
    let project = Project::new("macvlan-inner", &file);
    let run = |args: &[&str]| world.host.inside(|| project.ok(args));
    run(&["up", "-d", "--wait"]);
    assert_eq!(run(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://web/"]), "hello\n");
    let routes = run(&["exec", "-T", "client", "ip", "route"]);
    assert!(!routes.contains("default"), "{routes}");
    // It is made anew where it is gone.
    let inner = composer_network::names::inner(&project.name, "inner");
    world.host.inside(|| ip(&format!("link del {inner}")));
    run(&["up", "-d", "--wait"]);
    assert_eq!(run(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://web/"]), "hello\n");
    // Another configuration takes its place.
    project.write("compose.yaml", &file.replace("driver: macvlan", "driver: bridge"));
    run(&["up", "-d", "--wait"]);
    assert!(!world.interfaces().contains(&inner), "{}", world.interfaces());
    assert_eq!(run(&["exec", "-T", "client", "wget", "-q", "-O", "-", "http://web/"]), "hello\n");
    world.down(project);
}

#[test]
fn stacks_share_a_network_on_the_hosts_interface() {
    let world = World::new(241);
    let lan = &world.lan;
    let name = format!("e2e-lan-{}", std::process::id());
    let file = |service: &str| {
        format!(
            "services: {{ {service}: {{ x-rootfs: @busybox@, command: {WEB}, networks: [lan] }} }}\n\
             networks: {{ lan: {{ external: true, name: {name} }} }}\n"
        )
    };
    let (one, two) = (Project::new("lan-one", &file("one")), Project::new("lan-two", &file("two")));
    let run = |project: &Project, args: &[&str]| world.host.inside(|| project.ok(args));
    let (subnet, gateway) = (format!("{lan}.0/24"), format!("{lan}.1"));
    let create = |parent: &str| {
        let option = format!("parent={parent}");
        let args = [
            "network",
            "create",
            "-d",
            "macvlan",
            "-o",
            &option,
            "--subnet",
            &subnet,
            "--gateway",
            &gateway,
            &name,
        ];
        world.host.inside(|| one.run(&args))
    };
    let refused = create("lan7");
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("the host has no interface lan7"), "{message}");
    assert!(create("lan0").status.success());
    run(&one, &["up", "-d"]);
    run(&two, &["up", "-d"]);
    assert_eq!((world.page(2), world.page(3)), ("hello\n".to_owned(), "hello\n".to_owned()));
    assert_eq!(run(&one, &["exec", "-T", "one", "wget", "-q", "-O", "-", "http://two/"]), "hello\n");
    world.host.inside(|| one.down());
    assert_eq!(world.page(3), "hello\n");
    let remove = |project: &Project| world.host.inside(|| project.ok(&["network", "rm", &name]));
    world.host.inside(|| project_down(two, remove));
    let left = world.interfaces();
    assert!(left.lines().all(|line| line.starts_with("lo") || line.starts_with("lan0")), "{left}");
}

fn project_down(project: Project, remove: impl Fn(&Project) -> String) {
    project.ok(&["down"]);
    remove(&project);
    project.assert_nothing_left();
}
